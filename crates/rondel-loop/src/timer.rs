//! Timers: callbacks and wakers by deadline.

mod wheel;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use rondel_executor::{Callback, Handle};

use crate::state::State;
pub(crate) use wheel::TimerKey;
use wheel::Wheel;

/// What happens at a deadline.
enum Action {
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
        let epoch = [crate::time::FAR, Duration::from_secs(3600)]
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

    /// Queues what is due, in the order of deadlines, ties in the order of insertion.
    pub(crate) fn fire(&self, now: Instant, state: &Rc<State>) {
        let spawner = state.executor.spawner();
        let mut due = self.due.take();
        self.wheel.borrow_mut().expire(self.nanos(now), &mut due);
        let mut actions = due.drain(..);
        // One guard for all of them, taken anew after a waker that panicked.
        while !actions.as_slice().is_empty() {
            state.guarded(|| {
                for action in &mut actions {
                    match action {
                        Action::Wake(waker) => waker.wake(),
                        Action::Call(callback) => spawner.push(callback),
                    }
                }
            });
        }
        drop(actions);
        self.due.set(due);
    }

    /// Ends every timer: they are neither called nor woken.
    pub(crate) fn clear(&self, state: &Rc<State>) {
        let mut all = Vec::new();
        self.wheel.replace(Wheel::new()).expire(u64::MAX, &mut all);
        for action in all {
            state.guarded(|| match action {
                Action::Wake(waker) => drop(waker),
                // Let go of, since somebody may hold a handle to it.
                Action::Call(callback) => callback.discard(),
            });
        }
    }
}

/// A callback scheduled for a point in time, which can be cancelled until it is called. Dropping the handle changes
/// nothing. asyncio: `TimerHandle`.
///
/// ```
/// use rondel_loop::EventLoop;
/// use std::time::Duration;
///
/// let mut lp = EventLoop::new()?;
/// let late = lp.call_later(Duration::from_secs(3600), || unreachable!("cancelled in time"));
/// assert!(late.when() > lp.time());
/// assert!(late.cancel());
/// # Ok::<(), rondel_loop::RunError>(())
/// ```
#[derive(Clone)]
pub struct TimerHandle {
    handle: Handle,
    when: Instant,
    key: TimerKey,
    state: Weak<State>,
}

impl TimerHandle {
    pub(crate) fn arm(
        state: &Rc<State>,
        when: Instant,
        handle: Handle,
        callback: Rc<dyn Callback>,
    ) -> Self {
        Self {
            handle,
            when,
            key: state.timers.call_at(when, callback),
            state: Rc::downgrade(state),
        }
    }

    /// Takes the callback back: the closure is dropped and the timer disarmed before this returns. `false` if it was called,
    /// is being called, or was cancelled before.
    pub fn cancel(&self) -> bool {
        let cancelled = self.handle.cancel();
        if let Some(state) = self.state.upgrade() {
            state.timers.remove(self.key);
        }
        cancelled
    }

    /// Whether the callback was cancelled before it was called.
    pub fn cancelled(&self) -> bool {
        self.handle.cancelled()
    }

    /// The deadline on the loop's clock; readable also after it has passed.
    pub fn when(&self) -> Instant {
        self.when
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle")
            .field("when", &self.when)
            .field("handle", &self.handle)
            .finish()
    }
}
