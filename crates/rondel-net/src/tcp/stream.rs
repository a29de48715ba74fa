//! [`TcpStream`]: one TCP connection.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rondel_loop::{LocalLoop, Registration, SourceKind};

use crate::engine::{Connection, Goal, Handles, Side, Urgency};
use crate::error::{WriteError, while_doing};
use crate::stream::reader::StreamReader;
use crate::stream::writer::{StreamWriter, write_all};
use crate::tcp::keep_alive::{self, KeepAlive};
use crate::tcp::options;

/// A TCP connection, for both directions at once: every method takes `&self`.
///
/// What is written is accepted whole and sent in order; what is received goes straight into the caller's buffer. For reading
/// up to a delimiter, and for two tasks that own a direction each, [split](TcpStream::into_split) it into the pair that
/// [`open_connection`](crate::open_connection) gives. Small writes go out at once (`TCP_NODELAY` is on).
///
/// Dropped, it is closed; if then there are bytes queued that the system would not take, it is aborted instead: a cut message
/// must not look whole. After [`write_all`](TcpStream::write_all) nothing is queued.
///
/// `!Send`: it belongs to the loop that was running when it was made.
///
/// ```
/// use rondel_net::{TcpListener, TcpStream};
///
/// # rondel_loop::run(async {
/// let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
/// let here = TcpStream::connect(listener.local_addr()).await?;
/// let (there, _peer) = listener.accept().await?;
///
/// here.write_all(b"ping").await?;
/// let mut buffer = [0; 16];
/// let count = there.read(&mut buffer).await?;
/// assert_eq!(&buffer[..count], b"ping");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct TcpStream {
    handles: Handles,
}

