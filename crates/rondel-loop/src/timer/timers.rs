//! The timers of a loop: what is to be done, by deadline.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use rondel_executor::Callback;

use super::wheel::{TimerKey, Wheel};

/// Further away than any program lives, and still an instant on every system: a hundred years.
pub(crate) const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What happens at a deadline.
pub(super) enum Action {
    Wake(Waker),
    Call(Rc<dyn Callback>),
}

/// The timers of a loop. Deadlines are instants outside, nanoseconds since the epoch inside.
pub(crate) struct Timers {
    /// A hundred years before the loop was made, where instants reach that far.
    epoch: Instant,
    wheel: RefCell<Wheel<Action>>,
    /// What is due, while it is being handed on.
    due: Cell<Vec<Action>>,
}

impl Timers {
    pub(crate) fn new(now: Instant) -> Self {
        // As long ago as the system lets it be: deadlines that have passed keep their order, too.
        let epoch = [FAR, Duration::from_secs(3600)]
            .into_iter()
            .find_map(|past| now.checked_sub(past))
            .unwrap_or(now);
        let timers = Self {
            epoch,
            wheel: RefCell::new(Wheel::new()),
            due: Cell::default(),
        };
        let so_far = timers.nanos(now);
        timers.wheel.borrow_mut().expire(so_far, &mut Vec::new());
        timers
    }

    /// What was before the epoch counts as the epoch; what is more than 584 years after it never comes.
    fn nanos(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn instant(&self, nanos: u64) -> Option<Instant> {
        self.epoch.checked_add(Duration::from_nanos(nanos))
    }

    // What is to be done comes as a pair of words, in registers, and becomes an action where it stays: an action made by
    // the caller would be stored in halves and loaded whole, which stalls.

    /// Has `waker` woken at `deadline`.
    pub(crate) fn wake_at(&self, deadline: Instant, waker: Waker) -> TimerKey {
        let deadline = self.nanos(deadline);
        self.wheel
            .borrow_mut()
            .insert(deadline, Action::Wake(waker))
    }

    /// Has `callback` called at `deadline`.
    pub(crate) fn call_at(&self, deadline: Instant, callback: Rc<dyn Callback>) -> TimerKey {
        let deadline = self.nanos(deadline);
        self.wheel
            .borrow_mut()
            .insert(deadline, Action::Call(callback))
    }

    /// Disarms; the action is dropped after the borrow.
    pub(crate) fn remove(&self, key: TimerKey) -> bool {
        let action = self.wheel.borrow_mut().remove(key);
        action.is_some()
    }

    /// Whether the timer is still armed; if so, for whom has been brought up to date.
    pub(crate) fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
        match self.wheel.borrow_mut().get_mut(key) {
            None => return false,
            Some(Action::Wake(armed)) if !armed.will_wake(waker) => {}
            Some(_) => return true,
        }
        // Cloning and dropping wakers is foreign code: not under the borrow.
        let waker = waker.clone();
        let mut wheel = self.wheel.borrow_mut();
        let Some(action) = wheel.get_mut(key) else {
            return false;
        };
        let replaced = std::mem::replace(action, Action::Wake(waker));
        drop(wheel);
        drop(replaced);
        true
    }

    /// Moves a timer; `false` if it has fired.
    pub(crate) fn reschedule(&self, key: TimerKey, deadline: Instant) -> bool {
        let deadline = self.nanos(deadline);
        self.wheel.borrow_mut().reschedule(key, deadline)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.wheel.borrow().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.wheel.borrow().len()
    }

    /// When to look again: never later than the earliest deadline by more than the wheel's slack.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let next = self.wheel.borrow().next_wake()?;
        self.instant(next)
    }

    /// The earliest deadline, to the nanosecond.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let next = self.wheel.borrow().next_deadline()?;
        self.instant(next)
    }

    /// Takes out what is due, in the order of deadlines, ties in the order of insertion; to be [given back](Timers::give_back), empty.
    pub(super) fn take_due(&self, now: Instant) -> Vec<Action> {
        let mut due = self.due.take();
        self.wheel.borrow_mut().expire(self.nanos(now), &mut due);
        due
    }

    /// Keeps the room for what will be due next.
    pub(super) fn give_back(&self, due: Vec<Action>) {
        self.due.set(due);
    }

    /// Takes out all there are.
    pub(super) fn take_all(&self) -> Vec<Action> {
        let mut all = Vec::new();
        self.wheel.replace(Wheel::new()).expire(u64::MAX, &mut all);
        all
    }
}
