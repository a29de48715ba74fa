//! [`StreamWriter`]: what asyncio's streams are written with.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::engine::{Connection, Goal, Handle, Urgency};
use crate::error::WriteError;

/// The writing half of a connection. asyncio: `StreamWriter`.
///
/// What is written is accepted whole, or refused whole, and is sent in order. [`write_all`](StreamWriter::write_all) is the
/// way to write unless there is a reason for another: it waits while the peer is slow. [`write`](StreamWriter::write) does
/// not wait; small pieces written in one turn of a task are sent together when the task gives way. Follow it by
/// [`drain`](StreamWriter::drain), so that no more is queued than the peer will take.
///
/// # Closing
/// [`close`](StreamWriter::close) sends what is queued first, though nobody waits for it. Dropping the writer ends the stream
/// that the peer reads, and leaves this end's reader reading; with the reader gone, too, the connection is closed. But if the
/// system does not take all that is queued at that moment, the connection is aborted, and the peer sees a reset: a cut message
/// must not look whole. So a task that is cancelled while it writes cannot make the peer believe that this was all.
/// Nothing is queued after [`write_all`](StreamWriter::write_all) or [`flush`](StreamWriter::flush); there may be after
/// [`drain`](StreamWriter::drain).
///
/// `!Send`.
///
/// ```
/// # use rondel_net::{TcpListener, TcpStream};
/// # rondel_loop::run(async {
/// # let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
/// # let (mut there, _writer) = TcpStream::connect(listener.local_addr()).await?.into_split();
/// # let (_reader, writer) = listener.accept().await?.0.into_split();
/// writer.write(b"HTTP/1.0 200 OK\r\n")?;
/// writer.write(b"Content-Length: 5\r\n\r\n")?;
/// writer.write_all(b"hello").await?; // one system call for all three
/// writer.close();
/// writer.wait_closed().await?;
/// # assert!(there.read_to_end(1024).await?.ends_with(b"\r\n\r\nhello"));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct StreamWriter {
    handle: Handle,
}

