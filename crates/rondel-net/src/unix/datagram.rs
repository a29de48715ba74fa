//! [`UnixDatagram`]: datagrams between processes of one machine.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::task::{Context, Poll};

use rondel_loop::{LocalLoop, Registration, SourceKind};
use socket2::{Domain, Socket, Type};

use crate::unix::addr::{ToUnixAddr, failed, from_any, to_rustix};
use crate::unix::ancillary::{self, Arrived};
use crate::unix::listener::to_sock_addr;
use crate::unix::room::{self, Room};
use crate::unix::socket_file::{self, RemovedOnDrop, SocketFile};

/// How many times in a row a socket may receive, and may send, before others have their turn.
const ALLOWANCE: u32 = 64;

/// A Unix socket for datagrams: bound to a path or an abstract name, or to nothing, when it can send and not be answered. Every
/// method takes `&self`.
///
/// Unlike UDP, nothing is lost or reordered on the way: a receiver that does not keep up makes senders wait. Each method tries
/// the system call first, and waits if there is nothing to receive, or no room. A datagram that is larger than the buffer it is
/// received into is an error of kind `InvalidData`, and gone.
///
/// A socket file that an earlier one has left behind is replaced, if nobody is bound there any more; the own one is removed when
/// the socket is dropped, unless something else has taken its place. `!Send`.
///
/// There is also a form that calls a protocol: [`create_unix_datagram_endpoint`](crate::create_unix_datagram_endpoint).
///
/// ```
/// use rondel_net::UnixDatagram;
///
/// # rondel_loop::run(async {
/// let (one, other) = UnixDatagram::pair()?;
/// one.send(b"ping").await?;
/// let mut buffer = [0; 16];
/// let count = other.recv(&mut buffer).await?;
/// assert_eq!(&buffer[..count], b"ping");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct UnixDatagram {
    registration: Registration,
    /// Removed with it.
    file: Option<RemovedOnDrop>,
    receives: Cell<u32>,
    sends: Cell<u32>,
}

impl UnixDatagram {
    /// A socket at `addr`: a path, or an abstract name.
    ///
    /// # Errors
    /// What the system says, with the address; `AddrInUse` if somebody is bound there, or if what is there is no socket;
    /// `Unsupported` under a virtual clock, which has no sockets; and if no loop is running on this thread.
    pub fn bind(addr: impl ToUnixAddr) -> io::Result<Self> {
        let addr = addr.to_unix_addr()?;
        Self::bound(&addr).map_err(|error| failed("binding to", &addr, error))
    }

