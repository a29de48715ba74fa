//! The send half.
//!
//! Writes are accepted whole. What the system would not take is queued, and the connection is called back when there is
//! room again; the registration then holds the connection, and lets it go when the queue is empty.

use std::io::{self, IoSlice};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rondel_executor::Callback;
use rondel_loop::{Flush, LoopClosed, Registration};

use crate::engine::{Connection, Finish, Phase, Ways, calls};
use crate::error::{Attempt, WriteError};

/// How much is sent before others have their turn.
pub(super) const ALLOWANCE: usize = 1024 * 1024;

/// How soon a write is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Together with what the same turn writes.
    Turn,
    /// Now.
    Now,
}

/// How far sending is to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Below the low water mark, if it was above the high one.
    Drained,
    /// All of it.
    Sent,
}

impl Connection {
    /// How many bytes are queued.
    pub(crate) fn queued(&self) -> usize {
        self.outbound.borrow().len()
    }

    pub(super) fn is_sent(&self) -> bool {
        self.outbound.borrow().is_empty()
    }

    pub(crate) fn water_marks(&self) -> (usize, usize) {
        self.outbound.borrow().marks()
    }

    pub(crate) fn set_water_marks(
        &self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> io::Result<()> {
        self.outbound.borrow_mut().set_marks(high, low)?;
        self.flow_changed();
        Ok(())
    }

    pub(crate) fn hard_limit(&self) -> usize {
        self.outbound.borrow().limit()
    }

    pub(crate) fn set_hard_limit(&self, limit: usize) {
        self.outbound.borrow_mut().set_limit(limit);
    }

    /// Whether `more` bytes can be accepted whole.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.outbound.borrow().check_room(more).is_ok()
    }

    /// Accepts all of `parts`, or nothing and says why.
    pub(crate) fn write(
        self: &Rc<Self>,
        parts: &[IoSlice<'_>],
        urgency: Urgency,
    ) -> Result<(), WriteError> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let registration = self.to_send()?;
        if len == 0 {
            return Ok(());
        }
        if !self.direct.get() {
            return self.write_indirect(&registration, parts, len, urgency);
        }
        let writable = registration.ready().is_writable();
        {
            let outbound = self.outbound.borrow();
            outbound.check_room(len)?;
            let at_once = outbound.is_at_once(len, urgency);
            if writable && at_once && outbound.is_empty() {
                drop(outbound);
                return self.send_first(&registration, parts, len);
            }
            if !(writable && at_once) {
                drop(outbound);
                self.queue(&registration, parts);
                return Ok(());
            }
        }
        self.transmit(&registration, parts)?;
        Ok(())
    }