impl StreamWriter {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    #[inline]
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        self.handle.connection()
    }

    /// Accepts `bytes` whole, to be sent when the task that runs gives way, together with what else it writes by then; large
    /// ones are sent at once. Does not wait.
    ///
    /// # Errors
    /// - [`WriteError::Full`] if more would be queued than the [hard limit](StreamWriter::set_hard_limit) allows,
    ///   [`WriteError::Closed`], [`WriteError::Finished`]: nothing was accepted.
    /// - [`WriteError::Io`]: the connection has failed, now or before.
    pub fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.connection()
            .write(&[IoSlice::new(bytes)], Urgency::Turn)
    }

    /// Accepts all of `parts`, as one [`write`](StreamWriter::write). asyncio: `writelines`.
    ///
    /// # Errors
    /// As [`write`](StreamWriter::write).
    #[doc(alias = "writelines")]
    pub fn write_vectored(&self, parts: &[IoSlice<'_>]) -> Result<(), WriteError> {
        self.connection().write(parts, Urgency::Turn)
    }

    /// Writes all of `bytes`, and waits until the system has taken them and what was queued before. If it takes them at once,
    /// there is no waiting: one system call, and no copy.
    ///
    /// # Errors
    /// [`WriteError::Io`], [`WriteError::Closed`], [`WriteError::Finished`].
    ///
    /// # Cancel safety
    /// Dropped after it was polled, it has written `bytes` whole: they are queued and will be sent. Only what is longer than
    /// the [hard limit](StreamWriter::set_hard_limit) allows to be queued is sent as there is room, and dropping that half-way
    /// aborts the connection; other tasks should not write meanwhile.
    pub async fn write_all(&self, bytes: &[u8]) -> Result<(), WriteError> {
        write_all(self.connection(), bytes).await
    }

    /// Accepts of `bytes` as much as may be queued, and gives how much that was; waits while more than the high [water
    /// mark](StreamWriter::set_write_buffer_limits) is queued, as [`drain`](StreamWriter::drain) does. Sent like what is
    /// [written](StreamWriter::write): together with the rest of this turn's.
    ///
    /// For adapters; [`write_all`](StreamWriter::write_all) is simpler.
    ///
    /// # Errors
    /// As [`write`](StreamWriter::write); [`WriteError::Full`] only if the hard limit is 0.
    pub fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        poll_write(self.connection(), cx, &[IoSlice::new(bytes)], Urgency::Turn)
    }

    /// The same of several parts.
    ///
    /// # Errors
    /// As [`poll_write`](StreamWriter::poll_write).
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize, WriteError>> {
        poll_write(self.connection(), cx, parts, Urgency::Turn)
    }

    /// The same, but what is accepted is sent at once, as far as the system takes it, instead of at the end of the turn: for whoever has
    /// gathered it already, and would only have it copied.
    ///
    /// # Errors
    /// As [`poll_write`](StreamWriter::poll_write).
    pub fn poll_write_now(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize, WriteError>> {
        poll_write(self.connection(), cx, parts, Urgency::Now)
    }

    /// Ready when the system has taken everything that is queued; see [`flush`](StreamWriter::flush).
    ///
    /// # Errors
    /// As [`flush`](StreamWriter::flush).
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.connection().poll_sent(cx, Goal::Sent)
    }

    /// [Ends](StreamWriter::write_eof) the stream that the peer reads; ready when the system has taken everything.
    ///
    /// # Errors
    /// As [`write_eof`](StreamWriter::write_eof) and [`flush`](StreamWriter::flush).
    pub fn poll_write_eof(&self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        poll_write_eof(self.connection(), cx)
    }

    /// Sends `count` bytes of `file` from `offset` on, or all to its end, behind what is queued; awaited, it gives how many were
    /// sent. On a plain socket they are not copied through this process where the system can do without; see
    /// [`SendFile`](crate::SendFile).
    ///
    /// ```
    /// # use rondel_net::{TcpListener, TcpStream};
    /// # rondel_loop::run(async {
    /// # let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    /// # let there = TcpStream::connect(listener.local_addr()).await?;
    /// # let (_reader, writer) = listener.accept().await?.0.into_split();
    /// let file = std::fs::File::open("Cargo.toml")?;
    /// writer.write(b"the name: ")?;
    /// let sent = writer.send_file(&file, 0, 9).await?;
    /// assert_eq!(sent, 9);
    /// writer.close();
    /// # let (mut reader, _there) = there.into_split();
    /// # assert_eq!(reader.read_to_end(100).await?, b"the name: [package]");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[cfg(feature = "fs")]
    #[cfg_attr(docsrs, doc(cfg(feature = "fs")))]
    #[doc(alias = "sendfile")]
    pub fn send_file<'f>(
        &'f self,
        file: &'f impl crate::FileToSend,
        offset: u64,
        count: impl Into<Option<u64>>,
    ) -> crate::SendFile<'f> {
        crate::SendFile::new(self.connection(), file, offset, count.into())
    }

    /// Sends what is queued as far as the system takes it, and if more than the [high water
    /// mark](StreamWriter::set_write_buffer_limits) was left, waits until it is down at the low one. Several tasks may wait.
    ///
    /// # Errors
    /// [`WriteError::Io`] if the connection has failed, [`WriteError::Closed`] if it is closed or aborted at this end.
    ///
    /// # Cancel safety
    /// Dropped, it loses nothing.
    pub async fn drain(&self) -> Result<(), WriteError> {
        if self.connection().is_closed() {
            return Err(WriteError::Closed);
        }
        if self.is_closing() {
            // A task that writes and drains for ever notices the close, which needs its turn.
            rondel_loop::yield_now().await;
        }
        poll_fn(|cx| self.connection().poll_sent(cx, Goal::Drained)).await
    }

    /// Waits until the system has taken everything that is queued.
    ///
    /// # Errors
    /// [`WriteError::Io`] if the connection has failed, [`WriteError::Closed`] if it was aborted at this end.
    ///
    /// # Cancel safety
    /// Dropped, it loses nothing.
    pub async fn flush(&self) -> Result<(), WriteError> {
        poll_fn(|cx| self.connection().poll_sent(cx, Goal::Sent)).await
    }

    /// Ends the stream that the peer reads, behind what is queued; this end goes on reading. Again, or after a close, it
    /// does nothing. Over TLS, the farewell is sent first, which tells the peer that nothing was cut off. Of a
    /// pipe it is a [`close`](StreamWriter::close).
    ///
    /// # Errors
    /// [`WriteError::Io`] if the connection has failed.
    #[doc(alias = "shutdown")]
    pub fn write_eof(&self) -> Result<(), WriteError> {
        self.connection().write_eof()
    }

    /// Whether the stream can be ended without closing the connection: always, over TLS too (asyncio's TLS cannot).
    pub const fn can_write_eof(&self) -> bool {
        true
    }

    /// Sends what is queued, and closes. What the system does not take now is sent later, though every handle is gone: as
    /// long as the loop runs. Until then, the reader goes on; afterwards it is at the end.
    ///
    /// Bytes that the peer sends after this are answered by a reset, which may overtake what was sent to it. If it may still
    /// be sending, [`write_eof`](StreamWriter::write_eof) and read to the end first.
    pub fn close(&self) {
        self.connection().close();
    }

    /// Waits until the connection is closed, from this end: everything accepted before has been taken by the system then. It
    /// does not close it itself. A pipe that has failed counts as closed.
    ///
    /// # Errors
    /// What the connection failed with, if it has.
    ///
    /// # Cancel safety
    /// Dropped, it changes nothing.
    pub async fn wait_closed(&self) -> io::Result<()> {
        self.connection().wait_closed().await
    }

    /// Closes at once. What is queued is dropped, and the peer sees a reset instead of an end; this end's reader fails with
    /// `ConnectionAborted`.
    pub fn abort(&self) {
        self.connection().abort();
    }

    /// Whether it was closed or aborted at this end.
    pub fn is_closing(&self) -> bool {
        self.connection().is_closing()
    }

    /// How many bytes are queued: accepted, and not yet taken by the system. asyncio: `get_write_buffer_size`.
    #[doc(alias = "get_write_buffer_size")]
    pub fn buffered(&self) -> usize {
        self.connection().queued()
    }

    /// The water marks for [`drain`](StreamWriter::drain): low, then high. asyncio: `get_write_buffer_limits`.
    #[doc(alias = "get_write_buffer_limits")]
    pub fn write_buffer_limits(&self) -> (usize, usize) {
        self.connection().water_marks()
    }

    /// Sets the water marks: [`drain`](StreamWriter::drain) waits when more than `high` bytes are queued, until it is not more
    /// than `low`. If one is not given, `low` is a quarter of `high`; without either, they are 16 and 64 KiB, as at the
    /// beginning. Zero and zero have every drain wait for all of it.
    ///
    /// # Errors
    /// `InvalidInput` if `low` is above `high`; nothing is changed.
    pub fn set_write_buffer_limits(
        &self,
        high: impl Into<Option<usize>>,
        low: impl Into<Option<usize>>,
    ) -> io::Result<()> {
        self.connection().set_water_marks(high.into(), low.into())
    }

    /// How many bytes may be queued; see [`set_hard_limit`](StreamWriter::set_hard_limit).
    pub fn hard_limit(&self) -> usize {
        self.connection().hard_limit()
    }

    /// Sets how many bytes may be queued at all: 16 MiB unless set. A [`write`](StreamWriter::write) that would exceed it is
    /// refused; [`write_all`](StreamWriter::write_all) has no limit. What is queued already stays.
    pub fn set_hard_limit(&self, bytes: usize) {
        self.connection().set_hard_limit(bytes);
    }

    /// The other end; see [`TcpStream::peer_addr`](crate::TcpStream::peer_addr).
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

    /// Calls `look` with the socket, for options that have no method here; see the crate `socket2`.
    ///
    /// # Errors
    /// What `look` returns; `NotConnected` if it is closed.
    pub fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        look(self.connection().open_registration()?.as_fd())
    }
}

