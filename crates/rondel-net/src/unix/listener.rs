//! [`UnixListener`]: a Unix socket that connections are accepted from.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::task::{Context, Poll};

use rondel_loop::{LocalLoop, Registration, SourceKind};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::engine::{Connection, Handles, Side};
use crate::peer::Peer;
use crate::server::listening::Listening;
use crate::tcp::listener::is_of_one_connection;
use crate::tcp::options;
use crate::unix::addr::{ToUnixAddr, failed, name_of};
use crate::unix::socket_file::{self, SocketFile};
use crate::unix::stream::UnixStream;

/// How many connections may wait to be accepted, unless set. asyncio's value.
const BACKLOG: u32 = 100;

/// A Unix socket that connections are accepted from.
///
/// This is the plain thing; [`start_unix_server`](crate::start_unix_server) also runs a handler for each connection.
///
/// A socket file that an earlier listener has left behind is replaced, if nobody listens there any more. When the listener is
/// dropped its file is removed, unless something else has taken its place. `!Send`.
///
/// ```
/// use rondel_net::{UnixListener, UnixStream};
///
/// # let folder = std::env::temp_dir().join(format!("rondel-doc-listener-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # rondel_loop::run(async {
/// let path = folder.join("welcome.sock");
/// let listener = UnixListener::bind(&path)?;
/// let client = UnixStream::connect(&path).await?;
/// let stream = listener.accept().await?;
/// stream.write_all(b"welcome").await?;
/// drop(listener);
/// assert!(!path.exists());
/// # drop(client);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap()?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixListener {
    registration: Registration,
    local_addr: SocketAddr,
    /// To be removed with it.
    file: Option<SocketFile>,
}

/// Sets a [`UnixListener`] up.
///
/// ```
/// use rondel_net::UnixListenOptions;
///
/// let options = UnixListenOptions::new().backlog(16).cleanup_socket(false);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing unless it is used"]
pub struct UnixListenOptions {
    backlog: u32,
    cleanup: bool,
}

impl Default for UnixListenOptions {
    fn default() -> Self {
        Self {
            backlog: BACKLOG,
            cleanup: true,
        }
    }
}

impl UnixListenOptions {
    /// The defaults, each as its setter says.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections may wait to be accepted. Default: 100.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether the socket file is removed when the listener is dropped. Default: yes, as in asyncio.
    pub fn cleanup_socket(mut self, on: bool) -> Self {
        self.cleanup = on;
        self
    }

    /// Binds and listens.
    ///
    /// # Errors
    /// As [`UnixListener::bind`].
    pub fn bind(&self, addr: impl ToUnixAddr) -> io::Result<UnixListener> {
        let addr = addr.to_unix_addr()?;
        self.listen(&addr)
            .map_err(|error| failed("listening on", &addr, error))
    }

    fn listen(&self, addr: &SocketAddr) -> io::Result<UnixListener> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let path = addr.as_pathname();
        if let Some(path) = path {
            socket_file::remove_stale(path)?;
        }
        socket.bind(&to_sock_addr(addr)?)?;
        let file = match path {
            Some(path) if self.cleanup => Some(SocketFile::made_at(path)?),
            _ => None,
        };
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        UnixListener::register(&local, socket.into(), file)
    }
}

/// The same address, as `socket2` has it.
pub(super) fn to_sock_addr(addr: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = addr.as_pathname() {
        return SockAddr::unix(path);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;

        if let Some(name) = addr.as_abstract_name() {
            let name = [&[0], name].concat();
            return SockAddr::unix(std::ffi::OsStr::from_bytes(&name));
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "a Unix socket without a name is nowhere",
    ))
}

impl UnixListener {
    /// Listens at `addr`: a path, or an abstract name.
    ///
    /// # Errors
    /// What the system says, with the address; `AddrInUse` if somebody listens there, or if what is there is no socket;
    /// `Unsupported` under a virtual clock, which has no sockets; and if no loop is running on this thread.
    pub fn bind(addr: impl ToUnixAddr) -> io::Result<Self> {
        UnixListenOptions::new().bind(addr)
    }

    /// Takes over a listening socket; it is made non-blocking. Its file is left alone.
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind). The socket is closed then.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        listener.set_nonblocking(true)?;
        Self::register(&local, listener, None)
    }

    fn register(
        local: &LocalLoop,
        listener: std::os::unix::net::UnixListener,
        file: Option<SocketFile>,
    ) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        Ok(Self {
            registration: local.register(listener.into(), SourceKind::Other)?,
            local_addr,
            file,
        })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> &SocketAddr {
        &self.local_addr
    }

    /// Waits for a connection. Who it is from, [`UnixStream::peer_cred`] tells.
    ///
    /// # Errors
    /// What the system says: descriptors exhausted, most likely, after which one should pause.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has accepted nothing.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// See [`accept`](UnixListener::accept).
    ///
    /// # Errors
    /// As [`accept`](UnixListener::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        self.registration
            .poll_read_with(cx, accept_from)
            .map(|accepted| Ok(UnixStream::new(self.open(accepted?)?)))
    }

    fn open(&self, fd: OwnedFd) -> io::Result<Handles> {
        let local = self.registration.local_loop();
        super::stream::prepare(&fd)?;
        // Whoever connects may send descriptors along, at which a receive ends, however much follows.
        let registration = local.register(fd, SourceKind::Other)?;
        let peer = Peer::named(format!("a client of {}", name_of(&self.local_addr)));
        Ok(Connection::open(registration, peer, Side::Accepted))
    }
}

/// One connection, unless there is none left.
fn accept_from(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    loop {
        match options::accept(fd) {
            Ok((fd, _)) => return Ok(fd),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

impl Listening for UnixListener {
    fn registration(&self) -> &Registration {
        &self.registration
    }

    fn try_accept(&self) -> io::Result<Handles> {
        self.open(self.registration.try_read(accept_from)?)
    }

    fn local_addr(&self) -> Option<std::net::SocketAddr> {
        None
    }

    fn name(&self) -> String {
        name_of(&self.local_addr)
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Gone already, or not ours any more: there is nothing to be done about either.
            let _ = file.remove();
        }
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registration.as_fd()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixListener")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}