    /// The same through a layer, or to what is no socket.
    #[cold]
    fn write_indirect(
        self: &Rc<Self>,
        registration: &Registration,
        parts: &[IoSlice<'_>],
        len: usize,
        urgency: Urgency,
    ) -> Result<(), WriteError> {
        self.outbound.borrow().check_room(len)?;
        if self.is_layered() {
            return self.write_layered(registration, parts, urgency);
        }
        let at_once = self.outbound.borrow().is_at_once(len, urgency);
        if registration.ready().is_writable() && at_once {
            self.transmit(registration, parts)?;
        } else {
            self.queue(registration, parts);
        }
        Ok(())
    }

    /// Queues `parts`, to be sent at the end of the turn, or when there is room.
    #[inline]
    fn queue(self: &Rc<Self>, registration: &Registration, parts: &[IoSlice<'_>]) {
        {
            let mut outbound = self.outbound.borrow_mut();
            for part in parts {
                outbound.push(part);
            }
        }
        if registration.ready().is_writable() {
            self.flush_soon();
        } else {
            self.watch(registration);
        }
        self.flow_changed();
    }

    /// Accepts `bytes` to be sent with what else this turn writes; whether too much is queued now, after as much has been sent
    /// as the system takes.
    #[inline]
    pub(crate) fn write_in_turn(self: &Rc<Self>, bytes: &[u8]) -> Result<bool, WriteError> {
        if self.flush_due.get() && !self.is_layered() {
            // It will be flushed in any case: there is nothing to see to.
            self.may_send()?;
            let mut outbound = self.outbound.borrow_mut();
            if outbound.joins(bytes.len()) {
                outbound.push(bytes);
                return Ok(false);
            }
        }
        self.write_parts_in_turn(&[IoSlice::new(bytes)])
    }

    /// The same for several pieces, which are accepted together.
    pub(crate) fn write_parts_in_turn(
        self: &Rc<Self>,
        parts: &[IoSlice<'_>],
    ) -> Result<bool, WriteError> {
        self.write(parts, Urgency::Turn)?;
        if !self.is_paused() {
            return Ok(false);
        }
        self.send_queued();
        Ok(self.is_paused())
    }

    /// Sends `parts` with nothing queued before them, as most messages are sent; queues what the system does not take.
    #[inline]
    fn send_first(
        self: &Rc<Self>,
        registration: &Registration,
        parts: &[IoSlice<'_>],
        len: usize,
    ) -> Result<(), WriteError> {
        let sent = match calls::send(registration, parts) {
            Ok(count) if count == len => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(self.fail(Attempt::Send, error).into()),
        };
        self.queue_rest(parts, sent);
        self.go_on_sending(registration);
        self.flow_changed();
        Ok(())
    }

    /// Queues what is left of `parts` after the first `sent` bytes.
    fn queue_rest(&self, parts: &[IoSlice<'_>], mut sent: usize) {
        let mut outbound = self.outbound.borrow_mut();
        for part in parts {
            let skipped = sent.min(part.len());
            sent -= skipped;
            outbound.push(&part[skipped..]);
        }
    }

    /// Sends `bytes` behind what is queued, queueing nothing itself, and takes from them what is sent: for what is too long
    /// to be accepted whole.
    pub(crate) fn poll_write_through(
        self: &Rc<Self>,
        cx: &Context<'_>,
        bytes: &mut &[u8],
    ) -> Poll<Result<(), WriteError>> {
        let mut allowance = ALLOWANCE;
        while !bytes.is_empty() {
            ready!(self.poll_sent(cx, Goal::Sent))?;
            if self.is_layered() {
                self.write_piece_layered(bytes)?;
                continue;
            }
            let registration = self.to_send()?;
            if allowance == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.calls.send(&registration, &[IoSlice::new(bytes)]) {
                Ok(count) => {
                    allowance = allowance.saturating_sub(count);
                    *bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_writable(&registration, cx)).map_err(WriteError::Io)?;
                }
                Err(error) => return Poll::Ready(Err(self.fail(Attempt::Send, error).into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until sending has come as far as `goal` says, after sending what the system takes now.
    pub(crate) fn poll_sent(
        self: &Rc<Self>,
        cx: &Context<'_>,
        goal: Goal,
    ) -> Poll<Result<(), WriteError>> {
        if self.is_sent() && self.phase.get() == Phase::Open && self.fault.get().is_none() {
            // Nearly always: what was written went out at once.
            return Poll::Ready(Ok(()));
        }
        self.check_fault()?;
        if self.phase.get() == Phase::Aborted {
            return Poll::Ready(Err(WriteError::Closed));
        }
        let Some(registration) = self.registration() else {
            return Poll::Ready(Ok(()));
        };
        if registration.ready().is_writable() && !self.is_sent() {
            self.transmit(&registration, &[])?;
        }
        let reached = {
            let outbound = self.outbound.borrow();
            match goal {
                Goal::Drained => !outbound.is_paused(),
                Goal::Sent => outbound.is_empty(),
            }
        };
        if reached {
            return Poll::Ready(Ok(()));
        }
        self.poll_writable(&registration, cx)
            .map(|outcome| outcome.map_err(WriteError::Io))
    }

    /// Waits for room, of which there is none as far as is known; ready only with an error. If there is some after all, it is
    /// this task's turn again soon.
    pub(super) fn poll_writable(
        &self,
        registration: &Registration,
        cx: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        if registration.ready().is_writable() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        registration.poll_write_with(cx, |_| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Ends what is sent, behind what is queued. What only sends is closed by that.
    pub(crate) fn write_eof(self: &Rc<Self>) -> Result<(), WriteError> {
        if self.is_closing() {
            return Ok(());
        }
        self.check_fault()?;
        if self.finish.get() == Finish::AfterFile {
            return Err(WriteError::SendingFile);
        }
        if self.ways == Ways::Out {
            self.close();
            return self.check_fault();
        }
        if self.finish.get() == Finish::Open {
            self.say_farewell();
            self.finish.set(Finish::Wanted);
            self.send_queued();
            if self.is_sent() {
                self.on_sent();
            }
        }
        self.check_fault()
    }

    /// The same with nothing queued, when the callback or poll that is running returns.
    pub(super) fn finish_soon(self: &Rc<Self>) {
        if self.finish.get() == Finish::Open {
            self.say_farewell();
            self.finish.set(Finish::Wanted);
            self.flush_soon();
        }
    }

    /// Sends what is queued, as far as the system takes it; a failure is noted.
    pub(super) fn send_queued(self: &Rc<Self>) {
        if !self.is_sent()
            && let Some(registration) = self.registration()
            && registration.ready().is_writable()
        {
            // Whoever writes next is told.
            let _ = self.transmit(&registration, &[]);
        }
    }

    /// The same, regardless of others' turns.
    pub(super) fn send_all_possible(self: &Rc<Self>) {
        loop {
            let before = self.queued();
            self.send_queued();
            if self.is_sent() || self.queued() == before {
                return;
            }
        }
    }

    pub(super) fn discard_queue(&self) {
        let registration = self.registration();
        self.outbound.borrow_mut().clear();
        if let Some(registration) = registration {
            self.unwatch(&registration);
        }
    }

    /// The descriptor, if bytes can still be written.
    #[inline]
    pub(super) fn to_send(&self) -> Result<Registration, WriteError> {
        self.may_send()?;
        self.registration().ok_or(WriteError::Closed)
    }

    /// Whether bytes can still be written.
    #[inline]
    fn may_send(&self) -> Result<(), WriteError> {
        self.check_fault()?;
        if self.phase.get() != Phase::Open {
            return Err(WriteError::Closed);
        }
        if self.finish.get() != Finish::Open {
            return Err(self.unfit());
        }
        if self.local.is_closed() {
            return Err(WriteError::Io(LoopClosed.into()));
        }
        Ok(())
    }

    /// Why nothing can be written though the connection is open.
    #[cold]
    fn unfit(&self) -> WriteError {
        match self.finish.get() {
            Finish::AfterFile => WriteError::SendingFile,
            _ => WriteError::Finished,
        }
    }

    #[inline]
    pub(super) fn check_fault(&self) -> Result<(), WriteError> {
        match self.fault.get() {
            Some(fault) => Err(WriteError::Io(self.lost(fault))),
            None => Ok(()),
        }
    }

    /// Sends what is queued and, behind it, `extra`; queues what is left of `extra`.
    pub(super) fn transmit(
        self: &Rc<Self>,
        registration: &Registration,
        extra: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let mut outbound = self.outbound.borrow_mut();
        let extra_len = extra.iter().map(|part| part.len()).sum::<usize>();
        let mut extra_sent = 0;
        let mut allowance = ALLOWANCE;
        while outbound.len() + extra_len - extra_sent > 0 && allowance > 0 {
            // Once the queue is empty the rest of `extra` is queued, so that there is always a whole slice to begin with.
            let sent = outbound.offer(extra, |slices| self.calls.send(registration, slices));
            match sent {
                Ok(count) => {
                    allowance = allowance.saturating_sub(count);
                    extra_sent = outbound.advance(count);
                    if extra_sent > 0 || outbound.is_empty() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    drop(outbound);
                    return Err(self.fail(Attempt::Send, error));
                }
            }
            if !registration.ready().is_writable() {
                break;
            }
        }
        drop(outbound);
        self.queue_rest(extra, extra_sent);
        let sent = self.is_sent();
        if sent {
            self.unwatch(registration);
            self.on_sent();
        } else {
            self.go_on_sending(registration);
        }
        self.flow_changed();
        Ok(())
    }

    /// Has the rest of the queue sent when it can be.
    pub(super) fn go_on_sending(self: &Rc<Self>, registration: &Registration) {
        if registration.ready().is_writable() {
            self.send_soon();
        } else {
            self.watch(registration);
        }
    }

    /// The queue is empty: what waited for that.
    fn on_sent(&self) {
        if self.finish.get() == Finish::Wanted {
            self.finish.set(Finish::Sent);
            if self.ways == Ways::Out {
                // There is no other end for its peer to see.
                return self.close_descriptor(Phase::Closed);
            }
            if let Some(registration) = self.registration() {
                // Fails only if the peer has reset the connection, which the next attempt to use it will say.
                let _ = self.calls.end(&registration);
            }
        }
        if self.phase.get() == Phase::Closing {
            self.close_sent();
        }
    }

    #[inline]
    pub(super) fn flush_now(self: &Rc<Self>) {
        if self.send_only_chunk() {
            return;
        }
        self.send_queued();
        if self.is_sent() {
            self.on_sent();
        }
    }

    /// Sends what is queued if it is in one piece, for a socket, and nothing waits for its end, as nearly always; `false` if it
    /// is not.
    #[inline]
    fn send_only_chunk(self: &Rc<Self>) -> bool {
        if self.finish.get() == Finish::Wanted
            || self.phase.get() != Phase::Open
            || !self.calls.is_own_socket()
        {
            return false;
        }
        let Some(registration) = self.registration() else {
            return false;
        };
        let mut outbound = self.outbound.borrow_mut();
        let Some(chunk) = outbound.only_chunk() else {
            return outbound.is_empty();
        };
        if !registration.ready().is_writable() || outbound.is_paused() {
            return false;
        }
        let sent = match calls::send_one(&registration, chunk) {
            Ok(count) if count == outbound.len() => {
                outbound.advance_all();
                return true;
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => {
                drop(outbound);
                // Whoever writes next is told.
                let _ = self.fail(Attempt::Send, error);
                return true;
            }
        };
        outbound.advance(sent);
        drop(outbound);
        // There is no room any more: without this nobody would send the rest.
        self.go_on_sending(&registration);
        self.flow_changed();
        true
    }

    /// Has the queue sent when the callback or poll that is running returns.
    pub(super) fn flush_soon(self: &Rc<Self>) {
        if !self.flush_due.replace(true) {
            self.local.flush_later(Rc::clone(self) as Rc<dyn Flush>);
        }
    }

    /// Has sending gone on with when others had their turn.
    fn send_soon(self: &Rc<Self>) {
        if !self.send_due.replace(true) {
            self.local
                .spawner()
                .push(Rc::clone(self) as Rc<dyn Callback>);
        }
    }

    pub(super) fn watch(self: &Rc<Self>, registration: &Registration) {
        // An attendant is called in any case.
        if !self.is_attended() && !self.watching.replace(true) {
            registration.set_callback(Some(Rc::clone(self) as Rc<dyn Callback>));
        }
    }

    pub(super) fn unwatch(&self, registration: &Registration) {
        if self.watching.replace(false) {
            registration.set_callback(None);
        }
    }
}

impl Flush for Connection {
    fn flush(self: Rc<Self>) {
        self.flush_due.set(false);
        self.flush_now();
    }
}

/// The descriptor has become ready, or it is this connection's turn again.
impl Callback for Connection {
    fn call(self: Rc<Self>) {
        self.send_due.set(false);
        if self.is_attended() {
            self.dispatch();
        } else {
            self.send_queued();
        }
    }

    fn discard(&self) {
        self.on_discarded();
    }

    fn site(&self) -> &'static Location<'static> {
        Location::caller()
    }
}
