//! The handle of a closure that has been scheduled.

use std::fmt;

use super::once::{Once, State};

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
