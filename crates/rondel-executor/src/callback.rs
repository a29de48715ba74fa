//! Callbacks: the other kind of entry in the ready queue, not a task.

pub(crate) mod once;

use std::fmt;
use std::rc::Rc;

use crate::callback::once::Once;
use crate::task_local::snapshot::call_with;
use crate::task_local::values::inherited;

/// Something that can stand in the ready queue and be called at its turn.
///
/// Closures given to [`Spawner::call_soon`](crate::Spawner::call_soon) have an entry of their own. Implement
/// this for what is called again and again, such as a connection whenever its socket is ready, and queue the same `Rc` each
/// time with [`Spawner::push`](crate::Spawner::push): then nothing is allocated at all.
pub trait Callback {
    /// Called once for each time it was queued, on the executor's thread.
    fn call(self: Rc<Self>);

    /// Called instead of [`call`](Callback::call) when the executor closes first: it should let go of what it holds, since
    /// handles to it may live on. Does nothing unless implemented.
    fn discard(&self) {}

    /// Where it comes from, for the report if it panics.
    fn site(&self) -> &'static std::panic::Location<'static>;
}

/// Where a callback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Called,
    Cancelled,
}

/// A callback that has been scheduled, and can be cancelled until it is called. Dropping the handle changes nothing.
///
/// asyncio: `Handle`.
///
/// ```
/// use rondel_executor::Executor;
///
/// let executor = Executor::new();
/// let handle = executor.call_soon(|| unreachable!("cancelled in time"));
/// assert!(handle.cancel());
/// assert!(handle.cancelled());
/// executor.run_until_idle();
/// ```
#[derive(Clone)]
pub struct Handle(Once);

impl Handle {
    #[inline]
    pub(crate) fn of(callback: &Once) -> Self {
        Self(callback.clone())
    }

    /// A callback that is scheduled by other means, a timer for example, and the handle that cancels it.
    ///
    /// ```
    /// use rondel_executor::{Executor, Handle};
    ///
    /// let executor = Executor::new();
    /// let (callback, handle) = Handle::schedule_later(|| println!("now"));
    /// executor.spawner().push(callback);
    /// executor.run_until_idle();
    /// assert!(!handle.is_pending() && !handle.cancelled());
    /// ```
    #[track_caller]
    pub fn schedule_later(closure: impl FnOnce() + 'static) -> (Rc<dyn Callback>, Self) {
        let site = std::panic::Location::caller();
        let once = match inherited() {
            None => Once::allocate(site, closure),
            values => Once::allocate(site, move || call_with(values, site, closure)),
        };
        let handle = Self::of(&once);
        (once.into_callback(), handle)
    }

    /// Takes the callback back: the closure, and all it holds, is dropped before this returns. `false` if it has been
    /// called, is being called, or was cancelled before.
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }

    /// Whether the callback was cancelled before it was called.
    pub fn cancelled(&self) -> bool {
        self.0.state() == State::Cancelled
    }

    /// Whether the callback is still to be called.
    pub fn is_pending(&self) -> bool {
        self.0.state() == State::Waiting
    }

    /// Where the callback was scheduled.
    pub fn scheduled_at(&self) -> &'static std::panic::Location<'static> {
        self.0.site()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("state", &self.0.state())
            .field("scheduled_at", &format_args!("{}", self.scheduled_at()))
            .finish()
    }
}
