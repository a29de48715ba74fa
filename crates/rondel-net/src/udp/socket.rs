//! [`UdpSocket`]: datagrams, one at a time.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};

use rondel_loop::{LocalLoop, Registration, SourceKind};
use rustix::net::RecvFlags;
use socket2::SockRef;

use crate::datagram::error::{Attempt, DatagramError};
use crate::udp::error::Truncated;
use crate::udp::sys::{self, Received};

/// How many times in a row a socket may receive, and may send, before others have their turn.
const ALLOWANCE: u32 = 64;

/// What the loop's buffer is asked to have room for: no datagram is larger.
pub(super) const LARGEST: usize = 64 * 1024;

/// A UDP socket. Every method takes `&self`: several tasks may receive and send at the same time.
///
/// Each method tries the system call first and waits only if the socket has nothing to give, or no room:
/// [`send_to`](UdpSocket::send_to) waits for room instead of dropping. A datagram is sent whole or not at all; one that is
/// larger than the buffer it is received into is an [error](Truncated). An empty one is a datagram like others.
///
/// A failure ends nothing. What a peer's system answers by ICMP comes out of the next call, on connected sockets, as a
/// [`DatagramError`]; the socket goes on.
///
/// A task that receives, or sends, 64 times without ever having to wait goes to the back of the queue once.
///
/// There is also a form that calls a protocol: [`create_datagram_endpoint`](crate::create_datagram_endpoint).
///
/// `!Send`: it belongs to the loop that was running when it was made.
///
/// ```
/// use rondel_net::UdpSocket;
///
/// # rondel_loop::run(async {
/// let server = UdpSocket::bind(([127, 0, 0, 1], 0))?;
/// let client = UdpSocket::bind(([127, 0, 0, 1], 0))?;
/// client.connect(server.local_addr()?)?;
///
/// client.send(b"ping").await?;
/// let mut buffer = [0; 1500];
/// let (count, from) = server.recv_from(&mut buffer).await?;
/// server.send_to(&buffer[..count], from).await?;
/// let count = client.recv(&mut buffer).await?;
/// assert_eq!(&buffer[..count], b"ping");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct UdpSocket {
    registration: Registration,
    peer: Cell<Option<SocketAddr>>,
    receives: Cell<u32>,
    sends: Cell<u32>,
    pub(super) gro: Cell<bool>,
    pub(super) segmentation: Cell<Segmentation>,
}

/// Whether the system cuts for a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Segmentation {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// Up to so many segments; 1, it does not.
    Upto(usize),
}

