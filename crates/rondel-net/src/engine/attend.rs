//! Attendants: what a connection calls, instead of being read by whoever waits for it.
//!
//! ```text
//!   the descriptor is ready ──┐
//!   a method changed something ├──> dispatch ──> attend: tell what is new, hand over what has arrived ──> send
//!   the loop is closed ───────┘
//! ```
//!
//! Methods of a connection never call its attendant: they change state, and have the connection dispatched. If it is being
//! dispatched, that is when the call that is running returns; else at the next turn, once, however much changes before. So an
//! attendant is never entered from within itself, nor from code that merely writes.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::Location;
use std::rc::Rc;

use rondel_executor::Callback;
use rondel_loop::{LoopClosed, Registration};

use crate::engine::{Connection, Half, Handle, Handles, Held, Phase, Ways, calls};
use crate::error::Attempt;

/// How many times in a row a connection that is dispatched may change its attendant before others have their turn.
const ATTENDANTS: u32 = 4;

/// What is called when there is something to do or to tell.
pub(crate) trait Attendant {
    /// Tells what is new, and hands over what has arrived. `true` if there is more to do, when others had their turn.
    fn attend(&self, connection: &Rc<Connection>) -> bool;
}

/// What a connection knows about its attendant.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// Whether there is one.
    is: Cell<bool>,
    /// Whether the connection is being dispatched.
    dispatching: Cell<bool>,
    /// Whether it was to be dispatched, and could not.
    again: Cell<bool>,
    /// Whether the attendant has changed since it was called.
    replaced: Cell<bool>,
    /// Whether it does not want what has arrived.
    reading_paused: Cell<bool>,
    /// Whether it knows that the queue is above its high water mark.
    told_paused: Cell<bool>,
    /// Whether it knows that the peer sends no more.
    told_end: Cell<bool>,
    /// Whether there is something that was received before it came.
    pub(super) has_early: Cell<bool>,
    /// Whether it knows that the connection is there.
    told_made: Cell<bool>,
}

/// What receiving for an attendant came to.
#[derive(Debug)]
pub(crate) enum Received {
    /// So many bytes; whether there may be more.
    Some(usize, bool),
    /// There is nothing at the moment.
    Nothing,
    End,
    /// The connection has failed.
    Failed,
}

impl Connection {
    /// Hands the connection over to an attendant, which is called when it is next dispatched; `early` was received before. What
    /// handles do from now on when they are dropped is nothing: the descriptor is kept until it is closed.
    pub(crate) fn attend_by(self: &Rc<Self>, attendant: Rc<dyn Attendant>, early: Vec<u8>) {
        self.attendance.is.set(true);
        self.attendance.reading_paused.set(false);
        self.attendance.told_paused.set(false);
        // Of one that only sends, there is none to tell.
        self.attendance.told_end.set(self.ways == Ways::Out);
        self.attendance.told_made.set(false);
        self.set_early(early);
        let before = self.attendant.replace(Some(attendant));
        drop(before);
        if let Some(registration) = self.registration() {
            self.watching.set(false);
            let this = Rc::clone(self);
            registration.set_callback(Some(match self.ways {
                Ways::Both | Ways::In => this,
                Ways::Out => Rc::new(OutOnly(this)),
            }));
        }
    }

    /// Puts another attendant in the place of the one there is, from its next call on; `false` if there is none.
    pub(crate) fn replace_attendant(&self, attendant: Rc<dyn Attendant>) -> bool {
        if !self.is_attended() {
            return false;
        }
        self.attendance.replaced.set(true);
        self.attendance.told_paused.set(false);
        let before = self.attendant.replace(Some(attendant));
        self.changed();
        drop(before);
        true
    }

    /// Takes the attendant away, who is not told, and gives handles to read and write with. `None` if there is none.
    pub(crate) fn release_attendant(self: &Rc<Self>) -> Option<Handles> {
        let attendant = self.remove_attendant()?;
        self.attendance.replaced.set(true);
        self.held.set(Held {
            reader: true,
            writer: true,
        });
        if let Some(registration) = self.registration() {
            registration.set_callback(None);
            if !self.is_sent() {
                self.go_on_sending(&registration);
            }
        }
        let half = |half| Handle {
            connection: Rc::clone(self),
            half,
        };
        let handles = Handles {
            reader: half(Half::Reader),
            writer: half(Half::Writer),
        };
        drop(attendant);
        Some(handles)
    }

    /// Takes the attendant away: it has been told everything.
    pub(crate) fn remove_attendant(&self) -> Option<Rc<dyn Attendant>> {
        self.attendance.is.set(false);
        self.attendant.take()
    }

