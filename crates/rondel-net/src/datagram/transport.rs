//! [`DatagramTransport`]: an endpoint, as its protocol uses it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use rondel_executor::{Callback, Waits};
use rondel_loop::{Flush, LocalLoop, Registration};

use crate::datagram::addr::{DatagramAddr, Room};
use crate::datagram::error::{Attempt, DatagramError};
use crate::datagram::queue::{HEADER, Queue};
use crate::error::WriteError;

/// Water marks and hard limit unless set.
const HIGH: usize = 64 * 1024;
const LOW: usize = 16 * 1024;
const HARD: usize = 16 * 1024 * 1024;
/// How many failures wait to be told at most.
const FAILURES: usize = 16;
/// So much is sent at once, though the turn is not over.
const SENT_AT_ONCE: usize = 64 * 1024;
/// So many are sent at once, though the turn is not over: as many as one system call takes.
const BATCH: usize = 32;
/// How many system calls one attempt to send the queue makes at most.
const BATCHES: usize = 16;

/// An endpoint for datagrams, as its [`DatagramProtocol`](crate::DatagramProtocol) uses it: to send, and to close. asyncio:
/// `DatagramTransport`.
///
/// No method waits, and none calls a protocol: it can be used inside the protocol's methods and outside. What is sent in one
/// call or poll leaves when that returns, with one system call where the system can.
///
/// It does not know its protocol's type, and is as large as a pointer: clone it freely. The endpoint does not end with the last
/// clone; it ends when it is closed. `!Send`.
///
/// Made by `create_datagram_endpoint` for UDP and by `create_unix_datagram_endpoint` for Unix sockets, which are two types by
/// the [kind of their addresses](DatagramAddr): `DatagramTransport` alone is that of UDP.
pub struct DatagramTransport<A: DatagramAddr = SocketAddr> {
    pub(super) core: Rc<Core<A>>,
}

/// How far an endpoint has come. Only ever forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Nothing is accepted any more, and what is queued is still sent.
    Closing,
    /// Nothing is left to be done but to tell the protocol.
    Over,
    /// The protocol was told.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    low: usize,
    high: usize,
    hard: usize,
}

pub(crate) struct Core<A: DatagramAddr> {
    pub(super) local: LocalLoop,
    /// None when the endpoint is lost.
    registration: RefCell<Option<Registration>>,
    /// Where everything is sent to, if not to several.
    remote: Option<A>,
    /// Whether the socket is connected to it, and needs no address.
    connected: bool,
    queue: RefCell<Queue<A>>,
    /// What the first in the queue waits for, if the socket does not tell.
    room: RefCell<Option<A::Room>>,
    /// Let go of when the endpoint is lost.
    held: RefCell<Option<A::Held>>,
    limits: Cell<Limits>,
    phase: Cell<Phase>,
    /// Whether the protocol knows that it should pause.
    paused: Cell<bool>,
    /// What the protocol is to be told.
    failures: RefCell<VecDeque<io::Error>>,
    /// Whether the first in the queue has failed once, by what may have been an earlier one's failure.
    retried: Cell<bool>,
    /// Whether the loop is going to flush, and to call the protocol.
    flush_due: Cell<bool>,
    pub(super) scheduled: Cell<bool>,
    /// Whether the protocol was to be called while somebody looked at it.
    again: Cell<bool>,
    pub(super) attendant: RefCell<Option<Weak<dyn Callback>>>,
    wait_closed: RefCell<Vec<Waker>>,
}

