//! Timers: callbacks and wakers by deadline.

pub(crate) mod timers;
mod wheel;

use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Instant;

use rondel_executor::{Callback, Handle};

use crate::state::State;
use timers::Action;
pub(crate) use wheel::TimerKey;

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

/// Queues what is due, in the order of deadlines, ties in the order of insertion.
pub(crate) fn fire(state: &Rc<State>, now: Instant) {
    let spawner = state.executor.spawner();
    let mut due = state.timers.take_due(now);
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
    state.timers.give_back(due);
}

/// Ends every timer: they are neither called nor woken.
pub(crate) fn clear(state: &Rc<State>) {
    for action in state.timers.take_all() {
        state.guarded(|| match action {
            Action::Wake(waker) => drop(waker),
            // Let go of, since somebody may hold a handle to it.
            Action::Call(callback) => callback.discard(),
        });
    }
}