    pub(crate) fn is_attended(&self) -> bool {
        self.attendance.is.get()
    }

    /// Whether the attendant is to be told that the connection is there.
    pub(crate) fn untold_made(&self) -> bool {
        !self.attendance.told_made.replace(true)
    }

    /// Whether another attendant was put in the place of the one that is being called.
    pub(crate) fn is_replaced(&self) -> bool {
        self.attendance.replaced.get()
    }

    /// Something has changed that the attendant is to be told, when nothing of it runs.
    pub(crate) fn changed(&self) {
        if !self.is_attended() || self.attendance.dispatching.get() || self.local.is_closed() {
            return;
        }
        if let Some(this) = self.this.upgrade()
            && !self.send_due.replace(true)
        {
            self.local.spawner().push(this);
        }
    }

    /// The same, if what has changed is the queue.
    #[inline]
    pub(super) fn flow_changed(&self) {
        if self.is_attended() && self.is_paused() != self.attendance.told_paused.get() {
            self.changed();
        }
    }

    /// The attendant could not be called, since its user has it at the moment.
    pub(crate) fn set_again(&self) {
        self.attendance.again.set(true);
    }

    /// Its user is done with it.
    pub(crate) fn go_on_if_again(self: &Rc<Self>) {
        if self.attendance.again.take() {
            if self.local.is_closed() {
                // There is no next turn.
                Rc::clone(self).dispatch();
            } else {
                self.changed();
            }
        }
    }

    /// Whether the queue is above its high water mark, or was, and is not yet at the low one.
    pub(crate) fn is_paused(&self) -> bool {
        self.outbound.borrow().is_paused()
    }

    /// The same, if the attendant has not been told.
    #[inline]
    pub(crate) fn untold_flow(self: &Rc<Self>) -> Option<bool> {
        let untold = |paused| paused != self.attendance.told_paused.get();
        if !untold(self.is_paused()) || self.is_over() {
            return None;
        }
        // What has been written in this turn may not wait for room at all.
        self.send_queued();
        let paused = self.is_paused();
        (untold(paused) && !self.is_over()).then(|| {
            self.attendance.told_paused.set(paused);
            paused
        })
    }

    fn is_reading_paused(&self) -> bool {
        self.attendance.reading_paused.get()
    }

    pub(crate) fn pause_reading(&self) {
        self.attendance.reading_paused.set(true);
    }

    pub(crate) fn resume_reading(&self) {
        if self.attendance.reading_paused.replace(false) {
            self.changed();
        }
    }

    /// Whether what arrives is handed over.
    #[inline]
    pub(crate) fn is_reading(&self) -> bool {
        !self.is_reading_paused()
            && !self.attendance.told_end.get()
            && self.phase.get() == Phase::Open
    }

    /// Whether there may be something to hand over. After sending has failed, there may still be.
    #[inline]
    pub(crate) fn may_receive(&self) -> bool {
        if !self.is_reading() {
            return false;
        }
        if self.has_early() || self.received_end.get() || self.has_layered_input() {
            return true;
        }
        let failed = self
            .fault
            .get()
            .is_some_and(|fault| fault.attempt != Attempt::Send);
        let registration = self.registration.borrow();
        !failed && matches!(&*registration, Some(source) if source.ready().is_readable())
    }