impl<A: DatagramAddr> Core<A> {
    pub(crate) fn new(
        registration: Registration,
        remote: Option<A>,
        connected: bool,
        held: A::Held,
    ) -> Rc<Self> {
        Rc::new(Self {
            local: registration.local_loop().clone(),
            registration: RefCell::new(Some(registration)),
            remote,
            connected,
            queue: RefCell::default(),
            room: RefCell::default(),
            held: RefCell::new(Some(held)),
            limits: Cell::new(Limits {
                low: LOW,
                high: HIGH,
                hard: HARD,
            }),
            phase: Cell::new(Phase::Open),
            paused: Cell::new(false),
            failures: RefCell::default(),
            retried: Cell::new(false),
            flush_due: Cell::new(false),
            scheduled: Cell::new(false),
            again: Cell::new(false),
            attendant: RefCell::new(None),
            wait_closed: RefCell::default(),
        })
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// A share, so that nothing is borrowed while it is used.
    pub(super) fn registration(&self) -> Option<Registration> {
        self.registration.borrow().clone()
    }

    pub(super) fn remote(&self) -> Option<A> {
        self.remote.clone()
    }

    fn queued(&self) -> usize {
        self.queue.borrow().size()
    }

    /// Has the protocol called at the loop's next turn.
    pub(super) fn schedule(&self) {
        if self.scheduled.get() {
            return;
        }
        let attendant = self.attendant.borrow().clone();
        if let Some(attendant) = attendant.and_then(|attendant| attendant.upgrade()) {
            self.scheduled.set(true);
            self.local.spawner().push(attendant);
        }
    }

    pub(super) fn set_again(&self) {
        self.again.set(true);
    }

    pub(super) fn go_on_if_again(&self) {
        if self.again.replace(false) {
            self.schedule();
        }
    }

    fn send(self: &Rc<Self>, bytes: &[u8], to: Option<A>) -> Result<bool, WriteError> {
        if self.phase() != Phase::Open {
            return Err(WriteError::Closed);
        }
        let to = match (to, &self.remote) {
            (Some(to), Some(remote)) if !to.is_same(remote) => {
                return Err(WriteError::Io(invalid(format!(
                    "an endpoint for {} cannot send to {}",
                    remote.name(),
                    to.name()
                ))));
            }
            (None, None) => {
                return Err(WriteError::Io(invalid(
                    "an endpoint that is not connected needs an address to send to",
                )));
            }
            _ if self.connected => None,
            (to, remote) => to.or_else(|| remote.clone()),
        };
        if let Some(to) = &to {
            to.check().map_err(WriteError::Io)?;
        }
        let (queued, limits) = (self.queued(), self.limits.get());
        if queued + bytes.len() + HEADER > limits.hard {
            return Err(WriteError::Full {
                refused: bytes.len(),
                queued,
                limit: limits.hard,
            });
        }
        let due = {
            let mut queue = self.queue.borrow_mut();
            queue.push(bytes, to);
            queue.len() >= BATCH || queue.size() >= SENT_AT_ONCE
        };
        if !self.is_blocked() {
            if due {
                self.send_queued();
                self.schedule_if_untold();
            }
            self.flush_at_the_end();
        } else if self.flow() != self.paused.get() {
            self.schedule();
        }
        Ok(self.flow())
    }

    /// Whether the system takes nothing for now; it says when it does again.
    fn is_blocked(&self) -> bool {
        if let Some(room) = &*self.room.borrow() {
            return !room.is_there();
        }
        self.registration()
            .is_none_or(|registration| !registration.ready().is_writable())
    }

    fn flush_at_the_end(self: &Rc<Self>) {
        if !self.queue.borrow().is_empty() && !self.flush_due.replace(true) {
            self.local.flush_later(Rc::clone(self) as Rc<dyn Flush>);
        }
    }

    /// Sends what is queued, as far as the system takes it, or for so long that others should have their turn.
    pub(super) fn send_queued(&self) {
        let Some(registration) = self.registration() else {
            return;
        };
        if self.awaits_room() {
            return;
        }
        for _ in 0..BATCHES {
            if self.queue.borrow().is_empty() {
                break;
            }
            // Nothing but a system call happens in there.
            let sent = registration.try_write(|fd| {
                let queue = self.queue.borrow();
                match queue.send_some(fd) {
                    Err(error)
                        if error.kind() == io::ErrorKind::WouldBlock
                            && queue.first_to().is_some()
                            && A::lacks_room(fd) =>
                    {
                        Ok(0)
                    }
                    sent => sent,
                }
            });
            match sent {
                Ok(0) => match self.watch_for_room() {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => self.first_failed(error),
                },
                Ok(count) => {
                    self.retried.set(false);
                    self.queue.borrow_mut().advance(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) if self.local.is_closed() => return,
                Err(error) => self.first_failed(error),
            }
        }
        if self.queue.borrow().is_empty() {
            if self.phase() == Phase::Closing {
                self.phase.set(Phase::Over);
                self.schedule();
            }
        } else {
            self.schedule();
        }
    }

    /// Whether the first one waits for its receiver.
    fn awaits_room(&self) -> bool {
        let Some(room) = self.room.take() else {
            return false;
        };
        let waits = !room.is_there();
        if waits {
            self.room.replace(Some(room));
        }
        waits
    }

    /// The receiver of the first one takes nothing for now. Returns whether it does by now.
    #[cold]
    fn watch_for_room(&self) -> io::Result<bool> {
        let to = self.queue.borrow().first_to().cloned();
        let Some(to) = to else {
            return Ok(true);
        };
        let room = to.room(&self.local)?;
        let attendant = self.attendant.borrow().clone();
        if let Some(attendant) = attendant.and_then(|attendant| attendant.upgrade()) {
            room.set_callback(attendant);
        }
        let is_there = room.is_there();
        if !is_there {
            self.room.replace(Some(room));
        }
        Ok(is_there)
    }

    /// The first of the queue was not sent.
    #[cold]
    fn first_failed(&self, error: io::Error) {
        let to = self.queue.borrow().first_to().cloned();
        let to = to.or_else(|| self.remote());
        // What a peer has answered to an earlier one comes out here, too: then the first is tried once more.
        if !A::ECHOES || !self.connected || !is_answer(&error) || self.retried.replace(true) {
            self.retried.set(false);
            self.queue.borrow_mut().advance(1);
        }
        self.fail(DatagramError::wrap(Attempt::Send, to, error));
    }

    /// Notes a failure, for the protocol.
    pub(super) fn fail(&self, error: io::Error) {
        let mut failures = self.failures.borrow_mut();
        let oldest = if failures.len() == FAILURES {
            failures.pop_front()
        } else {
            None
        };
        failures.push_back(error);
        drop(failures);
        drop(oldest);
    }

    /// The failures that the protocol was not told yet.
    pub(super) fn untold_failures(&self) -> VecDeque<io::Error> {
        self.failures.take()
    }

    /// Whether the protocol should pause: hysteresis between the water marks.
    fn flow(&self) -> bool {
        let (queued, limits) = (self.queued(), self.limits.get());
        if self.paused.get() {
            queued > limits.low
        } else {
            queued > limits.high
        }
    }

    /// Whether the protocol is to pause (true) or to resume, which it is told now; None, if nothing has changed.
    pub(super) fn untold_flow(&self) -> Option<bool> {
        if self.phase() > Phase::Closing {
            return None;
        }
        if self.flow() && !self.paused.get() && !self.is_blocked() {
            // What waits for the end of the turn only is no reason to pause.
            self.send_queued();
        }
        let flow = self.flow();
        (self.paused.replace(flow) != flow).then_some(flow)
    }

    pub(super) fn has_untold(&self) -> bool {
        self.phase() == Phase::Over
            || !self.failures.borrow().is_empty()
            || self.flow() != self.paused.get()
    }

    fn schedule_if_untold(&self) {
        if self.has_untold() {
            self.schedule();
        }
    }

    fn close(self: &Rc<Self>) {
        if self.phase() != Phase::Open {
            return;
        }
        let empty = self.queue.borrow().is_empty();
        self.phase
            .set(if empty { Phase::Over } else { Phase::Closing });
        self.schedule();
    }

    pub(super) fn abort(&self) {
        if self.phase() >= Phase::Over {
            return;
        }
        self.queue.borrow_mut().clear();
        self.phase.set(Phase::Over);
        self.schedule();
    }

    /// Closes the descriptor. Nothing is called from here on but `connection_lost`.
    pub(super) fn set_lost(&self) {
        self.phase.set(Phase::Lost);
        self.queue.borrow_mut().clear();
        let (room, registration) = (self.room.take(), self.registration.take());
        let held = self.held.take();
        drop((room, registration, held));
    }

    pub(super) fn wake_closed(&self) {
        for waker in self.wait_closed.take() {
            waker.wake();
        }
    }
}

impl<A: DatagramAddr> Flush for Core<A> {
    fn flush(self: Rc<Self>) {
        self.flush_due.set(false);
        self.send_queued();
        self.schedule_if_untold();
    }
}

/// Whether the system may say this of what was sent before, when an answer to that has come.
fn is_answer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable
    )
}

