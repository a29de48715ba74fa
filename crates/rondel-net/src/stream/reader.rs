//! [`StreamReader`]: what asyncio's streams are read with.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::engine::{Connection, Handle};
use crate::error::ReadError;
use crate::stream::inbound_buffer::InboundBuffer;
use crate::stream::separator::{Found, find};

/// The limit unless set. asyncio's value.
const LIMIT: usize = 64 * 1024;

/// Into buffers from this size on, bytes are received directly. Smaller ones are filled from the loop's large one: so that
/// small pieces do not cost a system call each, and a buffer that a message fills to the brim not one in vain.
const DIRECT: usize = 16 * 1024;

/// The reading half of a connection, with a buffer for what was received and not asked for yet. asyncio: `StreamReader`.
///
/// It receives when it is asked to read, and no more than twice its [limit](StreamReader::set_limit) ahead: a peer that sends
/// faster than this end reads is held up by the system. While nothing is left in it, the reader has no buffer at all.
///
/// Every method is cancel safe: what has been received stays in the reader until it is given whole. Reading needs
/// `&mut self`, so that no two tasks read at once.
///
/// Dropped, it leaves the connection to its [writer](crate::StreamWriter); if that has gone before, the connection is closed.
/// `!Send`.
///
/// ```
/// use rondel_net::{ReadError, TcpListener, TcpStream};
///
/// # rondel_loop::run(async {
/// # let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
/// # let peer = TcpStream::connect(listener.local_addr()).await?;
/// # let (stream, _) = listener.accept().await?;
/// let (mut reader, _writer) = stream.into_split();
/// peer.write_all(b"one\ntwo, three; and").await?;
/// # peer.close();
///
/// assert_eq!(reader.read_line().await?, b"one\n");
/// assert_eq!(reader.read_until(b", ").await?, b"two, ");
/// assert_eq!(reader.read_until_any(&[b";", b"."]).await?, b"three;");
/// match reader.read_exact(&mut [0; 8]).await {
///     Err(ReadError::Incomplete { partial, expected }) => {
///         assert_eq!((&*partial, expected), (&b" and"[..], Some(8)));
///     }
///     other => panic!("{other:?}"),
/// }
/// assert!(reader.at_eof());
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct StreamReader {
    handle: Handle,
    buffer: InboundBuffer,
    limit: usize,
    ended: bool,
}

