//! [`UnixStream`]: one connection between processes of one machine.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use rondel_loop::{LocalLoop, SourceKind};

use crate::engine::{Connection, Goal, Handles, Side, Urgency};
use crate::error::WriteError;
use crate::peer::Peer;
use crate::stream::reader::StreamReader;
use crate::stream::writer::{StreamWriter, write_all};
use crate::transport::kind::AnyProtocol;
use crate::transport::protocol_ref::ProtocolRef;
use crate::transport::{Transport, attach};
use crate::unix::ancillary;
use crate::unix::credentials::{PeerCredentials, peer_credentials};

/// A Unix stream connection, for both directions at once: every method takes `&self`. It is what
/// [`TcpStream`](crate::TcpStream) is, with two differences that are the system's: an
/// [abort](UnixStream::abort) shows as an end to a peer that has sent nothing unread, since Unix sockets know no reset; and
/// descriptors that a peer sends along are closed unseen. `!Send`.
///
/// ```
/// use rondel_net::UnixStream;
///
/// # rondel_loop::run(async {
/// let (here, there) = UnixStream::pair()?;
/// here.write_all(b"ping").await?;
/// let mut buffer = [0; 16];
/// let count = there.read(&mut buffer).await?;
/// assert_eq!(&buffer[..count], b"ping");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct UnixStream {
    handles: Handles,
}

/// What every connection begins with: a lost peer is an error instead of a signal.
pub(super) fn prepare(socket: impl AsFd) -> io::Result<()> {
    #[cfg(target_vendor = "apple")]
    socket2::SockRef::from(&socket).set_nosigpipe(true)?;
    let _ = socket;
    Ok(())
}

impl UnixStream {
    pub(super) fn new(handles: Handles) -> Self {
        Self { handles }
    }

    pub(super) fn into_handles(self) -> Handles {
        self.handles
    }

