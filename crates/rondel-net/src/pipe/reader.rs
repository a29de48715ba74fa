//! [`PipeReader`]: the reading end of a pipe, with a buffer.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use crate::error::ReadError;
use crate::pipe::held::Held;
use crate::pipe::source::Source;

/// The limit unless set: asyncio's value.
const LIMIT: usize = 64 * 1024;
/// Into buffers from this size on, bytes are received directly.
const DIRECT: usize = 16 * 1024;

/// The reading end of a pipe, or the standard output or error of a [`Child`](crate::Child).
///
/// It reads as a [`StreamReader`](crate::StreamReader) does: it receives when it is asked to, and no more than twice its
/// [limit](PipeReader::set_limit) ahead; while nothing is left in it, it has no buffer. Every method is cancel safe: what has
/// been received stays in the reader until it is given whole.
///
/// Dropped, the end is closed; whoever writes to the pipe sees it as broken. `!Send`.
pub struct PipeReader {
    source: Source,
    held: Held,
    limit: usize,
    ended: bool,
}

impl PipeReader {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            held: Held::default(),
            limit: LIMIT,
            ended: false,
        }
    }

    /// How many bytes may come before a separator in [`read_until`](PipeReader::read_until) and
    /// [`read_line`](PipeReader::read_line): 64 KiB unless set.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Sets the [limit](PipeReader::limit).
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether the end has been come upon and everything before it was given.
    pub fn at_eof(&self) -> bool {
        self.ended && self.held.is_empty()
    }

    /// What was received and not given yet.
    pub fn buffer(&self) -> &[u8] {
        self.held.as_slice()
    }

    /// Gives what there is, at least a byte and at most what fits; 0 at the end, or if `out` is empty.
    ///
    /// # Errors
    /// What the system says, in a [`ConnectionLost`](crate::ConnectionLost); [`LoopClosed`](rondel_loop::LoopClosed).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has taken nothing out of the reader.
    pub async fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, out)).await
    }

    /// Gives what there is, as [`read`](PipeReader::read) does, if there is something; otherwise has the task woken.
    ///
    /// # Errors
    /// As [`read`](PipeReader::read).
    pub fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.held.is_empty() && !out.is_empty() {
            if out.len() >= DIRECT {
                return self.poll_direct(cx, out);
            }
            ready!(self.poll_more(cx, self.room().max(out.len())))?;
        }
        Poll::Ready(Ok(self.held.copy_to(out)))
    }

    /// Gives what there is, at least a byte and at most `max`; nothing at the end, or if `max` is 0.
    ///
    /// # Errors
    /// As [`read`](PipeReader::read).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has taken nothing out of the reader.
    pub async fn read_some(&mut self, max: usize) -> io::Result<Vec<u8>> {
        poll_fn(|cx| {
            if self.held.is_empty() && max > 0 {
                ready!(self.poll_more(cx, max))?;
            }
            Poll::Ready(Ok(self.held.take(max.min(self.held.len()))))
        })
        .await
    }

    /// Fills `out`. asyncio: `readexactly`.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] if the pipe ends first: what there was is in the error. [`ReadError::Io`]: what there was
    /// stays in the reader.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves what it has received in the reader.
    #[doc(alias = "readexactly")]
    pub async fn read_exact(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        poll_fn(|cx| {
            while self.held.len() < out.len() {
                if self.ended {
                    return Poll::Ready(Err(ReadError::Incomplete {
                        partial: self.held.take_all(),
                        expected: Some(out.len()),
                    }));
                }
                let room = self.room().max(out.len() - self.held.len());
                ready!(self.poll_more(cx, room))?;
            }
            self.held.copy_to(out);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Gives everything up to the end, if that is not more than `max` bytes. asyncio: `read(-1)`.
    ///
    /// # Errors
    /// [`ReadError::LimitOverrun`] if there is more, [`ReadError::Io`]: what was received stays in the reader.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves what it has received in the reader.
    pub async fn read_to_end(&mut self, max: usize) -> Result<Vec<u8>, ReadError> {
        poll_fn(|cx| self.poll_fill_to_end(cx, max)).await?;
        Ok(self.held.take_all())
    }

    /// Receives everything up to the end, if that is not more than `max` bytes, into the buffer.
    pub(crate) fn poll_fill_to_end(
        &mut self,
        cx: &Context<'_>,
        max: usize,
    ) -> Poll<Result<(), ReadError>> {
        loop {
            let len = self.held.len();
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
            ready!(self.poll_more(cx, room))?;
        }
    }

    /// Takes out what was received and not given yet.
    #[cfg(feature = "process")]
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.held.take_all()
    }

    /// Receives once, and lends what came to `take`; none at the end.
    #[cfg(feature = "process")]
    pub(crate) fn poll_lend<R>(
        &mut self,
        cx: &Context<'_>,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Poll<io::Result<R>> {
        self.source.poll_receive(cx, usize::MAX, take)
    }

    /// Gives everything up to and including `separator`. asyncio: `readuntil`.
    ///
    /// # Errors
    /// - [`ReadError::LimitOverrun`]: more than the [limit](PipeReader::limit) in front of the separator, or without one so
    ///   far; it stays in the reader.
    /// - [`ReadError::Incomplete`]: the pipe ended first; what there was is in the error.
    /// - [`ReadError::Io`]: what there was stays in the reader.
    /// - [`ReadError::NoSeparator`]: it is empty.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves what it has received in the reader.
    #[doc(alias = "readuntil")]
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<Vec<u8>, ReadError> {
        let mut searched = 0;
        poll_fn(|cx| self.poll_read_until(cx, separator, &mut searched)).await
    }

    /// Gives a line, its `\n` included; at the end what there is without one, and then nothing. asyncio: `readline`.
    ///
    /// # Errors
    /// - [`ReadError::LimitOverrun`]: the line is longer than the [limit](PipeReader::limit); it stays in the reader, to be
    ///   read by [`read_some`](PipeReader::read_some).
    /// - [`ReadError::Io`]: what there was stays in the reader.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it leaves what it has received in the reader.
    #[doc(alias = "readline")]
    pub async fn read_line(&mut self) -> Result<Vec<u8>, ReadError> {
        match self.read_until(b"\n").await {
            Err(ReadError::Incomplete { partial, .. }) => Ok(partial),
            other => other,
        }
    }

    /// `searched` is how much in front is known to hold no beginning of the separator.
    fn poll_read_until(
        &mut self,
        cx: &Context<'_>,
        separator: &[u8],
        searched: &mut usize,
    ) -> Poll<Result<Vec<u8>, ReadError>> {
        if separator.is_empty() {
            return Poll::Ready(Err(ReadError::NoSeparator));
        }
        loop {
            let found = self.held.find(*searched, separator);
            let start =
                found.unwrap_or_else(|| (self.held.len() + 1).saturating_sub(separator.len()));
            if start > self.limit {
                return Poll::Ready(Err(ReadError::LimitOverrun {
                    consumed: start,
                    limit: self.limit,
                }));
            }
            if let Some(start) = found {
                return Poll::Ready(Ok(self.held.take(start + separator.len())));
            }
            *searched = start;
            if self.ended {
                return Poll::Ready(Err(ReadError::Incomplete {
                    partial: self.held.take_all(),
                    expected: None,
                }));
            }
            ready!(self.poll_more(cx, self.room()))?;
        }
    }

    /// How much may be received ahead of what is asked for.
    fn room(&self) -> usize {
        let ahead = self.limit.saturating_mul(2).max(DIRECT);
        ahead.saturating_sub(self.held.len()).max(1)
    }

    fn poll_direct(&mut self, cx: &Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let count = ready!(self.source.poll_read(cx, out))?;
        self.ended = count == 0;
        Poll::Ready(Ok(count))
    }

    /// Receives into the buffer, `room` bytes at most.
    fn poll_more(&mut self, cx: &Context<'_>, room: usize) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let held = &mut self.held;
        let keep = |bytes: &[u8]| {
            held.push(bytes);
            bytes.is_empty()
        };
        self.ended = ready!(self.source.poll_receive(cx, room, keep))?;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeReader")
            .field("of", &format_args!("{}", self.source.peer()))
            .field("buffered", &self.held.len())
            .field("at_eof", &self.at_eof())
            .finish_non_exhaustive()
    }
}