pub(crate) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

impl<A: DatagramAddr> DatagramTransport<A> {
    /// Accepts a datagram whole, to be sent to `to`, behind those that are queued; an empty one, too.
    ///
    /// `true` if more is queued now than the [high water mark](DatagramTransport::set_write_buffer_limits), or has been and the
    /// queue is not yet down at the low one: wait with what is next until
    /// [`resume_writing`](crate::DatagramProtocol::resume_writing), which follows. Since a datagram may be lost anyway, it may
    /// as well be dropped.
    ///
    /// That sending failed is told by [`error_received`](crate::DatagramProtocol::error_received).
    ///
    /// # Errors
    /// Nothing was accepted: [`WriteError::Full`] if more would be queued than the
    /// [hard limit](DatagramTransport::set_hard_limit) allows, [`WriteError::Closed`]; [`WriteError::Io`], of kind
    /// `InvalidInput`, if the endpoint has a remote address and this is another, or if it is that of a Unix socket without a name.
    #[doc(alias = "sendto")]
    pub fn send_to(&self, bytes: &[u8], to: impl Into<A>) -> Result<bool, WriteError> {
        self.core.send(bytes, Some(to.into()))
    }

    /// Accepts a datagram as [`send_to`](DatagramTransport::send_to) does, for the endpoint's remote address.
    ///
    /// # Errors
    /// As [`send_to`](DatagramTransport::send_to); `InvalidInput` if the endpoint has none.
    pub fn send(&self, bytes: &[u8]) -> Result<bool, WriteError> {
        self.core.send(bytes, None)
    }

