//! The end of a pipe that is written to.
//!
//! Writes are accepted whole. What the pipe would not take is queued, and the end is called back when there is room; the
//! registration then holds it, and lets it go when the queue is empty.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rondel_executor::Callback;
use rondel_loop::{Flush, LocalLoop, LoopClosed, Registration};
use rondel_sync::Event;

use crate::engine::Peer;
use crate::error::{Attempt, ConnectionLost, WriteError};
use crate::pipe::calls::Calls;

/// From this size on, with nothing queued, bytes are sent at once.
const AT_ONCE: usize = 16 * 1024;
/// How much is queued until the end of the turn at most.
const CHUNK: usize = 64 * 1024;
/// How much is sent before others have their turn.
const ALLOWANCE: usize = 1024 * 1024;

/// How far sending is to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Below the low water mark, if it was above the high one.
    Drained,
    /// All of it.
    Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// What is queued is still to be sent.
    Closing,
    Closed,
    Aborted,
}

/// A failure, in a form that can be told again and again.
#[derive(Clone, Copy, Debug)]
struct Fault(i32);

pub(crate) struct Sink {
    /// `None` once it is closed.
    registration: RefCell<Option<Rc<Registration>>>,
    local: LocalLoop,
    calls: Calls,
    peer: Peer,
    phase: Cell<Phase>,
    fault: Cell<Option<Fault>>,
    /// Borrowed for the length of a system call at most.
    queue: RefCell<VecDeque<u8>>,
    marks: Cell<(usize, usize)>,
    limit: Cell<usize>,
    /// Above the high water mark, or not yet down at the low one.
    paused: Cell<bool>,
    flush_due: Cell<bool>,
    send_due: Cell<bool>,
    watching: Cell<bool>,
    closed: Event,
}

impl Sink {
    pub(super) fn new(registration: Registration, calls: Calls, peer: Peer) -> Rc<Self> {
        Rc::new(Self {
            local: registration.local_loop().clone(),
            registration: RefCell::new(Some(Rc::new(registration))),
            calls,
            peer,
            phase: Cell::new(Phase::Open),
            fault: Cell::new(None),
            queue: RefCell::default(),
            marks: Cell::new((CHUNK / 4, CHUNK)),
            limit: Cell::new(16 * 1024 * 1024),
            paused: Cell::new(false),
            flush_due: Cell::new(false),
            send_due: Cell::new(false),
            watching: Cell::new(false),
            closed: Event::new(),
        })
    }

