//! [`PipeWriter`]: the writing end of a pipe, with flow control.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
#[cfg(feature = "process")]
use std::task::{Context, Poll};

use crate::error::WriteError;
use crate::pipe::sink::{Goal, Sink};

/// The writing end of a pipe, or the standard input of a [`Child`](crate::Child).
///
/// It writes as a [`StreamWriter`](crate::StreamWriter) does: what is written is accepted whole, or refused whole, and sent
/// in order; [`write_all`](PipeWriter::write_all) waits while the other end is slow, and is the way to write unless there is
/// a reason for another. Small pieces written in one turn of a task are sent together.
///
/// # Closing
/// Whoever reads the pipe sees its end when this is closed. [`close`](PipeWriter::close) sends what is queued first, though
/// nobody waits for it. Dropped, it sends what the pipe takes at that moment, and closes: a pipe cannot tell its reader that
/// something is missing, so flush what must arrive whole. `!Send`.
pub struct PipeWriter {
    sink: Rc<Sink>,
}

impl PipeWriter {
    pub(super) fn new(sink: Rc<Sink>) -> Self {
        Self { sink }
    }

    /// Accepts `bytes` whole, to be sent when the task that runs gives way, or at once from 16 KiB on. Does not wait.
    ///
    /// # Errors
    /// - [`WriteError::Full`] if more would be queued than the [hard limit](PipeWriter::set_hard_limit) allows,
    ///   [`WriteError::Closed`]: nothing was accepted.
    /// - [`WriteError::Io`]: nobody reads the pipe any more (`BrokenPipe`), now or before.
    pub fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.sink.write(bytes, false)
    }

    /// Writes all of `bytes`, and waits until the pipe has taken them and what was queued before.
    ///
    /// # Errors
    /// [`WriteError::Io`], [`WriteError::Closed`].
    ///
    /// # Cancel safety
    /// Dropped after it was polled, it has written `bytes` whole: they are queued and will be sent. Only of what is longer
    /// than the [hard limit](PipeWriter::set_hard_limit), a part may be written then.
    pub async fn write_all(&self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.sink.has_room(bytes.len()) {
            self.sink.write(bytes, true)?;
            return self.flush().await;
        }
        for part in bytes.chunks(self.hard_limit().max(1)) {
            self.flush().await?;
            self.sink.write(part, true)?;
        }
        self.flush().await
    }

    /// Sends what is queued as far as the pipe takes it, and if more than the [high water
    /// mark](PipeWriter::set_write_buffer_limits) was left, waits until it is down at the low one.
    ///
    /// # Errors
    /// [`WriteError::Io`]; [`WriteError::Closed`] if it is closed or aborted at this end.
    ///
    /// # Cancel safety
    /// Dropped, it loses nothing.
    pub async fn drain(&self) -> Result<(), WriteError> {
        if self.sink.is_closed() {
            return Err(WriteError::Closed);
        }
        poll_fn(|cx| self.sink.poll_sent(cx, Goal::Drained)).await
    }

    /// Waits until the pipe has taken everything that is queued.
    ///
    /// # Errors
    /// [`WriteError::Io`]; [`WriteError::Closed`] if it was aborted at this end.
    ///
    /// # Cancel safety
    /// Dropped, it loses nothing.
    pub async fn flush(&self) -> Result<(), WriteError> {
        poll_fn(|cx| self.sink.poll_sent(cx, Goal::Sent)).await
    }

    /// Sends what is queued, and closes. What the pipe does not take now is sent later, as long as the loop runs. asyncio:
    /// also `write_eof`, which is the same for a pipe.
    #[doc(alias = "write_eof")]
    pub fn close(&self) {
        self.sink.close();
    }

    /// Closes at once, and drops what is queued. The reader cannot tell it from a [`close`](PipeWriter::close).
    pub fn abort(&self) {
        self.sink.abort();
    }

    /// Waits until it is closed, from this end, or has failed: without an error, everything accepted before has been taken
    /// then. It does not close it itself.
    ///
    /// # Errors
    /// What the pipe failed with, if it has.
    ///
    /// # Cancel safety
    /// Dropped, it changes nothing.
    pub async fn wait_closed(&self) -> io::Result<()> {
        self.sink.wait_closed().await
    }

    #[cfg(feature = "process")]
    pub(crate) fn is_paused(&self) -> bool {
        self.sink.is_paused()
    }

    #[cfg(feature = "process")]
    pub(crate) fn poll_drained(&self, cx: &Context<'_>) -> Poll<Result<(), WriteError>> {
        self.sink.poll_sent(cx, Goal::Drained)
    }

    /// Whether it was closed or aborted at this end.
    pub fn is_closing(&self) -> bool {
        self.sink.is_closing()
    }

    /// How many bytes are queued. asyncio: `get_write_buffer_size`.
    #[doc(alias = "get_write_buffer_size")]
    pub fn buffered(&self) -> usize {
        self.sink.queued()
    }

    /// The water marks for [`drain`](PipeWriter::drain): low, then high.
    #[doc(alias = "get_write_buffer_limits")]
    pub fn write_buffer_limits(&self) -> (usize, usize) {
        self.sink.marks()
    }

    /// Sets the water marks; see [`StreamWriter::set_write_buffer_limits`](crate::StreamWriter::set_write_buffer_limits).
    ///
    /// # Errors
    /// `InvalidInput` if `low` is above `high`; nothing is changed.
    pub fn set_write_buffer_limits(
        &self,
        high: impl Into<Option<usize>>,
        low: impl Into<Option<usize>>,
    ) -> io::Result<()> {
        self.sink.set_marks(high.into(), low.into())
    }

    /// How many bytes may be queued; see [`set_hard_limit`](PipeWriter::set_hard_limit).
    pub fn hard_limit(&self) -> usize {
        self.sink.limit().get()
    }

    /// Sets how many bytes may be queued at all: 16 MiB unless set. A [`write`](PipeWriter::write) that would exceed it is
    /// refused; [`write_all`](PipeWriter::write_all) has no limit.
    pub fn set_hard_limit(&self, bytes: usize) {
        self.sink.limit().set(bytes);
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.sink.release();
    }
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeWriter")
            .field("of", &format_args!("{}", self.sink.peer()))
            .field("buffered", &self.buffered())
            .field("is_closing", &self.is_closing())
            .finish_non_exhaustive()
    }
}