    /// Receives no more, sends what is queued, and closes. Then the protocol is told that the endpoint is lost, without an
    /// error. Again, it does nothing.
    pub fn close(&self) {
        self.core.close();
    }

    /// Closes, and drops what is queued. Then the protocol is told that the endpoint is lost, without an error.
    pub fn abort(&self) {
        self.core.abort();
    }

    /// Whether it was closed or aborted, or is lost.
    pub fn is_closing(&self) -> bool {
        self.core.phase() != Phase::Open
    }

    /// Waits until the endpoint is closed, and its protocol was told.
    ///
    /// # Cancel safety
    /// Dropped, it changes nothing.
    pub async fn wait_closed(&self) {
        poll_fn(|cx| {
            if self.core.phase() == Phase::Lost {
                return Poll::Ready(());
            }
            let known = self
                .core
                .wait_closed
                .borrow()
                .iter()
                .any(|waker| waker.will_wake(cx.waker()));
            if !known {
                let waker = cx.waker().clone();
                self.core.wait_closed.borrow_mut().push(waker);
            }
            Waits::EVENT.label(0);
            Poll::Pending
        })
        .await;
    }

    /// How much is queued: the bytes, and 8 for each datagram. asyncio: `get_write_buffer_size`.
    #[doc(alias = "get_write_buffer_size")]
    pub fn buffered(&self) -> usize {
        self.core.queued()
    }

    /// The water marks: low, then high. asyncio: `get_write_buffer_limits`.
    #[doc(alias = "get_write_buffer_limits")]
    pub fn write_buffer_limits(&self) -> (usize, usize) {
        let limits = self.core.limits.get();
        (limits.low, limits.high)
    }

    /// Sets the water marks: with more than `high` queued the protocol is told to
    /// [pause](crate::DatagramProtocol::pause_writing), with not more than `low` to
    /// [resume](crate::DatagramProtocol::resume_writing). If one is not given, `low` is a quarter of `high`; without either, they
    /// are 16 and 64 KiB, as at the beginning.
    ///
    /// # Errors
    /// `InvalidInput` if `low` is above `high`; nothing is changed.
    pub fn set_write_buffer_limits(
        &self,
        high: impl Into<Option<usize>>,
        low: impl Into<Option<usize>>,
    ) -> io::Result<()> {
        let (high, low) = match (high.into(), low.into()) {
            (Some(high), Some(low)) => (high, low),
            (Some(high), None) => (high, high / 4),
            (None, Some(low)) => (low.saturating_mul(4), low),
            (None, None) => (HIGH, LOW),
        };
        if low > high {
            return Err(invalid(format!(
                "the low water mark, {low}, is above the high one, {high}"
            )));
        }
        let hard = self.core.limits.get().hard;
        self.core.limits.set(Limits { low, high, hard });
        self.core.schedule_if_untold();
        Ok(())
    }

    /// How much may be queued; see [`set_hard_limit`](DatagramTransport::set_hard_limit).
    pub fn hard_limit(&self) -> usize {
        self.core.limits.get().hard
    }

    /// Sets how much may be queued at all, counted as by [`buffered`](DatagramTransport::buffered): 16 MiB unless set. What
    /// would exceed it is refused. What is queued already stays.
    pub fn set_hard_limit(&self, bytes: usize) {
        let limits = self.core.limits.get();
        self.core.limits.set(Limits {
            hard: bytes,
            ..limits
        });
    }

    /// Where everything is sent to, if the endpoint has one such address. asyncio: `get_extra_info("peername")`.
    #[doc(alias = "get_extra_info")]
    pub fn peer_addr(&self) -> Option<A> {
        self.core.remote()
    }

    /// This end. asyncio: `get_extra_info("sockname")`.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if it is closed.
    pub fn local_addr(&self) -> io::Result<A> {
        self.with_fd(A::local)
    }

    /// Calls `look` with the socket, for its options; see `SockRef` in the crate `socket2`. asyncio:
    /// `get_extra_info("socket")`.
    ///
    /// # Errors
    /// What `look` returns; `NotConnected` if it is closed.
    pub fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        let registration = self
            .core
            .registration()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the endpoint is closed"))?;
        look(registration.as_fd())
    }
}

impl<A: DatagramAddr> Clone for DatagramTransport<A> {
    fn clone(&self) -> Self {
        Self {
            core: Rc::clone(&self.core),
        }
    }
}

impl<A: DatagramAddr> fmt::Debug for DatagramTransport<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("local_addr", &self.local_addr().ok())
            .field("peer_addr", &self.peer_addr())
            .field("buffered", &self.buffered())
            .field("is_closing", &self.is_closing())
            .finish_non_exhaustive()
    }
}