impl StreamReader {
    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle,
            buffer: InboundBuffer::default(),
            limit: LIMIT,
            ended: false,
        }
    }

    /// A reader that has received something already.
    pub(crate) fn with_buffer(handle: Handle, received: Vec<u8>) -> Self {
        let mut reader = Self::new(handle);
        reader.buffer.push(&received);
        reader
    }

    /// Takes out what was received and not given yet.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.buffer.take_all()
    }

    pub(crate) fn connection(&self) -> &Rc<Connection> {
        self.handle.connection()
    }

    /// How many bytes may come before a separator, in [`read_until`](StreamReader::read_until) and its kin: 64 KiB unless
    /// set. Also half of what is buffered at most, but for what [`read_exact`](StreamReader::read_exact) and
    /// [`read_to_end`](StreamReader::read_to_end) were told to collect.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Sets the [limit](StreamReader::limit).
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether the stream has ended and everything has been read. `false` as long as the end has not been come upon.
    pub fn at_eof(&self) -> bool {
        self.ended && self.buffer.is_empty()
    }

    /// What was received and not given yet.
    pub fn buffer(&self) -> &[u8] {
        self.buffer.as_slice()
    }

    /// The other end; see [`TcpStream::peer_addr`](crate::TcpStream::peer_addr).
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.handle.connection().peer()
    }

    /// Gives what there is, at least a byte and at most what fits; 0 at the end of the stream, or if `out` is empty.
    ///
    /// # Errors
    /// [`ConnectionLost`](crate::ConnectionLost) in an [`io::Error`] of the system's kind; `ConnectionAborted` after
    /// [`abort`](crate::StreamWriter::abort).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has taken nothing out of the reader.
    pub async fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, out)).await
    }

    /// Lends what there is to `take`: what the reader holds, else up to 256 KiB straight out of the loop's own buffer, for one
    /// system call and without a copy. An empty slice is the end of the stream.
    ///
    /// The loop has no buffer of its own while `take` runs, so keep it short, and copy out what you keep.
    ///
    /// # Errors
    /// As [`read`](StreamReader::read).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has taken nothing out of the reader.
    pub async fn receive<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        if !self.buffer.is_empty() {
            let held = self.buffer.take(self.buffer.len());
            return Ok(take(&held));
        }
        let mut take = Some(take);
        let (ended, result) = poll_fn(|cx| {
            self.handle
                .connection()
                .poll_receive(cx, usize::MAX, |bytes| {
                    let take = take.take().expect("called once, when it is ready");
                    (bytes.is_empty(), take(bytes))
                })
        })
        .await?;
        self.ended |= ended;
        Ok(result)
    }

    /// Gives what there is, as [`read`](StreamReader::read) does, if there is something; otherwise has the task woken.
    ///
    /// # Errors
    /// As [`read`](StreamReader::read).
    pub fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.buffer.is_empty() || out.is_empty() {
            return Poll::Ready(Ok(self.buffer.copy_to(out)));
        }
        let count = if out.len() >= DIRECT {
            ready!(self.handle.connection().poll_read(cx, out))?
        } else {
            let room = self.room().max(out.len());
            let buffer = &mut self.buffer;
            let give = |bytes: &[u8]| {
                let count = bytes.len().min(out.len());
                out[..count].copy_from_slice(&bytes[..count]);
                if count < bytes.len() {
                    buffer.push(&bytes[count..]);
                }
                count
            };
            ready!(self.handle.connection().poll_receive(cx, room, give))?
        };
        self.ended |= count == 0;
        Poll::Ready(Ok(count))
    }

    /// Lends what there is to `take`, at most `most` bytes, if there is something; otherwise has the task woken and does not
    /// call it. An empty slice is the end of the stream, or `most` was 0. See [`receive`](StreamReader::receive).
    ///
    /// For adapters that copy into a buffer of their own which need not be initialised.
    ///
    /// # Errors
    /// As [`read`](StreamReader::read).
    pub fn poll_receive<R>(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Poll<io::Result<R>> {
        if !self.buffer.is_empty() || most == 0 {
            let count = self.buffer.len().min(most);
            let result = take(&self.buffer.as_slice()[..count]);
            self.buffer.consume(count);
            return Poll::Ready(Ok(result));
        }
        let take = |bytes: &[u8]| (bytes.is_empty(), take(bytes));
        let (ended, result) = ready!(self.handle.connection().poll_receive(cx, most, take))?;
        self.ended |= ended;
        Poll::Ready(Ok(result))
    }

    /// Receives into the reader's own buffer if that is empty; ready when there is something in it, or the stream has ended.
    #[cfg(feature = "futures-io")]
    pub(super) fn poll_buffer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.buffer.is_empty() {
            ready!(self.poll_fill(cx, self.room()))?;
        }
        Poll::Ready(Ok(self.buffer.as_slice()))
    }

    /// Forgets the first `count` bytes of the buffer, or all there are.
    #[cfg(feature = "futures-io")]
    pub(super) fn consume_buffer(&mut self, count: usize) {
        self.buffer.consume(count.min(self.buffer.len()));
    }

    /// Gives what there is, at least a byte and at most `max`; nothing at the end of the stream, or if `max` is 0.
    ///
    /// # Errors
    /// As [`read`](StreamReader::read).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has taken nothing out of the reader.
    pub async fn read_some(&mut self, max: usize) -> io::Result<Vec<u8>> {
        if !self.buffer.is_empty() || max == 0 {
            return Ok(self.buffer.take(max.min(self.buffer.len())));
        }
        let some = poll_fn(|cx| {
            self.handle
                .connection()
                .poll_receive(cx, max, <[u8]>::to_vec)
        })
        .await?;
        self.ended |= some.is_empty();
        Ok(some)
    }

    /// Fills `out`. asyncio: `readexactly`.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] if the stream ends first: what there was is in the error. [`ReadError::Io`]: what there was
    /// stays in the reader.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves what it has received in the reader.
    #[doc(alias = "readexactly")]
    pub async fn read_exact(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        let mut filled = 0;
        poll_fn(|cx| {
            let full = if out.len() < DIRECT {
                ready!(self.poll_exact_small(cx, out))?
            } else {
                ready!(self.poll_exact_large(cx, out, &mut filled))?
            };
            Poll::Ready(if full {
                Ok(())
            } else {
                Err(ReadError::Incomplete {
                    partial: self.buffer.take_all(),
                    expected: Some(out.len()),
                })
            })
        })
        .await
    }

    /// Fills `out`, by way of the buffer unless all of it arrives at once; `false` if the stream ends before.
    fn poll_exact_small(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<bool>> {
        while self.buffer.len() < out.len() {
            if self.ended {
                return Poll::Ready(Ok(false));
            }
            let room = self.room().max(out.len());
            if !self.buffer.is_empty() {
                ready!(self.poll_fill(cx, room))?;
                continue;
            }
            let buffer = &mut self.buffer;
            let give = |bytes: &[u8]| {
                let (given, kept) = bytes.split_at_checked(out.len()).unwrap_or((&[], bytes));
                out[..given.len()].copy_from_slice(given);
                buffer.push(kept);
                (bytes.len(), !given.is_empty())
            };
            let (count, full) = ready!(self.handle.connection().poll_receive(cx, room, give))?;
            self.ended |= count == 0;
            if full {
                return Poll::Ready(Ok(true));
            }
        }
        self.buffer.copy_to(out);
        Poll::Ready(Ok(true))
    }

    /// Fills `out`, straight from the socket; `false` if the stream ends before. Its first `filled` bytes are in the buffer
    /// as well, from where they are not lost: only what has to wait for the rest is copied there.
    fn poll_exact_large(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut [u8],
        filled: &mut usize,
    ) -> Poll<io::Result<bool>> {
        let known = self.buffer.len().min(out.len());
        if *filled < known {
            out[*filled..known].copy_from_slice(&self.buffer()[*filled..known]);
            *filled = known;
        }
        let outcome = loop {
            if *filled == out.len() {
                self.buffer.consume(known);
                return Poll::Ready(Ok(true));
            }
            if self.ended {
                break Poll::Ready(Ok(false));
            }
            match self.handle.connection().poll_read(cx, &mut out[*filled..]) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(count)) => *filled += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.buffer.push(&out[known..*filled]);
        outcome
    }

    /// Gives everything up to the end of the stream, if that is not more than `max` bytes. asyncio: `read(-1)`.
    ///
    /// # Errors
    /// [`ReadError::LimitOverrun`] if there is more, [`ReadError::Io`]: what was received stays in the reader.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves what it has received in the reader.
    pub async fn read_to_end(&mut self, max: usize) -> Result<Vec<u8>, ReadError> {
        poll_fn(|cx| self.poll_fill_to_end(cx, max)).await?;
        Ok(self.buffer.take_all())
    }

    /// Receives everything up to the end, if that is not more than `max` bytes, into the buffer.
    pub(crate) fn poll_fill_to_end(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<(), ReadError>> {
        loop {
            let len = self.buffer.len();
            if len > max {
                return Poll::Ready(Err(ReadError::LimitOverrun {
                    consumed: len,
                    limit: max,
                }));
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            let room = (max - len).saturating_add(1);
            ready!(self.poll_fill(cx, room))?;
        }
    }

    /// Gives everything up to and including `separator`. asyncio: `readuntil`.
    ///
    /// # Errors
    /// - [`ReadError::LimitOverrun`]: more than the [limit](StreamReader::limit) in front of the separator, or without one so
    ///   far; it stays in the reader.
    /// - [`ReadError::Incomplete`]: the stream ended first; what there was is in the error.
    /// - [`ReadError::Io`]: what there was stays in the reader.
    /// - [`ReadError::NoSeparator`]: it is empty.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves what it has received in the reader.
    #[doc(alias = "readuntil")]
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<Vec<u8>, ReadError> {
        self.read_until_any(&[separator]).await
    }

    /// Gives everything up to and including one of `separators`: the one that ends first, even if another began before it.
    /// asyncio: `readuntil` with a tuple.
    ///
    /// # Errors
    /// As [`read_until`](StreamReader::read_until); [`ReadError::NoSeparator`] also if there are none.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves what it has received in the reader.
    pub async fn read_until_any(&mut self, separators: &[&[u8]]) -> Result<Vec<u8>, ReadError> {
        let mut searched = 0;
        poll_fn(|cx| self.poll_read_until(cx, separators, &mut searched)).await
    }

    /// Gives a line, its `\n` included; at the end of the stream what there is without one, and then nothing.
    /// asyncio: `readline`.
    ///
    /// # Errors
    /// - [`ReadError::LimitOverrun`]: the line is longer than the [limit](StreamReader::limit). It stays in the reader, to be
    ///   read with a higher limit or by [`read_some`](StreamReader::read_some). (asyncio drops what has arrived of it, and may
    ///   give the rest as the next line.)
    /// - [`ReadError::Io`]: what there was stays in the reader.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves what it has received in the reader.
    #[doc(alias = "readline")]
    pub async fn read_line(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut searched = 0;
        poll_fn(|cx| self.poll_read_line(cx, &mut searched)).await
    }

    pub(super) fn poll_read_line(
        &mut self,
        cx: &mut Context<'_>,
        searched: &mut usize,
    ) -> Poll<Result<Vec<u8>, ReadError>> {
        let outcome = ready!(self.poll_read_until(cx, &[b"\n"], searched));
        Poll::Ready(match outcome {
            Err(ReadError::Incomplete { partial, .. }) => Ok(partial),
            other => other,
        })
    }

    /// `searched` is how much of the buffer is known to hold no beginning of a separator: nothing at first.
    fn poll_read_until(
        &mut self,
        cx: &mut Context<'_>,
        separators: &[&[u8]],
        searched: &mut usize,
    ) -> Poll<Result<Vec<u8>, ReadError>> {
        let longest = separators.iter().map(|separator| separator.len()).max();
        let Some(longest) = longest.filter(|_| separators.iter().all(|one| !one.is_empty())) else {
            return Poll::Ready(Err(ReadError::NoSeparator));
        };
        let limit = self.limit;
        let overrun = |consumed| Poll::Ready(Err(ReadError::LimitOverrun { consumed, limit }));
        loop {
            if let Some(Found { start, end }) = find(self.buffer(), *searched, separators) {
                *searched = 0;
                if start > limit {
                    return overrun(start);
                }
                return Poll::Ready(Ok(self.buffer.take(end)));
            }
            *searched = (self.buffer.len() + 1).saturating_sub(longest);
            if *searched > limit {
                return overrun(std::mem::take(searched));
            }
            if self.ended {
                *searched = 0;
                return Poll::Ready(Err(ReadError::Incomplete {
                    partial: self.buffer.take_all(),
                    expected: None,
                }));
            }
            if !self.buffer.is_empty() {
                ready!(self.poll_fill(cx, self.room()))?;
                continue;
            }
            // The usual case: what is looked for arrives at once, and need not go through the buffer.
            let (room, buffer) = (self.room(), &mut self.buffer);
            let take = |bytes: &[u8]| match find(bytes, 0, separators) {
                Some(Found { start, end }) if start <= limit => {
                    buffer.push(&bytes[end..]);
                    (bytes.len(), Some(bytes[..end].to_vec()))
                }
                _ => {
                    buffer.push(bytes);
                    (bytes.len(), None)
                }
            };
            let (count, taken) = ready!(self.handle.connection().poll_receive(cx, room, take))?;
            self.ended |= count == 0;
            if let Some(taken) = taken {
                *searched = 0;
                return Poll::Ready(Ok(taken));
            }
        }
    }

    /// How much may be received ahead of what is asked for.
    fn room(&self) -> usize {
        let ahead = self.limit.saturating_mul(2).max(DIRECT);
        ahead.saturating_sub(self.buffer.len()).max(1)
    }

    /// Receives into the buffer, `room` bytes at most; 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let buffer = &mut self.buffer;
        let keep = |bytes: &[u8]| {
            buffer.push(bytes);
            bytes.len()
        };
        let count = ready!(self.handle.connection().poll_receive(cx, room, keep))?;
        self.ended |= count == 0;
        Poll::Ready(Ok(count))
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("peer", &format_args!("{}", self.connection().peer_name()))
            .field("buffered", &self.buffer.len())
            .field("at_eof", &self.at_eof())
            .finish_non_exhaustive()
    }
}