/// How much one call accepts: more is not sent in one go either, and would be copied.
const AT_MOST: usize = 1024 * 1024;

/// See [`StreamWriter::poll_write`].
pub(crate) fn poll_write(
    connection: &Rc<Connection>,
    cx: &Context<'_>,
    parts: &[IoSlice<'_>],
    urgency: Urgency,
) -> Poll<Result<usize, WriteError>> {
    if connection.is_paused() {
        ready!(connection.poll_sent(cx, Goal::Drained))?;
    }
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    if len <= AT_MOST && connection.has_room(len) {
        connection.write(parts, urgency)?;
        return Poll::Ready(Ok(len));
    }
    let Some(part) = parts.iter().find(|part| !part.is_empty()) else {
        return Poll::Ready(Ok(0));
    };
    let fits = |room: usize| part.len().min(room).min(AT_MOST);
    let mut room = connection.hard_limit().saturating_sub(connection.queued());
    if room == 0 {
        ready!(connection.poll_sent(cx, Goal::Sent))?;
        // Of no room at all a byte is asked for, to be refused with the reason.
        room = connection.hard_limit().max(1);
    }
    let count = fits(room);
    connection.write(&[IoSlice::new(&part[..count])], urgency)?;
    Poll::Ready(Ok(count))
}

/// See [`StreamWriter::poll_write_eof`].
pub(crate) fn poll_write_eof(
    connection: &Rc<Connection>,
    cx: &Context<'_>,
) -> Poll<Result<(), WriteError>> {
    connection.write_eof()?;
    connection.poll_sent(cx, Goal::Sent)
}

/// See [`StreamWriter::write_all`].
pub(crate) async fn write_all(connection: &Rc<Connection>, bytes: &[u8]) -> Result<(), WriteError> {
    if !connection.has_room(bytes.len()) {
        return write_through(connection, bytes).await;
    }
    connection.write(&[IoSlice::new(bytes)], Urgency::Now)?;
    poll_fn(|cx| connection.poll_sent(cx, Goal::Sent)).await
}

/// Sends what is too long to be queued.
async fn write_through(connection: &Rc<Connection>, mut bytes: &[u8]) -> Result<(), WriteError> {
    /// Aborts the connection unless everything is sent.
    struct Whole<'c>(Option<&'c Connection>);

    impl Drop for Whole<'_> {
        fn drop(&mut self) {
            if let Some(connection) = self.0 {
                connection.abort();
            }
        }
    }

    let len = bytes.len();
    let mut whole = Whole(None);
    let outcome = poll_fn(|cx| {
        let polled = connection.poll_write_through(cx, &mut bytes);
        if bytes.len() < len {
            whole.0 = Some(connection);
        }
        polled
    })
    .await;
    // Sent, or failed, which everybody will be told.
    whole.0 = None;
    outcome
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter")
            .field("peer", &format_args!("{}", self.connection().peer_name()))
            .field("buffered", &self.buffered())
            .field("is_closing", &self.is_closing())
            .finish_non_exhaustive()
    }
}