    fn bound(addr: &SocketAddr) -> io::Result<Self> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        let socket = new_socket()?;
        let path = addr.as_pathname();
        if let Some(path) = path {
            socket_file::remove_stale_of(path, Type::DGRAM)?;
        }
        socket.bind(&to_sock_addr(addr)?)?;
        let file = path
            .map(SocketFile::made_at)
            .transpose()?
            .map(RemovedOnDrop);
        Self::register(&local, socket.into(), file)
    }

    /// A socket without an address: it can send, and be [connected](UnixDatagram::connect).
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind).
    pub fn unbound() -> io::Result<Self> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        Self::register(&local, new_socket()?.into(), None)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind).
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = std::os::unix::net::UnixDatagram::pair()?;
        Ok((Self::from_std(one)?, Self::from_std(other)?))
    }

    /// Takes over a socket; it is made non-blocking. Its file is left alone.
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind). The socket is closed then.
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> io::Result<Self> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        socket.set_nonblocking(true)?;
        Self::register(&local, socket.into(), None)
    }

    fn register(
        local: &LocalLoop,
        socket: OwnedFd,
        file: Option<RemovedOnDrop>,
    ) -> io::Result<Self> {
        Ok(Self {
            registration: local.register(socket, SourceKind::Other)?,
            file,
            receives: Cell::new(ALLOWANCE),
            sends: Cell::new(ALLOWANCE),
        })
    }

    /// For the form that calls a protocol.
    pub(super) fn into_parts(self) -> (Registration, Option<RemovedOnDrop>) {
        (self.registration, self.file)
    }

    /// Connects to `addr`: [`send`](UnixDatagram::send) goes there, and only what comes from there is received. Again, it goes
    /// elsewhere.
    ///
    /// # Errors
    /// What the system says, with the address: nobody is bound there.
    pub fn connect(&self, addr: impl ToUnixAddr) -> io::Result<()> {
        let addr = addr.to_unix_addr()?;
        let connected =
            to_rustix(&addr).and_then(|to| Ok(rustix::net::connect(&self.registration, &to)?));
        connected.map_err(|error| failed("connecting to", &addr, error))
    }

    /// Where it is bound; an address without a name if it is not.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        from_any(Some(rustix::net::getsockname(&self.registration)?))
    }

    /// Where it is connected to.
    ///
    /// # Errors
    /// What the system says; `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        from_any(rustix::net::getpeername(&self.registration)?)
    }

    /// Sends `bytes` as one datagram to where the socket is connected, and waits for room if there is none.
    ///
    /// # Errors
    /// What the system says: not connected, nobody there any more, too large.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has sent nothing.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_message(bytes, &[]).await
    }

    /// Sends `bytes` as one datagram to `addr`, and waits for room if there is none.
    ///
    /// # Errors
    /// What the system says, with the address; descriptors exhausted, if it would have to wait for the receiver: that takes one.
    ///
    /// # Cancel safety
    /// As [`send`](UnixDatagram::send).
    pub async fn send_to(&self, bytes: &[u8], addr: impl ToUnixAddr) -> io::Result<()> {
        let addr = addr.to_unix_addr()?;
        self.send_waiting_for(&addr, bytes)
            .await
            .map_err(|error| failed("sending to", &addr, error))
    }

    /// Sends `bytes` and, with them, `descriptors`, at most 253: the receiver gets duplicates of them. asyncio has
    /// `socket.send_fds` for that, which blocks.
    ///
    /// # Errors
    /// As [`send`](UnixDatagram::send).
    ///
    /// # Cancel safety
    /// As [`send`](UnixDatagram::send).
    #[doc(alias = "SCM_RIGHTS")]
    pub async fn send_with_fds(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.send_message(bytes, descriptors).await
    }

    /// Sends as [`send`](UnixDatagram::send) does, if there is room.
    ///
    /// # Errors
    /// As [`send`](UnixDatagram::send); `WouldBlock` if there is no room.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        self.registration
            .try_write(|fd| ancillary::send(fd, bytes, &[], None))
            .map(drop)
    }

    async fn send_waiting_for(&self, addr: &SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let to = to_rustix(addr)?;
        loop {
            let sent = self
                .send_with(|fd| match ancillary::send(fd, bytes, &[], Some(&to)) {
                    // The socket will not say when there is room there.
                    Err(error) if is_would_block(&error) && room::is_writable(fd) => Ok(false),
                    sent => sent.map(|_| true),
                })
                .await?;
            if sent {
                return Ok(());
            }
            let room = Room::at(self.registration.local_loop(), addr)?;
            room.wait().await?;
        }
    }

    async fn send_message(&self, bytes: &[u8], with: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(|fd| ancillary::send(fd, bytes, with, None))
            .await
            .map(drop)
    }

    async fn send_with<R>(
        &self,
        mut send: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|cx| {
            if is_spent(&self.sends, cx) {
                return Poll::Pending;
            }
            let sent = self.registration.poll_write_with(cx, &mut send);
            spend(&self.sends, sent.is_ready());
            sent
        })
        .await
    }

    /// Receives a datagram, and gives its length.
    ///
    /// # Errors
    /// `InvalidData` for one that is larger than `buffer`: it is lost. What the system says.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.receive(buffer).await?.count)
    }

    /// Receives a datagram, and gives its length and where it is from: an address without a name if the sender is not bound, or if
    /// its path has the 108 bytes that the standard library's addresses have no room for.
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    ///
    /// # Cancel safety
    /// As [`recv`](UnixDatagram::recv).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let arrived = self.receive(buffer).await?;
        Ok((arrived.count, from_any(arrived.from)?))
    }

    /// Receives a datagram with the descriptors that came with it. They are close-on-exec. (The other methods close what comes
    /// along.)
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv); and if descriptors were lost because this process may open no more: those that came
    /// are closed.
    ///
    /// # Cancel safety
    /// As [`recv`](UnixDatagram::recv).
    pub async fn recv_with_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let arrived = self.receive(buffer).await?;
        Ok((arrived.count, arrived.descriptors))
    }

    /// Receives as [`recv`](UnixDatagram::recv) does, if there is something.
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv); `WouldBlock` if there is nothing.
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let arrived = self
            .registration
            .try_read(|fd| ancillary::receive(fd, buffer))?;
        Ok(whole(arrived)?.count)
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrived> {
        let arrived = poll_fn(|cx| {
            if is_spent(&self.receives, cx) {
                return Poll::Pending;
            }
            let arrived = self
                .registration
                .poll_read_with(cx, |fd| ancillary::receive(fd, buffer));
            spend(&self.receives, arrived.is_ready());
            arrived
        });
        whole(arrived.await?)
    }
}

fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn is_would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn whole(arrived: Arrived) -> io::Result<Arrived> {
    if arrived.truncated {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a datagram larger than the buffer was received, and is lost",
        ));
    }
    Ok(arrived)
}

/// Whether it is time that others have their turn; then this task's comes again.
fn is_spent(left: &Cell<u32>, cx: &Context<'_>) -> bool {
    let spent = left.get() == 0;
    if spent {
        left.set(ALLOWANCE);
        cx.waker().wake_by_ref();
    }
    spent
}

fn spend(left: &Cell<u32>, ready: bool) {
    left.set(if ready { left.get() - 1 } else { ALLOWANCE });
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registration.as_fd()
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixDatagram")
            .field("local_addr", &self.local_addr().ok())
            .field("peer_addr", &self.peer_addr().ok())
            .finish_non_exhaustive()
    }
}
