//! [`TcpListener`]: a socket that connections are accepted from.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rondel_loop::{LocalLoop, Registration, SourceKind};
use rustix::io::Errno;

use crate::engine::Side;
use crate::tcp::keep_alive::KeepAlive;
use crate::tcp::options::{self, SocketOptions};
use crate::tcp::stream::TcpStream;

/// How many connections may wait to be accepted, unless set. asyncio's value.
const BACKLOG: u32 = 100;

/// A TCP socket that connections are accepted from.
///
/// This is the plain thing; [`start_server`](crate::start_server) also runs a handler for each connection, copes with
/// exhausted descriptors and ends well. `!Send`.
///
/// ```
/// use rondel_net::{TcpListener, TcpStream};
///
/// # rondel_loop::run(async {
/// let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
/// let client = TcpStream::connect(listener.local_addr()).await?;
/// let (stream, peer) = listener.accept().await?;
/// assert_eq!(peer, client.local_addr()?);
/// stream.write_all(b"welcome").await?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct TcpListener {
    registration: Registration,
    local_addr: SocketAddr,
}

/// Sets a [`TcpListener`] up.
///
/// ```
/// use rondel_net::ListenOptions;
///
/// # rondel_loop::run(async {
/// let options = ListenOptions::new().backlog(16).reuse_port(true);
/// let one = options.bind(([127, 0, 0, 1], 0))?;
/// let two = options.bind(one.local_addr())?;
/// assert_eq!(one.local_addr(), two.local_addr());
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing unless it is used"]
pub struct ListenOptions {
    backlog: u32,
    reuse_address: bool,
    reuse_port: bool,
    only_v6: Option<bool>,
    /// Inherited by what is accepted.
    socket: SocketOptions,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: BACKLOG,
            reuse_address: true,
            reuse_port: false,
            only_v6: None,
            socket: SocketOptions::default(),
        }
    }
}

impl ListenOptions {
    /// The defaults, each as its setter says.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections may wait to be accepted; the system may have a lower limit of its own. Default: 100.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether a port may be taken while connections of an earlier listener on it are still fading away
    /// (`SO_REUSEADDR`). Default: yes.
    pub fn reuse_address(mut self, on: bool) -> Self {
        self.reuse_address = on;
        self
    }

    /// Whether other sockets that say so, too, may listen on the same port; the system spreads connections over them
    /// (`SO_REUSEPORT`). Default: no.
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Whether peers of accepted connections that are silent for long are asked whether they are still there
    /// (`SO_KEEPALIVE`), as often as the system is set to: on Linux after two hours, unless set;
    /// [`keep_alive_with`](ListenOptions::keep_alive_with) says how often. Default: no.
    pub fn keep_alive(mut self, on: bool) -> Self {
        self.socket.keep_alive = on.then(KeepAlive::new);
        self
    }

    /// How often the system asks peers of accepted connections that are silent whether they are still there, and when it
    /// gives them up. The later of this and [`keep_alive`](ListenOptions::keep_alive) counts. Default: not at all.
    pub fn keep_alive_with(mut self, times: KeepAlive) -> Self {
        self.socket.keep_alive = Some(times);
        self
    }

    /// How long closing an accepted connection waits for the peer to acknowledge what was sent (`SO_LINGER`, socket(7)), and
    /// what zero means; see [`TcpStream::set_linger`]. Default: `None`, it does not wait, and the system sends what is left by
    /// itself.
    pub fn linger(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.socket.linger = time.into();
        self
    }

    /// How many bytes the system keeps for an accepted connection that have not been read yet (`SO_RCVBUF`). It has a limit
    /// (on Linux `net.core.rmem_max`), to which it cuts larger ones down, and Linux takes twice as much, for its own
    /// bookkeeping (socket(7)). Default: as the system has it, which then also lets it grow as needed (tcp(7)); a size that is
    /// set is fixed.
    #[doc(alias = "SO_RCVBUF")]
    pub fn receive_buffer_size(mut self, bytes: usize) -> Self {
        self.socket.receive_buffer_size = Some(bytes);
        self
    }

    /// How many bytes the system takes of an accepted connection that the peer has not acknowledged yet (`SO_SNDBUF`); the
    /// rest is queued here. Limit (`net.core.wmem_max`), doubling and default as with
    /// [`receive_buffer_size`](ListenOptions::receive_buffer_size).
    #[doc(alias = "SO_SNDBUF")]
    pub fn send_buffer_size(mut self, bytes: usize) -> Self {
        self.socket.send_buffer_size = Some(bytes);
        self
    }

    /// The network interface, by name, through which connections come in and are answered, whatever the routes say
    /// (`SO_BINDTODEVICE`, socket(7)). Linux only; before 5.7 it takes the capability `CAP_NET_RAW`. Default: any.
    #[doc(alias = "SO_BINDTODEVICE")]
    pub fn bind_device(mut self, interface: impl Into<Vec<u8>>) -> Self {
        self.socket.device = Some(interface.into());
        self
    }

    /// Whether an IPv6 listener keeps to IPv6 instead of taking IPv4 connections as well (`IPV6_V6ONLY`). Default: as the
    /// system has it.
    pub fn only_v6(mut self, on: bool) -> Self {
        self.only_v6 = Some(on);
        self
    }