    /// Two that are connected with each other.
    ///
    /// # Errors
    /// What the system says; `Unsupported` under a virtual clock, which has no sockets; and if no loop is running on this
    /// thread.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, two) = std::os::unix::net::UnixStream::pair()?;
        Ok((Self::from_std(one)?, Self::from_std(two)?))
    }

    /// Takes over a connected socket; it is made non-blocking.
    ///
    /// # Errors
    /// As [`pair`](UnixStream::pair). The socket is closed then.
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        stream.set_nonblocking(true)?;
        prepare(&stream)?;
        // Nobody can say that no descriptors will ever be sent along, at which a receive ends, however much follows.
        let registration = local.register(stream.into(), SourceKind::Other)?;
        Ok(Self::new(Connection::open(
            registration,
            Peer::Unknown,
            Side::Given,
        )))
    }

    /// Takes the socket out of the loop. It stays non-blocking.
    ///
    /// # Errors
    /// As [`TcpStream::into_std`](crate::TcpStream::into_std).
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixStream> {
        self.connection().into_fd().map(Into::into)
    }

    #[inline]
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        self.handles.writer.connection()
    }

    /// Splits it into asyncio's pair: a reader with a buffer and a writer, for two owners.
    pub fn into_split(self) -> (StreamReader, StreamWriter) {
        let Handles { reader, writer } = self.handles;
        (StreamReader::new(reader), StreamWriter::new(writer))
    }

    /// Has `protocol` called with what the connection brings, from the next turn on.
    pub fn into_transport<P: AnyProtocol<Kind>, Kind: 'static>(
        self,
        protocol: P,
    ) -> (Transport, ProtocolRef<P>) {
        let connection = Rc::clone(self.connection());
        let attached = attach(&connection, protocol, Vec::new());
        connection.changed();
        attached
    }

    /// Receives what there is; see [`TcpStream::read`](crate::TcpStream::read).
    ///
    /// # Errors
    /// [`ConnectionLost`](crate::ConnectionLost) in an [`io::Error`] of the system's kind.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Receives as [`read`](UnixStream::read) does, if there is something; otherwise has the task woken.
    ///
    /// # Errors
    /// As [`read`](UnixStream::read).
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.connection().poll_read(cx, buffer)
    }

    /// Appends what there is to `buffer`; see [`TcpStream::read_buf`](crate::TcpStream::read_buf).
    ///
    /// # Errors
    /// As [`read`](UnixStream::read).
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

    /// Accepts `bytes` whole, without waiting; see [`TcpStream::write`](crate::TcpStream::write).
    ///
    /// # Errors
    /// [`WriteError`]; nothing was accepted then, unless sending failed.
    pub fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.connection()
            .write(&[IoSlice::new(bytes)], Urgency::Turn)
    }

    /// Writes all of `bytes`, and waits until the system has taken them.
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
    /// [`WriteError::Io`], [`WriteError::Closed`] after [`abort`](UnixStream::abort).
    ///
    /// # Cancel safety
    /// Dropped, it loses nothing.
    pub async fn flush(&self) -> Result<(), WriteError> {
        poll_fn(|cx| self.connection().poll_sent(cx, Goal::Sent)).await
    }

    /// Ends one direction or both; see [`TcpStream::shutdown`](crate::TcpStream::shutdown).
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

    /// Sends what is queued and closes, without being waited for.
    pub fn close(&self) {
        self.connection().close();
    }

    /// Closes at once. What is queued is dropped.
    pub fn abort(&self) {
        self.connection().abort();
    }

    /// The other end's address: without a name, unless it was bound to one.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if it is closed.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.with_std(std::os::unix::net::UnixStream::peer_addr)
    }

    /// This end's address: without a name, unless it was accepted.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if it is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.with_std(std::os::unix::net::UnixStream::local_addr)
    }

    /// The standard library knows Unix addresses; it wants a descriptor of its own.
    fn with_std<R>(
        &self,
        ask: impl FnOnce(&std::os::unix::net::UnixStream) -> io::Result<R>,
    ) -> io::Result<R> {
        self.with_fd(|fd| ask(&fd.try_clone_to_owned()?.into()))
    }

    /// Who the peer is; see [`peer_credentials`].
    ///
    /// # Errors
    /// As [`peer_credentials`]; `NotConnected` if it is closed.
    pub fn peer_cred(&self) -> io::Result<PeerCredentials> {
        self.with_fd(peer_credentials)
    }

    /// Sends `bytes` and, with the first of them, `descriptors`, at most 253: the receiver gets duplicates. Waits for what is
    /// queued to be sent, and for room. asyncio has `socket.send_fds` for that, which blocks.
    ///
    /// # Errors
    /// `InvalidInput` for no bytes at all, or too many descriptors; what the system says.
    ///
    /// # Cancel safety
    /// Dropped, it may have sent the descriptors and a part of the bytes.
    ///
    /// ```
    /// use rondel_net::UnixStream;
    /// use std::{fs::File, io::Read, os::fd::AsFd};
    ///
    /// # rondel_loop::run(async {
    /// let (one, other) = UnixStream::pair()?;
    /// let file = File::open("Cargo.toml")?;
    /// one.send_with_fds(b"a file", &[file.as_fd()]).await?;
    /// let mut buffer = [0; 16];
    /// let (count, mut files) = other.recv_with_fds(&mut buffer).await?;
    /// assert_eq!(&buffer[..count], b"a file");
    /// let mut text = String::new();
    /// File::from(files.remove(0)).read_to_string(&mut text)?;
    /// assert!(text.starts_with("[package]"));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[doc(alias = "SCM_RIGHTS")]
    pub async fn send_with_fds(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        if bytes.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "descriptors travel with at least one byte",
            ));
        }
        self.flush().await?;
        let registration = self.connection().open_registration()?;
        let count = poll_fn(|cx| {
            registration.poll_write_with(cx, |fd| ancillary::send(fd, bytes, descriptors, None))
        })
        .await?;
        self.write_all(&bytes[count..]).await?;
        Ok(())
    }

    /// Receives bytes, and the descriptors that came with them, close-on-exec. 0 bytes: the peer has ended its side. The other
    /// ways to read close what comes along. What was sent with descriptors begins a read of its own.
    ///
    /// # Errors
    /// What the system says; and if descriptors were lost because this process may open no more: those that came are closed.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn recv_with_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let registration = self.connection().open_registration()?;
        let arrived =
            poll_fn(|cx| registration.poll_read_with(cx, |fd| ancillary::receive(fd, buffer)))
                .await?;
        Ok((arrived.count, arrived.descriptors))
    }

    /// Calls `look` with the socket, for options that have no method here; see the crate `socket2`.
    ///
    /// # Errors
    /// What `look` returns; `NotConnected` if it is closed.
    pub fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        look(self.connection().open_registration()?.as_fd())
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixStream")
            .field("peer", &self.connection().peer_name())
            .field("queued", &self.connection().queued())
            .finish_non_exhaustive()
    }
}
