//! Descriptors of our own: registered once for both directions, their readiness remembered.
//!
//! A byte's way in begins here: the selector reports a key, [`Sources`] finds the source by it, the source notes what is
//! ready and wakes whoever waits, through the ready queue. Trying comes first; only `WouldBlock` makes anybody wait.

pub(crate) mod source;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use rondel_executor::{Callback, Waits};
use rondel_poll::{Events, Interest, Key, Mode, Readiness, ReadyState, SourceKind};

use crate::error::LoopClosed;
use crate::state::{LocalLoop, State};
use crate::watch;
use source::{Source, Sources, Waiters, Way};

impl LocalLoop {
    /// Registers a descriptor of your own for good, edge-triggered and for both directions; see [`Registration`].
    ///
    /// # Errors
    /// What the system says of watching this kind of file; [`LoopClosed`](crate::LoopClosed).
    pub fn register(&self, fd: OwnedFd, kind: SourceKind) -> io::Result<Registration> {
        Registration::new(self, fd, kind)
    }
}

/// A descriptor registered with a loop: what sockets and pipes are built on.
///
/// It shares the descriptor with the selector until it is dropped, so that nothing else can close it underneath, and
/// remembers what is ready: [`poll_read_with`](Registration::poll_read_with) and its kin try the call first and wait only
/// after `WouldBlock`. Several tasks may wait for the same direction; all are woken.
///
/// A clone is a share of the same registration, as large as a pointer: the descriptor is taken out of the loop with the last.
///
/// The descriptor must be non-blocking. `!Send`.
///
/// ```
/// use rondel_loop::{LocalLoop, SourceKind};
/// use std::{io::{Read, Write}, os::unix::net::UnixStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// rondel_loop::run(async {
///     let (mut here, mut there) = UnixStream::pair()?;
///     here.set_nonblocking(true)?;
///     let source = LocalLoop::current()?.register(here.try_clone()?.into(), SourceKind::UnixStream)?;
///     there.write_all(b"hello")?;
///     let mut buffer = [0; 16];
///     let count = source.read_with(|_| here.read(&mut buffer)).await?;
///     assert_eq!(&buffer[..count], b"hello");
///     Ok(())
/// })?
/// # }
/// ```
pub struct Registration {
    /// `None` only while it is being dropped.
    source: Option<Rc<Source>>,
}

impl Registration {
    fn new(local: &LocalLoop, fd: OwnedFd, kind: SourceKind) -> io::Result<Self> {
        let state = local.state();
        if state.closed.get() {
            return Err(LoopClosed.into());
        }
        let fd = Rc::new(fd);
        let key = state
            .selector
            .register(Rc::clone(&fd), Interest::BOTH, Mode::Edge)?;
        let ready = ReadyState::new(kind, state.selector.reports_read_closed());
        let source = Rc::new(Source {
            key,
            fd,
            local: local.clone(),
            waiters: Waiters::default(),
            callback: Cell::default(),
            ready: Cell::new(ready),
            closed: Cell::new(false),
        });
        state.sources.borrow_mut().insert(Rc::clone(&source));
        Ok(Self {
            source: Some(source),
        })
    }

    /// A share of the source with this key, so that it stays while it is told something.
    fn share(sources: &Sources, key: Key) -> Option<Self> {
        let source = Some(Rc::clone(sources.get(key)?));
        Some(Self { source })
    }

    #[inline]
    fn source(&self) -> &Source {
        self.source
            .as_ref()
            .expect("a registration has its source until it is dropped")
    }

    /// The loop it is registered with.
    pub fn local_loop(&self) -> &LocalLoop {
        &self.source().local
    }

    /// What is known to be ready.
    #[inline]
    pub fn ready(&self) -> ReadyState {
        self.source().ready.get()
    }

    /// Changes what is known to be ready, and re-arms the selector where it needs that.
    #[inline]
    fn update(&self, change: impl FnOnce(&mut ReadyState)) {
        let before = self.source().ready.get();
        let mut after = before;
        change(&mut after);
        if after != before {
            self.source().ready.set(after);
            if self.source().local.state().selector.needs_rearm() {
                self.rearm(after);
            }
        }
    }

    #[cold]
    fn rearm(&self, ready: ReadyState) {
        let rearmed = self
            .source()
            .local
            .state()
            .selector
            .modify(self.source().key, ready.blocked());
        if rearmed.is_err() {
            // It cannot be waited for any more. Try at once instead: the call itself says what is wrong.
            let mut ready = ready;
            ready.on_event(Readiness::ERROR);
            self.source().ready.set(ready);
        }
    }

    /// A read came back with less than there was room for. Notes that nothing is left where that follows (TCP, on selectors
    /// that report the peer's end; see [`ReadyState`]).
    #[inline]
    pub fn on_short_read(&self) {
        self.update(|ready| {
            ready.on_short_read();
        });
    }

    /// A write took less than it was given: there is no more room.
    #[inline]
    pub fn on_short_write(&self) {
        self.update(ReadyState::on_short_write);
    }