    pub(super) const fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.borrow().len()
    }

    pub(super) const fn limit(&self) -> &Cell<usize> {
        &self.limit
    }

    /// Low, then high.
    pub(super) fn marks(&self) -> (usize, usize) {
        self.marks.get()
    }

    pub(super) fn set_marks(&self, high: Option<usize>, low: Option<usize>) -> io::Result<()> {
        let high = high.unwrap_or_else(|| low.map_or(CHUNK, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4);
        if low > high {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the low water mark, {low}, is above the high one, {high}"),
            ));
        }
        self.marks.set((low, high));
        self.note_level();
        Ok(())
    }

    pub(super) fn is_closing(&self) -> bool {
        self.phase.get() != Phase::Open
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase.get(), Phase::Closed | Phase::Aborted)
    }

    pub(super) fn has_room(&self, more: usize) -> bool {
        self.queued().saturating_add(more) <= self.limit.get()
    }

    /// Accepts all of `bytes`, or nothing and says why; sends now, or at the end of the turn.
    pub(super) fn write(self: &Rc<Self>, bytes: &[u8], now: bool) -> Result<(), WriteError> {
        let registration = self.to_write()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let queued = self.queued();
        if !self.has_room(bytes.len()) {
            return Err(WriteError::Full {
                refused: bytes.len(),
                queued,
                limit: self.limit.get(),
            });
        }
        let mut rest = bytes;
        if queued == 0 && (now || bytes.len() >= AT_ONCE) {
            match self.send(&registration, &[IoSlice::new(bytes)]) {
                Ok(count) => rest = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.fail(error).into()),
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.queue.borrow_mut().extend(rest);
        self.note_level();
        if !registration.ready().is_writable() {
            self.watch(&registration);
        } else if now || self.queued() >= CHUNK {
            self.send_queued();
            self.check_fault()?;
        } else if !self.flush_due.replace(true) {
            self.local.flush_later(Rc::clone(self) as Rc<dyn Flush>);
        }
        Ok(())
    }

    /// Waits until sending has come as far as `goal` says.
    pub(super) fn poll_sent(
        self: &Rc<Self>,
        cx: &Context<'_>,
        goal: Goal,
    ) -> Poll<Result<(), WriteError>> {
        loop {
            self.send_queued();
            self.check_fault()?;
            if self.phase.get() == Phase::Aborted {
                return Poll::Ready(Err(WriteError::Closed));
            }
            let reached = match goal {
                Goal::Drained => !self.paused.get(),
                Goal::Sent => self.queued() == 0,
            };
            if reached {
                return Poll::Ready(Ok(()));
            }
            let Some(registration) = self.registration() else {
                return Poll::Ready(Ok(()));
            };
            if registration.ready().is_writable() && !self.local.is_closed() {
                // It has sent much: this task's turn comes again soon.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let wait = |_: std::os::fd::BorrowedFd<'_>| Err(io::ErrorKind::WouldBlock.into());
            ready!(registration.poll_write_with::<()>(cx, wait)).map_err(WriteError::Io)?;
        }
    }

    /// Sends what is queued, then closes; needs no handle.
    pub(super) fn close(self: &Rc<Self>) {
        if self.is_closing() {
            return;
        }
        self.phase.set(Phase::Closing);
        self.send_queued();
        if self.is_closed() {
            // That was all.
        } else if self.queued() == 0 || self.local.is_closed() {
            self.close_end(Phase::Closed);
        }
    }

    /// Closes at once, and drops what is queued.
    pub(super) fn abort(&self) {
        if !self.is_closed() {
            self.close_end(Phase::Aborted);
        }
    }

    /// The handle is gone: what the pipe takes now is sent.
    pub(super) fn release(self: &Rc<Self>) {
        if self.is_closing() {
            return;
        }
        loop {
            let before = self.queued();
            self.send_queued();
            if self.queued() == 0 || self.queued() == before {
                break;
            }
        }
        self.close_end(Phase::Closed);
    }

    /// Above the high water mark, or was, and is not yet down at the low one.
    #[cfg(feature = "process")]
    pub(super) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    pub(super) async fn wait_closed(&self) -> io::Result<()> {
        self.closed.wait().await;
        match self.fault.get() {
            Some(fault) => Err(self.lost(fault)),
            None => Ok(()),
        }
    }

    fn registration(&self) -> Option<Rc<Registration>> {
        self.registration.borrow().clone()
    }

    fn to_write(&self) -> Result<Rc<Registration>, WriteError> {
        self.check_fault()?;
        if self.is_closing() {
            return Err(WriteError::Closed);
        }
        if self.local.is_closed() {
            return Err(WriteError::Io(LoopClosed.into()));
        }
        self.registration().ok_or(WriteError::Closed)
    }

    fn check_fault(&self) -> Result<(), WriteError> {
        match self.fault.get() {
            Some(fault) => Err(WriteError::Io(self.lost(fault))),
            None => Ok(()),
        }
    }

    fn lost(&self, fault: Fault) -> io::Error {
        let source = io::Error::from_raw_os_error(fault.0);
        ConnectionLost::new(Attempt::Send, self.peer.clone(), source).into()
    }

    /// Notes a failure, and gives it as an error.
    fn fail(&self, error: io::Error) -> io::Error {
        let Some(code) = error.raw_os_error() else {
            // The loop is closed, which is no failure of the pipe.
            return error;
        };
        let fault = self.fault.get().unwrap_or(Fault(code));
        self.fault.set(Some(fault));
        self.queue.borrow_mut().clear();
        self.note_level();
        if let Some(registration) = self.registration() {
            self.unwatch(&registration);
        }
        if self.phase.get() == Phase::Closing {
            self.close_end(Phase::Closed);
        }
        // It is as good as closed. Wakers are foreign code; everything is in order by now.
        self.closed.set();
        self.lost(fault)
    }

    fn note_level(&self) {
        let (low, high) = self.marks.get();
        let queued = self.queued();
        if queued > high {
            self.paused.set(true);
        } else if queued <= low {
            self.paused.set(false);
        }
    }

    /// Sends what is queued as far as the pipe takes it; a failure is noted.
    fn send_queued(self: &Rc<Self>) {
        let Some(registration) = self.registration() else {
            return;
        };
        let mut sent = 0;
        while self.queued() > 0 && sent < ALLOWANCE && registration.ready().is_writable() {
            let result = {
                let queue = self.queue.borrow();
                let (front, back) = queue.as_slices();
                self.send(&registration, &[IoSlice::new(front), IoSlice::new(back)])
            };
            match result {
                Ok(count) => {
                    sent += count;
                    self.forget(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    // Whoever writes next is told.
                    let _ = self.fail(error);
                    return;
                }
            }
        }
        self.note_level();
        if self.queued() == 0 {
            self.unwatch(&registration);
            if self.phase.get() == Phase::Closing {
                self.close_end(Phase::Closed);
            }
        } else if registration.ready().is_writable() {
            self.send_soon();
        } else {
            self.watch(&registration);
        }
    }

    /// The first `count` bytes are sent.
    fn forget(&self, count: usize) {
        let mut queue = self.queue.borrow_mut();
        if count == queue.len() {
            *queue = VecDeque::new();
        } else {
            queue.drain(..count);
        }
    }

    /// One system call. A short count is noted.
    fn send(&self, registration: &Registration, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        loop {
            match registration.try_write(|fd| self.calls.write(fd, slices)) {
                Ok(count) => {
                    if count < len {
                        registration.on_short_write();
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send_soon(self: &Rc<Self>) {
        if !self.send_due.replace(true) {
            self.local
                .spawner()
                .push(Rc::clone(self) as Rc<dyn Callback>);
        }
    }

    fn watch(self: &Rc<Self>, registration: &Registration) {
        if !self.watching.replace(true) {
            registration.set_callback(Some(Rc::clone(self) as Rc<dyn Callback>));
        }
    }

    fn unwatch(&self, registration: &Registration) {
        if self.watching.replace(false) {
            registration.set_callback(None);
        }
    }

    fn close_end(&self, phase: Phase) {
        self.phase.set(phase);
        self.queue.borrow_mut().clear();
        self.note_level();
        let registration = self.registration.borrow_mut().take();
        if let Some(registration) = registration {
            self.unwatch(&registration);
            drop(registration);
        }
        // Wakers are foreign code; everything is in order by now.
        self.closed.set();
    }
}

impl Flush for Sink {
    fn flush(self: Rc<Self>) {
        self.flush_due.set(false);
        self.send_queued();
    }
}

/// There is room, or it is this end's turn again.
impl Callback for Sink {
    fn call(self: Rc<Self>) {
        self.send_due.set(false);
        self.send_queued();
    }

    fn site(&self) -> &'static Location<'static> {
        Location::caller()
    }
}
