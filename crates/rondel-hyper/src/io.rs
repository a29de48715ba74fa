//! [`HyperIo`]: a stream as hyper reads and writes it.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use rondel_executor::LoopBound;
use rondel_net::{StreamPair, StreamReader, StreamWriter};

use crate::here::here;

/// A connection, as hyper reads and writes it: TCP, TLS, Unix sockets, whatever has a reader and a writer.
///
/// What is received is copied once, from the loop's buffer into hyper's, which is never cleared for it. What hyper writes goes
/// out in one system call when its task gives way or flushes, and waits while too much is queued.
///
/// It is `Send`, since hyper asks that of a connection which may be upgraded, but bound to its loop: used on another thread it
/// fails, dropped on another thread it is closed at home.
pub struct HyperIo {
    pair: LoopBound<StreamPair>,
    /// What was read of it before hyper had it.
    early: Vec<u8>,
    /// Told whether something was written and is not all sent, if somebody wants to know.
    unsent: Option<Arc<AtomicBool>>,
}

impl HyperIo {
    /// Takes a stream over.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub fn new(pair: impl Into<StreamPair>) -> Self {
        Self::with_early(pair.into(), Vec::new())
    }

    /// The same with bytes that have been taken out of it already.
    pub(crate) fn with_early(pair: StreamPair, early: Vec<u8>) -> Self {
        let local = here("rondel_hyper::HyperIo::new");
        Self {
            pair: LoopBound::new(&local.spawner(), pair),
            early,
            unsent: None,
        }
    }

    /// Has it tell whether something was written and is not all sent.
    #[cfg(feature = "server")]
    pub(crate) fn telling(mut self, unsent: Arc<AtomicBool>) -> Self {
        self.unsent = Some(unsent);
        self
    }

    /// The stream again, for instance after an upgrade: reader and writer, and what was read of it already and belongs before
    /// all that the reader will give. (Nothing, unless it is taken back before hyper has read.)
    ///
    /// # Errors
    /// On another thread than its loop's it comes back.
    #[allow(
        clippy::result_large_err,
        reason = "it comes back as it was given, and only by mistake"
    )]
    pub fn into_inner(self) -> Result<(StreamReader, StreamWriter, Vec<u8>), Self> {
        let Self {
            pair,
            early,
            unsent,
        } = self;
        match pair.try_into_inner() {
            Ok(pair) => {
                let (reader, writer) = pair.into_split();
                Ok((reader, writer, early))
            }
            Err(pair) => Err(Self {
                pair,
                early,
                unsent,
            }),
        }
    }

    fn tell_unsent(&self, is_unsent: bool) {
        if let Some(unsent) = &self.unsent {
            unsent.store(is_unsent, Ordering::Relaxed);
        }
    }

    fn pair(self: Pin<&mut Self>) -> io::Result<&mut StreamPair> {
        let pair = self.get_mut().pair.try_get_mut();
        pair.map_err(io::Error::other)
    }
}

impl Read for HyperIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(room.remaining());
            room.put_slice(&self.early[..count]);
            self.early.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let most = room.remaining();
        let reader = self.pair()?.reader_mut();
        reader.poll_receive(cx, most, |bytes| room.put_slice(bytes))
    }
}

impl Write for HyperIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tell_unsent(true);
        Poll::Ready(Ok(ready!(self.pair()?.writer().poll_write(cx, bytes))?))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tell_unsent(true);
        let written = self.pair()?.writer().poll_write_vectored(cx, parts);
        Poll::Ready(Ok(ready!(written)?))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().pair()?.writer().poll_flush(cx))?;
        self.tell_unsent(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(ready!(self.pair()?.writer().poll_write_eof(cx))?))
    }
}

impl fmt::Debug for HyperIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HyperIo");
        if let Ok(pair) = self.pair.try_get() {
            debug.field("pair", pair);
        }
        debug.finish_non_exhaustive()
    }
}