    /// Tries `read` if the source may be readable. `WouldBlock` is noted.
    ///
    /// # Errors
    /// What `read` returns; `WouldBlock` without calling it if the source is known to have nothing; after the loop has closed,
    /// [`LoopClosed`].
    #[inline]
    pub fn try_read<R>(&self, read: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        if self.source().closed.get() {
            return Err(LoopClosed.into());
        }
        if !self.ready().is_readable() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = read(self.source().fd.as_fd());
        if is_would_block(&result) {
            self.update(ReadyState::on_read_would_block);
        }
        result
    }

    /// Tries `write` if the source may be writable. `WouldBlock` is noted.
    ///
    /// # Errors
    /// As [`try_read`](Registration::try_read).
    #[inline]
    pub fn try_write<R>(
        &self,
        write: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        if self.source().closed.get() {
            return Err(LoopClosed.into());
        }
        if !self.ready().is_writable() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = write(self.source().fd.as_fd());
        if is_would_block(&result) {
            self.update(ReadyState::on_write_would_block);
        }
        result
    }

    /// Calls `read` until it gives something else than `WouldBlock` or an interruption; pending until then.
    ///
    /// # Errors
    /// What `read` returns; after the loop has closed, [`LoopClosed`].
    pub fn poll_read_with<R>(
        &self,
        cx: &Context<'_>,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            // Asked first: most polls come to wait, and need no error to tell them so.
            if self.ready().is_readable() || self.source().closed.get() {
                match self.try_read(&mut read) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            } else {
                self.source().waiters.add(Way::Read, cx.waker());
                Waits::READABLE.label(self.index());
                return Poll::Pending;
            }
        }
    }

    /// Calls `write` until it gives something else than `WouldBlock` or an interruption; pending until then.
    ///
    /// # Errors
    /// What `write` returns; after the loop has closed, [`LoopClosed`].
    pub fn poll_write_with<R>(
        &self,
        cx: &Context<'_>,
        mut write: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            // Asked first: most polls come to wait, and need no error to tell them so.
            if self.ready().is_writable() || self.source().closed.get() {
                match self.try_write(&mut write) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            } else {
                self.source().waiters.add(Way::Write, cx.waker());
                Waits::WRITABLE.label(self.index());
                return Poll::Pending;
            }
        }
    }

    /// Waits until `read` gives something; see [`poll_read_with`](Registration::poll_read_with).
    ///
    /// # Cancel safety
    /// Dropped, it has not called `read`, or that said `WouldBlock`: nothing is lost.
    ///
    /// # Errors
    /// What `read` returns; after the loop has closed, [`LoopClosed`].
    pub async fn read_with<R>(
        &self,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        std::future::poll_fn(|cx| self.poll_read_with(cx, &mut read)).await
    }

    /// Waits until `write` gives something; see [`poll_write_with`](Registration::poll_write_with).
    ///
    /// # Cancel safety
    /// Dropped, it has not called `write`, or that said `WouldBlock`: nothing is written.
    ///
    /// # Errors
    /// What `write` returns; after the loop has closed, [`LoopClosed`].
    pub async fn write_with<R>(
        &self,
        mut write: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        std::future::poll_fn(|cx| self.poll_write_with(cx, &mut write)).await
    }

    /// Has `callback` queued whenever the source becomes ready in any direction, in addition to waking those who wait.
    /// `None` ends it. When the loop is closed, the callback is [discarded](Callback::discard).
    pub fn set_callback(&self, callback: Option<Rc<dyn Callback>>) {
        let before = self.source().callback.replace(callback);
        drop(before);
    }

    /// The loop's number of the source, as wait labels name it.
    fn index(&self) -> u32 {
        // A key's index has 32 bits.
        u32::try_from(self.source().key.index()).unwrap_or(u32::MAX)
    }
}

fn is_would_block<R>(result: &io::Result<R>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl AsFd for Registration {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source().fd.as_fd()
    }
}

impl Clone for Registration {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
        }
    }
}

impl Drop for Registration {
    #[inline]
    fn drop(&mut self) {
        // Nobody has a source but registrations and, until the loop is closed, the loop's table.
        if let Some(source) = self.source.take()
            && Rc::strong_count(&source) <= 2
        {
            deregister(source);
        }
    }
}

/// The last share is gone, or, of a closed loop, one of the last.
#[cold]
fn deregister(source: Rc<Source>) {
    let key = source.key;
    let local = source.local.clone();
    let state = local.state();
    let removed = state.sources.borrow_mut().remove(key);
    // Whoever still waits (through a clone of the future's waker) is let go.
    source.let_go();
    // Both before the selector's share: the last one closes the descriptor, which saves a system call.
    drop(source);
    if removed.is_some() {
        drop(removed);
        // Fails only for a key that is not registered, which is where this wants to get.
        let _ = state.selector.deregister(key);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("fd", &self.source().fd)
            .field("key", &self.source().key)
            .field("ready", &self.ready())
            .finish_non_exhaustive()
    }
}

/// Hands the events of a wait to their sources and watches.
pub(crate) fn dispatch(state: &Rc<State>, events: &Events) {
    let mut events = events.iter();
    // One guard for all of them, taken anew after a waker that panicked.
    while !events.as_slice().is_empty() {
        state.guarded(|| {
            for event in &mut events {
                let share = Registration::share(&state.sources.borrow(), event.key);
                match share {
                    Some(share) => share.source().on_event(&state.executor, event.readiness),
                    None => watch::on_event(state, event.key, event.readiness),
                }
            }
        });
    }
}