    /// Whether the attendant has nothing more to expect, but to be told why.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.is_closed() || self.fault.get().is_some()
    }

    /// Why it is over, unless it was closed or aborted at this end.
    pub(crate) fn loss(&self) -> Option<io::Error> {
        match self.fault.get() {
            Some(fault) => Some(self.lost(fault)),
            None if self.phase.get() == Phase::Abandoned => Some(LoopClosed.into()),
            None => None,
        }
    }

    /// Closes what has failed.
    pub(crate) fn close_failed(&self) {
        if !self.is_closed() {
            self.close_descriptor(Phase::Closed);
        }
    }

    /// Whether it is time for others, after receiving; see [`Allowance`](super::inbound::Allowance).
    #[inline]
    pub(crate) fn is_allowance_spent(&self) -> bool {
        let spent = self.allowance.get().is_spent();
        if spent {
            self.renew_allowance();
        }
        spent
    }

    /// Receives what there is into `buffer`, for an attendant.
    #[inline]
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> Received {
        if self.has_early() {
            return Received::Some(self.take_early(buffer), true);
        }
        if self.received_end.get() {
            self.attendance.told_end.set(true);
            return Received::End;
        }
        let Some(registration) = self.registration() else {
            return Received::Nothing;
        };
        if !self.direct.get() {
            return self.try_receive_indirect(&registration, buffer);
        }
        self.try_receive_with(&registration, buffer, calls::receive)
    }

    /// The same through a layer, or of what is no socket.
    #[cold]
    fn try_receive_indirect(&self, registration: &Registration, buffer: &mut [u8]) -> Received {
        if !self.is_layered() {
            let calls = self.calls;
            let call = |fd: BorrowedFd<'_>, buffer: &mut [u8]| calls.receive(fd, buffer);
            return self.try_receive_with(registration, buffer, call);
        }
        let received = self.try_receive_layered(registration, buffer);
        if matches!(received, Received::End) {
            self.attendance.told_end.set(true);
        }
        received
    }

    #[inline]
    fn try_receive_with(
        &self,
        registration: &Registration,
        buffer: &mut [u8],
        call: impl Fn(BorrowedFd<'_>, &mut [u8]) -> io::Result<usize>,
    ) -> Received {
        let room = buffer.len();
        loop {
            let received = registration.try_read(|fd| call(fd, buffer));
            return match received {
                Ok(0) => match self.on_end() {
                    Ok(_) => {
                        self.attendance.told_end.set(true);
                        Received::End
                    }
                    Err(_) => Received::Failed,
                },
                Ok(count) => {
                    self.on_received(registration, count, room);
                    let more = registration.ready().is_readable();
                    if !more {
                        self.renew_allowance();
                    }
                    Received::Some(count, more)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.renew_allowance();
                    Received::Nothing
                }
                Err(error) => {
                    // Told as the reason why the connection was lost.
                    let _ = self.fail(Attempt::Receive, error);
                    Received::Failed
                }
            };
        }
    }

    /// Does what there is to do, and calls the attendant.
    pub(crate) fn dispatch(self: Rc<Self>) {
        if self.attendance.dispatching.replace(true) {
            self.set_again();
            return;
        }
        let dispatching = Dispatching {
            connection: &self,
            // What the attendant writes leaves at the end, and the loop need not be asked to see to it.
            flushes: !self.flush_due.replace(true),
        };
        if !self.is_sent() {
            self.send_queued();
        }
        let mut more = false;
        for _ in 0..ATTENDANTS {
            self.attendance.replaced.set(false);
            let Some(attendant) = self.attendant.take() else {
                break;
            };
            self.attendant.set(Some(Rc::clone(&attendant)));
            more = self.span().enter(|| attendant.attend(&self));
            if !self.is_replaced() {
                break;
            }
            more = true;
        }
        drop(dispatching);
        if self.local.is_closed() {
            return;
        }
        let untold = self.is_over() || self.is_paused() != self.attendance.told_paused.get();
        if more || untold || self.attendance.again.take() {
            self.changed();
        }
    }

    /// Closes what only sends, if nobody receives it any more: the one thing that it can hear.
    #[cfg(feature = "pipe")]
    fn hear_end(self: &Rc<Self>) {
        if let Some(registration) = self.registration()
            && !matches!(
                registration.try_read(|fd| self.calls.hear_end(fd)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            )
        {
            // What is queued fails, and says so.
            self.close();
        }
    }

    /// The loop is closed: there is nothing to be expected.
    fn abandon(&self) {
        if self.is_closed() {
            return;
        }
        if let Some(registration) = self.registration()
            && !self.is_sent()
        {
            self.calls.set_reset(&registration);
        }
        self.discard_queue();
        self.close_descriptor(Phase::Abandoned);
    }
}

/// A dispatch under way. Its end, be it by a panic of the attendant's destructor.
struct Dispatching<'c> {
    connection: &'c Rc<Connection>,
    flushes: bool,
}

impl Drop for Dispatching<'_> {
    fn drop(&mut self) {
        if self.flushes {
            self.connection.flush_due.set(false);
            self.connection.flush_now();
        }
        self.connection.attendance.dispatching.set(false);
        if std::thread::panicking() {
            // A replaced attendant's destructor: the next one still has to be told what there is.
            self.connection.changed();
        }
    }
}

/// What the registration of a connection that only sends calls.
struct OutOnly(Rc<Connection>);

impl Callback for OutOnly {
    fn call(self: Rc<Self>) {
        #[cfg(feature = "pipe")]
        self.0.hear_end();
        Rc::clone(&self.0).dispatch();
    }

    fn discard(&self) {
        self.0.on_discarded();
    }

    fn site(&self) -> &'static Location<'static> {
        Location::caller()
    }
}

impl Connection {
    /// The loop was closed, while this was registered or queued to be dispatched. Whoever attends is told.
    pub(super) fn on_discarded(&self) {
        if let Some(this) = self.this.upgrade()
            && self.is_attended()
        {
            this.abandon();
            this.dispatch();
        }
    }
}