    pub(crate) fn only_v6_unless_set(mut self) -> Self {
        self.only_v6.get_or_insert(true);
        self
    }

    pub(crate) const fn backlog_size(&self) -> u32 {
        self.backlog
    }

    /// Binds and listens.
    ///
    /// # Errors
    /// As [`TcpListener::bind`]; an option that the system does not take is named. `Unsupported` if there are times of
    /// [keep-alive](ListenOptions::keep_alive_with) or a [device](ListenOptions::bind_device) where that cannot be.
    pub fn bind(&self, addr: impl Into<SocketAddr>) -> io::Result<TcpListener> {
        let addr = addr.into();
        let listen = || {
            let local = LocalLoop::current().map_err(io::Error::other)?;
            TcpListener::register(&local, self.open(addr)?)
        };
        listen().map_err(|error| listening_on(addr, error))
    }

    /// The same without a loop, to be taken over by one later.
    #[cfg(feature = "workers")]
    pub(crate) fn bind_std(&self, addr: SocketAddr) -> io::Result<std::net::TcpListener> {
        self.open(addr).map_err(|error| listening_on(addr, error))
    }

    fn open(&self, addr: SocketAddr) -> io::Result<std::net::TcpListener> {
        let socket = options::new_socket(addr)?;
        socket.set_reuse_address(self.reuse_address)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        self.socket.apply(&socket)?;
        if let Some(only) = self.only_v6
            && addr.is_ipv6()
        {
            socket.set_only_v6(only)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    }
}

fn listening_on(addr: SocketAddr, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), ListenFailed { addr, error })
}

impl TcpListener {
    /// Listens on `addr`; port 0 has the system choose one, which [`local_addr`](TcpListener::local_addr) tells.
    ///
    /// # Errors
    /// What the system says, with the address; `Unsupported` under a virtual clock, which has no sockets; and if no loop is
    /// running on this thread.
    pub fn bind(addr: impl Into<SocketAddr>) -> io::Result<Self> {
        ListenOptions::new().bind(addr)
    }

    /// Takes over a listening socket; it is made non-blocking.
    ///
    /// # Errors
    /// As [`bind`](TcpListener::bind). The socket is closed then.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        listener.set_nonblocking(true)?;
        Self::register(&local, listener)
    }

    fn register(local: &LocalLoop, listener: std::net::TcpListener) -> io::Result<Self> {
        // What is accepted inherits the option, which saves a system call for each. Where it would not be inherited, small
        // writes would be slower, no more.
        options::prepare(&listener)?;
        let local_addr = listener.local_addr()?;
        Ok(Self {
            registration: local.register(listener.into(), SourceKind::Other)?,
            local_addr,
        })
    }

    /// The address it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Waits for a connection, and for who it is from.
    ///
    /// Connections that were dropped by their peers while they waited are passed over.
    ///
    /// # Errors
    /// What the system says: descriptors exhausted, most likely, after which one should pause.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has accepted nothing.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// See [`accept`](TcpListener::accept).
    ///
    /// # Errors
    /// As [`accept`](TcpListener::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.registration
            .poll_read_with(cx, accept_from)
            .map(|accepted| self.open(accepted?))
    }

    /// Accepts a connection if one waits.
    pub(crate) fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.open(self.registration.try_read(accept_from)?)
    }

    fn open(
        &self,
        (fd, peer): (std::os::fd::OwnedFd, SocketAddr),
    ) -> io::Result<(TcpStream, SocketAddr)> {
        let local = self.registration.local_loop();
        let registration = local.register(fd, SourceKind::Tcp)?;
        Ok((
            TcpStream::open(registration, Some(peer), Side::Accepted),
            peer,
        ))
    }

    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The connections as they come, for ever: [`accept`](TcpListener::accept) as a stream.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }
}

/// One connection, unless there is none left.
fn accept_from(fd: BorrowedFd<'_>) -> io::Result<(std::os::fd::OwnedFd, SocketAddr)> {
    loop {
        match options::accept(fd) {
            Ok((fd, Some(peer))) => return Ok((fd, peer)),
            // A TCP socket's peer has an address, unless it has left by now (some systems).
            Ok((_, None)) => {}
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether accepting failed for the connection that was next in line, and the one behind it can be tried (accept(2), «Error
/// handling»).
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    const PASSING: [Errno; 10] = [
        Errno::INTR,
        Errno::CONNABORTED,
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::TIMEDOUT,
    ];
    PASSING
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registration.as_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// The stream of [`TcpListener::incoming`]. It does not end.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<'l> {
    listener: &'l TcpListener,
}

impl Stream for Incoming<'_> {
    type Item = io::Result<(TcpStream, SocketAddr)>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.listener.poll_accept(cx).map(Some)
    }
}

/// Why [`TcpListener::bind`] failed: what was attempted, on what.
#[derive(Debug)]
struct ListenFailed {
    addr: SocketAddr,
    error: io::Error,
}

impl fmt::Display for ListenFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listening on {}: {}", self.addr, self.error)
    }
}

impl std::error::Error for ListenFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