impl UdpSocket {
    /// Takes over a bound socket; it is made non-blocking.
    ///
    /// # Errors
    /// What the system says; `Unsupported` under a virtual clock; and if no loop is running on this thread. The socket is
    /// closed then.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        socket.set_nonblocking(true)?;
        Self::register(&local, socket)
    }

    pub(super) fn register(local: &LocalLoop, socket: std::net::UdpSocket) -> io::Result<Self> {
        let peer = socket.peer_addr().ok();
        Ok(Self {
            registration: local.register(socket.into(), SourceKind::Other)?,
            peer: Cell::new(peer),
            receives: Cell::new(ALLOWANCE),
            sends: Cell::new(ALLOWANCE),
            gro: Cell::new(false),
            segmentation: Cell::default(),
        })
    }

    /// Takes the socket out of the loop. It stays non-blocking.
    ///
    /// # Errors
    /// Descriptors exhausted (the loop's is duplicated). The socket is closed then.
    pub fn into_std(self) -> io::Result<std::net::UdpSocket> {
        Ok(self.registration.as_fd().try_clone_to_owned()?.into())
    }

    /// For the form that calls a protocol.
    pub(super) fn into_registration(self) -> Registration {
        self.registration
    }

    /// Connects to `addr`: [`send`](UdpSocket::send) goes there, only what comes from there is received, and its failures are
    /// told. Nothing is sent, so nothing is waited for. A socket may be connected again and again.
    ///
    /// # Errors
    /// What the system says: no route, another family.
    pub fn connect(&self, addr: impl Into<SocketAddr>) -> io::Result<()> {
        let addr = addr.into();
        rustix::net::connect(&self.registration, &addr)
            .map_err(|error| DatagramError::wrap(Attempt::Send, Some(addr), error.into()))?;
        self.peer.set(Some(addr));
        Ok(())
    }

    /// Takes [`connect`](UdpSocket::connect) back: everybody is received from again. A port that the system has chosen may be
    /// given up with it; Linux chooses another one for what is sent next.
    ///
    /// # Errors
    /// What the system says.
    pub fn disconnect(&self) -> io::Result<()> {
        rustix::net::connect_unspec(&self.registration)?;
        self.peer.set(None);
        Ok(())
    }

    /// This end. `connect` makes it more precise, if it was bound to any address.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(rustix::net::getsockname(&self.registration)?.try_into()?)
    }

    /// Who it is connected to.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.get()
    }

    /// The failure that the socket has kept for the next call, if there is one. It is taken out.
    ///
    /// # Errors
    /// What the system says when asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(&self.registration).take_error()
    }

    /// Sends `bytes` to `to` as one datagram, and waits for room if there is none.
    ///
    /// That it was sent does not mean that it arrives. On a connected socket, most systems refuse this form.
    ///
    /// # Errors
    /// A [`DatagramError`]: too large, no route, refused; broadcast without [permission](crate::UdpOptions::broadcast).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has sent nothing.
    pub async fn send_to(&self, bytes: &[u8], to: impl Into<SocketAddr>) -> io::Result<()> {
        let to = to.into();
        poll_fn(|cx| self.poll_send_to(cx, bytes, to)).await
    }

    /// See [`send_to`](UdpSocket::send_to).
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        self.poll_send_with(cx, |fd| sys::send(fd, bytes, Some(to)))
            .map_err(|error| DatagramError::wrap(Attempt::Send, Some(to), error))
    }

    /// Sends as [`send_to`](UdpSocket::send_to) does, if there is room.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to); `WouldBlock` if there is no room. That there is some again is noticed when the loop
    /// looks around.
    pub fn try_send_to(&self, bytes: &[u8], to: impl Into<SocketAddr>) -> io::Result<()> {
        let to = to.into();
        self.registration
            .try_write(|fd| sys::send(fd, bytes, Some(to)))
            .map_err(|error| DatagramError::wrap(Attempt::Send, Some(to), error))
    }

    /// Sends `bytes` to the [connected](UdpSocket::connect) peer as one datagram, and waits for room if there is none.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to), and if it is not connected. It may be the failure of an earlier one, in which case
    /// this one was not sent.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has sent nothing.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx, bytes)).await
    }

    /// See [`send`](UdpSocket::send).
    ///
    /// # Errors
    /// As [`send`](UdpSocket::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<()>> {
        self.poll_send_with(cx, |fd| sys::send(fd, bytes, None))
            .map_err(|error| DatagramError::wrap(Attempt::Send, self.peer.get(), error))
    }

    /// Sends as [`send`](UdpSocket::send) does, if there is room.
    ///
    /// # Errors
    /// As [`send`](UdpSocket::send); `WouldBlock` if there is no room.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        self.registration
            .try_write(|fd| sys::send(fd, bytes, None))
            .map_err(|error| DatagramError::wrap(Attempt::Send, self.peer.get(), error))
    }

    /// Receives a datagram: its size, and who sent it.
    ///
    /// # Errors
    /// [`Truncated`] in an [`io::Error`] if it does not fit: it is gone then. Otherwise a [`DatagramError`].
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| self.poll_recv_from(cx, buffer)).await
    }

    /// See [`recv_from`](UdpSocket::recv_from).
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_receive(cx, buffer, RecvFlags::empty())
            .map(|received| self.whole_from(received?))
    }

    /// Receives as [`recv_from`](UdpSocket::recv_from) does, if something has arrived.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from); `WouldBlock` if there is nothing. After that, what arrives is noticed when the
    /// loop looks around.
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.whole_from(self.try_receive(buffer, RecvFlags::empty())?)
    }

    /// Receives a datagram: its size. For connected sockets; others do not learn who sent it.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, buffer)).await
    }

    /// See [`recv`](UdpSocket::recv).
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_receive(cx, buffer, RecvFlags::empty())
            .map(|received| whole(&received?))
    }

    /// Receives as [`recv`](UdpSocket::recv) does, if something has arrived.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv); `WouldBlock` if there is nothing.
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        whole(&self.try_receive(buffer, RecvFlags::empty())?)
    }

    /// Lends the next datagram to `take`, straight out of the loop's own buffer, and who sent it: there is room for any, and
    /// the socket needs no buffer.
    ///
    /// The loop has no buffer of its own while `take` runs, so keep it short, and copy out what you keep.
    ///
    /// ```
    /// use rondel_net::UdpSocket;
    ///
    /// # rondel_loop::run(async {
    /// let socket = UdpSocket::bind(([127, 0, 0, 1], 0))?;
    /// socket.send_to(&[7; 20_000], socket.local_addr()?).await?;
    /// let sum = socket.receive(|bytes, _| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>()).await?;
    /// assert_eq!(sum, 140_000);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn receive<R>(&self, take: impl FnOnce(&[u8], SocketAddr) -> R) -> io::Result<R> {
        let mut take = Some(take);
        poll_fn(|cx| {
            let mut lent;
            let mut own;
            lent = self.registration.local_loop().receive_buffer();
            let buffer = if lent.len() >= LARGEST {
                &mut lent[..LARGEST]
            } else {
                own = vec![0; LARGEST];
                &mut own[..]
            };
            self.poll_recv_from(cx, buffer).map_ok(|(count, from)| {
                let take = take.take().expect("called once, when it is ready");
                take(&buffer[..count], from)
            })
        })
        .await
    }

    /// Like [`recv_from`](UdpSocket::recv_from), but the datagram stays to be received. One that does not fit is no error here:
    /// its beginning is what was asked for.
    ///
    /// # Errors
    /// A [`DatagramError`].
    ///
    /// # Cancel safety
    /// It takes nothing out.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| self.poll_peek_from(cx, buffer)).await
    }

    /// See [`peek_from`](UdpSocket::peek_from).
    ///
    /// # Errors
    /// As [`peek_from`](UdpSocket::peek_from).
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_receive(cx, buffer, RecvFlags::PEEK)
            .map(|received| self.kept_from(&received?))
    }

    /// Peeks as [`peek_from`](UdpSocket::peek_from) does, if something has arrived.
    ///
    /// # Errors
    /// As [`peek_from`](UdpSocket::peek_from); `WouldBlock` if there is nothing.
    pub fn try_peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.kept_from(&self.try_receive(buffer, RecvFlags::PEEK)?)
    }

    /// Calls `receive` with the socket until it gives something else than `WouldBlock`; pending until then. For ways to receive
    /// that have no method here, such as other crates'.
    ///
    /// # Errors
    /// What `receive` returns.
    pub fn poll_recv_with<R>(
        &self,
        cx: &mut Context<'_>,
        receive: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if is_spent(&self.receives, cx) {
            return Poll::Pending;
        }
        let received = self.registration.poll_read_with(cx, receive);
        spend(&self.receives, received.is_ready());
        received
    }

    /// Calls `send` with the socket until it gives something else than `WouldBlock`; pending until then.
    ///
    /// # Errors
    /// What `send` returns.
    pub fn poll_send_with<R>(
        &self,
        cx: &mut Context<'_>,
        send: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if is_spent(&self.sends, cx) {
            return Poll::Pending;
        }
        let sent = self.registration.poll_write_with(cx, send);
        spend(&self.sends, sent.is_ready());
        sent
    }

    pub(super) const fn registration(&self) -> &Registration {
        &self.registration
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> Poll<io::Result<Received>> {
        self.poll_recv_with(cx, |fd| sys::receive(fd, buffer, flags))
            .map_err(|error| DatagramError::wrap(Attempt::Receive, self.peer.get(), error))
    }

    fn try_receive(&self, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Received> {
        self.registration
            .try_read(|fd| sys::receive(fd, buffer, flags))
            .map_err(|error| DatagramError::wrap(Attempt::Receive, self.peer.get(), error))
    }

    fn whole_from(&self, received: Received) -> io::Result<(usize, SocketAddr)> {
        whole(&received)?;
        self.kept_from(&received)
    }

    fn kept_from(&self, received: &Received) -> io::Result<(usize, SocketAddr)> {
        Ok((received.kept, self.sender(received)?))
    }

    pub(super) fn sender(&self, received: &Received) -> io::Result<SocketAddr> {
        // Some systems do not repeat who a socket is connected to.
        received.from.or_else(|| self.peer.get()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the system did not say who has sent a datagram",
            )
        })
    }
}

fn whole(received: &Received) -> io::Result<usize> {
    if received.truncated {
        return Err(Truncated::of(received).into());
    }
    Ok(received.kept)
}

/// Whether the task has to give way; if so, it is woken to go on.
#[inline]
fn is_spent(allowance: &Cell<u32>, cx: &Context<'_>) -> bool {
    let spent = allowance.get() == 0;
    if spent {
        allowance.set(ALLOWANCE);
        cx.waker().wake_by_ref();
    }
    spent
}

#[inline]
fn spend(allowance: &Cell<u32>, ready: bool) {
    allowance.set(if ready {
        allowance.get() - 1
    } else {
        ALLOWANCE
    });
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registration.as_fd()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("local_addr", &self.local_addr().ok())
            .field("peer_addr", &self.peer_addr())
            .finish_non_exhaustive()
    }
}
