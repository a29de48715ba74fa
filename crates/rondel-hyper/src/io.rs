//! [`HyperIo`]: a stream as hyper reads and writes it.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use rondel_executor::LoopBound;
use rondel_net::{StreamPair, StreamReader, StreamWriter};

use crate::here::here;

/// A connection, as hyper reads and writes it: TCP, TLS, Unix sockets, whatever has a reader and a writer.
///
/// What is received is copied once, from the loop's buffer into hyper's, which is never cleared for it. What hyper writes, which gathers
/// it itself, goes out at once, and is queued only as far as the system does not take it; hyper waits while too much is.
///
/// It is `Send`, since hyper asks that of a connection which may be upgraded, but bound to its loop: used on another thread it
/// fails, dropped on another thread it is closed at home.
pub struct HyperIo {
    lent: LoopBound<Lent>,
    /// What was read of it before hyper had it.
    early: Vec<u8>,
    /// Told what passes, if somebody wants to know.
    told: Option<Arc<Told>>,
    /// Whether what is written goes out together, at a flush: HTTP/2 writes piece by piece.
    gathers: bool,
}

/// What somebody may want to know of what passes.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Something was written and is not all sent.
    unsent: AtomicBool,
    /// What was read last ended as the head of a request does.
    ends_a_head: AtomicBool,
}

impl Told {
    #[cfg(feature = "server")]
    pub(crate) fn is_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed)
    }

    #[cfg(feature = "server")]
    pub(crate) fn ends_a_head(&self) -> bool {
        self.ends_a_head.load(Ordering::Relaxed)
    }
}

/// Where a stream comes back to when hyper lets go of it.
pub(crate) type Home = Rc<Cell<Option<StreamPair>>>;

struct Lent {
    /// There, but for the moment of its return.
    pair: Option<StreamPair>,
    home: Option<Home>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.set(self.pair.take());
        }
    }
}

impl HyperIo {
    /// Takes a stream over.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub fn new(pair: impl Into<StreamPair>) -> Self {
        Self::with_early(pair.into(), Vec::new())
    }

    /// The same with bytes that have been taken out of it already, for what writes piece by piece.
    pub(crate) fn gathering(pair: StreamPair, early: Vec<u8>) -> Self {
        Self {
            gathers: true,
            ..Self::with_early(pair, early)
        }
    }

    /// The same for what gathers by itself.
    fn with_early(pair: StreamPair, early: Vec<u8>) -> Self {
        let local = here("rondel_hyper::HyperIo::new");
        let lent = Lent {
            pair: Some(pair),
            home: None,
        };
        Self {
            lent: LoopBound::new(&local.spawner(), lent),
            early,
            told: None,
            gathers: false,
        }
    }

    /// The same; it tells what passes, and when it is dropped the stream goes to `home`.
    #[cfg(feature = "server")]
    pub(crate) fn lend(pair: StreamPair, early: Vec<u8>, told: Arc<Told>, home: &Home) -> Self {
        let mut io = Self::with_early(pair, early);
        io.told = Some(told);
        if let Ok(lent) = io.lent.try_get_mut() {
            lent.home = Some(Rc::clone(home));
        }
        io
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
    pub fn into_inner(mut self) -> Result<(StreamReader, StreamWriter, Vec<u8>), Self> {
        let lent = self.lent.try_get_mut().ok();
        match lent.and_then(|lent| lent.pair.take()) {
            Some(pair) => {
                let (reader, writer) = pair.into_split();
                Ok((reader, writer, self.early))
            }
            None => Err(self),
        }
    }

    fn tell_unsent(&self, is_unsent: bool) {
        if let Some(told) = &self.told {
            told.unsent.store(is_unsent, Ordering::Relaxed);
        }
    }

    fn pair(self: Pin<&mut Self>) -> io::Result<&mut StreamPair> {
        pair_of(&mut self.get_mut().lent)
    }
}

fn pair_of(lent: &mut LoopBound<Lent>) -> io::Result<&mut StreamPair> {
    let lent = lent.try_get_mut().map_err(io::Error::other)?;
    lent.pair
        .as_mut()
        .ok_or_else(|| io::ErrorKind::NotConnected.into())
}

impl Read for HyperIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.early.is_empty() {
            let count = this.early.len().min(room.remaining());
            tell_end(this.told.as_deref(), &this.early[..count]);
            room.put_slice(&this.early[..count]);
            this.early.drain(..count);
            if this.early.is_empty() {
                this.early = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let most = room.remaining();
        let told = this.told.as_deref();
        pair_of(&mut this.lent)?
            .reader_mut()
            .poll_receive(cx, most, |bytes| {
                tell_end(told, bytes);
                room.put_slice(bytes);
            })
    }
}

fn tell_end(told: Option<&Told>, bytes: &[u8]) {
    if let Some(told) = told {
        let ends = bytes.ends_with(b"\r\n\r\n");
        told.ends_a_head.store(ends, Ordering::Relaxed);
    }
}

impl Write for HyperIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tell_unsent(true);
        let gathers = self.gathers;
        let writer = self.pair()?.writer();
        let written = if gathers {
            writer.poll_write_vectored(cx, parts)
        } else {
            writer.poll_write_now(cx, parts)
        };
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
        if let Ok(lent) = self.lent.try_get() {
            debug.field("pair", &lent.pair);
        }
        debug.finish_non_exhaustive()
    }
}