impl TcpStream {
    /// Takes over a connected socket: it is made non-blocking, and small writes go out at once from now on.
    ///
    /// # Errors
    /// What the system says; `Unsupported` under a virtual clock, which has no sockets; and if no loop is running on this
    /// thread. The socket is closed then.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        stream.set_nonblocking(true)?;
        options::prepare(&stream)?;
        // Unknown if the peer has left already, which reading or writing will say.
        let peer = stream.peer_addr().ok();
        let registration = local.register(stream.into(), SourceKind::Tcp)?;
        Ok(Self::open(registration, peer, Side::Given))
    }

    /// Takes over a socket that is prepared and registered.
    pub(crate) fn open(registration: Registration, peer: Option<SocketAddr>, side: Side) -> Self {
        Self {
            handles: Connection::open(registration, peer, side),
        }
    }

    pub(crate) fn into_handles(self) -> Handles {
        self.handles
    }

    #[inline]
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        self.handles.writer.connection()
    }

    /// Takes the socket out of the loop. It stays non-blocking.
    ///
    /// # Errors
    /// `WouldBlock` if there are bytes queued ([`flush`](TcpStream::flush) first); a failure of the connection; descriptors
    /// exhausted (the loop's is duplicated). The connection is lost then.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        self.connection().into_fd().map(Into::into)
    }

    /// Splits it into asyncio's pair: a reader with a buffer and a writer, for two owners.
    pub fn into_split(self) -> (StreamReader, StreamWriter) {
        let Handles { reader, writer } = self.handles;
        (StreamReader::new(reader), StreamWriter::new(writer))
    }

    /// Receives what there is, at least a byte and at most what fits; 0 at the end of the stream, or if `buffer` is empty.
    ///
    /// A buffer as large as what may arrive at once saves system calls: full, it may have to be asked for again in vain.
    ///
    /// # Errors
    /// [`ConnectionLost`](crate::ConnectionLost) in an [`io::Error`] of the system's kind; `ConnectionAborted` after
    /// [`abort`](TcpStream::abort).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Appends what there is to `buffer`, through the loop's own large one: up to 256 KiB for one system call, whatever the
    /// buffer's capacity. Gives how much that was; 0 at the end of the stream.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn read_buf(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        poll_fn(|cx| {
            self.connection().poll_receive(cx, usize::MAX, |bytes| {
                buffer.extend_from_slice(bytes);
                bytes.len()
            })
        })
        .await
    }

    /// Lends what there is to `take`, straight out of the loop's own buffer: up to 256 KiB for one system call, without a
    /// buffer of the connection's and without a copy. Nothing is lent at the end of the stream: an empty slice.
    ///
    /// The loop has no buffer of its own while `take` runs, so keep it short, and copy out what you keep.
    ///
    /// ```
    /// use rondel_net::{TcpListener, TcpStream};
    ///
    /// # rondel_loop::run(async {
    /// # let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    /// # let client = TcpStream::connect(listener.local_addr()).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// # client.write_all(b"echo").await?;
    /// let count = stream.receive(|bytes| stream.write_now(bytes).map(|()| bytes.len())).await??;
    /// stream.flush().await?;
    /// # assert_eq!(count, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn receive<R>(&self, take: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let mut take = Some(take);
        poll_fn(|cx| {
            self.connection().poll_receive(cx, usize::MAX, |bytes| {
                let take = take.take().expect("called once, when it is ready");
                take(bytes)
            })
        })
        .await
    }

    /// Receives as [`read`](TcpStream::read) does, if there is something; otherwise has the task woken.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.connection().poll_read(cx, buffer)
    }

    /// Like [`read`](TcpStream::read), but what is received stays to be read.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancel safety
    /// It takes nothing out.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.connection().poll_peek(cx, buffer)).await
    }

    /// Accepts `bytes` whole, as [`write`](TcpStream::write) does, and sends at once what the system takes: for a message that
    /// is complete, when nothing else is going to be written in this turn.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was accepted then, unless sending failed.
    pub fn write_now(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.connection()
            .write(&[IoSlice::new(bytes)], Urgency::Now)
    }

    /// Accepts `bytes` whole, to be sent when the task that runs gives way, together with what else it writes by then;
    /// large ones are sent at once. Does not wait: to write much, [`write_all`](TcpStream::write_all) is the way.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was accepted then, unless sending failed.
    pub fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.connection()
            .write(&[IoSlice::new(bytes)], Urgency::Turn)
    }

    /// Writes all of `bytes`, and waits until the system has taken them. See [`StreamWriter::write_all`].
    ///
    /// # Errors
    /// [`WriteError::Io`], [`WriteError::Closed`], [`WriteError::Finished`].
    ///
    /// # Cancel safety
    /// As of [`StreamWriter::write_all`].
    pub async fn write_all(&self, bytes: &[u8]) -> Result<(), WriteError> {
        write_all(self.connection(), bytes).await
    }

    /// Waits until the system has taken everything that was written.
    ///
    /// # Errors
    /// [`WriteError::Io`], [`WriteError::Closed`] after [`abort`](TcpStream::abort).
    ///
    /// # Cancel safety
    /// Dropped, it loses nothing.
    pub async fn flush(&self) -> Result<(), WriteError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// See [`flush`](TcpStream::flush).
    ///
    /// # Errors
    /// As [`flush`](TcpStream::flush).
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.connection().poll_sent(cx, Goal::Sent)
    }

    /// Ends one direction or both. `Write`: the peer sees the end of the stream behind what is queued, and reading goes on.
    /// `Read`: what has arrived can be read, then there is an end. `Both` is the two of them; the connection stays until it
    /// is dropped.
    ///
    /// # Errors
    /// What sending the queue came upon; `Read` of a connection that is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Read | Shutdown::Both)
            && let Some(registration) = self.connection().registration()
        {
            rustix::net::shutdown(&registration, rustix::net::Shutdown::Read)?;
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.connection().write_eof()?;
        }
        Ok(())
    }

    /// Sends what is queued and closes, without being waited for: what the system does not take now is sent later, though
    /// every handle is gone.
    pub fn close(&self) {
        self.connection().close();
    }

    /// Closes at once. What is queued is dropped, and the peer sees a reset instead of an end.
    pub fn abort(&self) {
        self.connection().abort();
    }

    /// The other end. `None` only for a socket [taken over](TcpStream::from_std) after its peer had left.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.connection().peer()
    }

    /// This end.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if it is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.connection().local_addr()
    }

    /// Whether small writes go out at once (`TCP_NODELAY`): unless it was changed, they do.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if it is closed.
    pub fn nodelay(&self) -> io::Result<bool> {
        let registration = self.connection().open_registration()?;
        Ok(rustix::net::sockopt::tcp_nodelay(&registration)?)
    }

    /// Whether small writes are to go out at once, or wait for what was sent before to be acknowledged.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if it is closed.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        let registration = self.connection().open_registration()?;
        Ok(rustix::net::sockopt::set_tcp_nodelay(&registration, on)?)
    }

    /// When the system asks the peer whether it is still there, times and count as they are in effect (`None` in them where the
    /// system does not tell); `None` if it does not ask.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if it is closed.
    #[doc(alias = "SO_KEEPALIVE")]
    pub fn keep_alive(&self) -> io::Result<Option<KeepAlive>> {
        keep_alive::get(self.connection().open_registration()?)
    }

    /// Has the system ask the peer, when nothing arrives from it, whether it is still there; `None`: no longer. What
    /// [`KeepAlive`] leaves open stays as it is.
    ///
    /// # Errors
    /// What the system says, `InvalidInput` for times that it does not take, `Unsupported` for times where it has none for
    /// single connections, with the peer and the option; `NotConnected` if it is closed. Of several times those before the
    /// one that was refused are set.
    #[doc(alias = "SO_KEEPALIVE")]
    pub fn set_keep_alive(&self, times: impl Into<Option<KeepAlive>>) -> io::Result<()> {
        self.set_option(|fd| keep_alive::set(fd, times.into()))
    }

    /// How long closing waits; see [`set_linger`](TcpStream::set_linger). `None`: it does not.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if it is closed.
    #[doc(alias = "SO_LINGER")]
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        options::linger(self.connection().open_registration()?)
    }

    /// What becomes, when the socket is closed, of bytes that the system has taken and the peer has not acknowledged
    /// (`SO_LINGER`, socket(7)).
    ///
    /// - `None`, the default: closing does not wait, and the system sends them by itself.
    /// - Zero: they are dropped, and the peer sees a reset instead of an end, however the connection is closed:
    ///   [`abort`](TcpStream::abort) for all ways out. Nothing is left fading away that holds the port (`TIME_WAIT`).
    /// - More, in seconds, parts of which are rounded up: the system call waits for the peer, for so long at most. On Linux it
    ///   does so on non-blocking sockets, too: *the whole loop stands still* meanwhile. To know that the peer has everything,
    ///   better have it say so: await its answer, or the end of its stream after [`shutdown`](TcpStream::shutdown).
    ///
    /// # Errors
    /// What the system says, with the peer and the option; `NotConnected` if it is closed.
    #[doc(alias = "SO_LINGER")]
    pub fn set_linger(&self, time: impl Into<Option<Duration>>) -> io::Result<()> {
        self.set_option(|fd| options::set_linger(fd, time.into()))
    }

    fn set_option(&self, set: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<()> {
        let registration = self.connection().open_registration()?;
        set(registration.as_fd()).map_err(|error| {
            while_doing(
                format!("connection with {}", self.connection().peer_name()),
                error,
            )
        })
    }

    /// Calls `look` with the socket, for options that have no method here; see the crate `socket2`.
    ///
    /// # Errors
    /// What `look` returns; `NotConnected` if it is closed.
    pub fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        look(self.connection().open_registration()?.as_fd())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("peer", &self.peer_addr())
            .field("queued", &self.connection().queued())
            .finish_non_exhaustive()
    }
}
