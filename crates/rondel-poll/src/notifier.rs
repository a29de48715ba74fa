//! Ending a wait from elsewhere.

use crate::SleepState;
use std::fmt;
use std::sync::Arc;

/// What gets a blocked selector out of its wait.
///
/// [`Notifier`] calls it, and only when somebody sleeps.
pub trait Bell: Send + Sync {
    /// Makes the wait that is going on, or else the next one, return.
    ///
    /// A ring that comes too late for the sleeper it was meant for may be kept
    /// for the next wait, which then returns for nothing, or dropped if the
    /// sleeper is up. If [`Notifier::notify`] is to be called from signal
    /// handlers, it must neither lock nor allocate.
    fn ring(&self);
}

/// Ends a selector's wait from any thread.
///
/// [`Selector::notifier`](crate::Selector::notifier) gives it out. Clones
/// notify the same selector. It may outlive its selector and does nothing then.
///
/// Writing your own selector, make one with [`new`](Notifier::new) and wrap what
/// blocks in [`fall_asleep`](Notifier::fall_asleep) and
/// [`wake_up`](Notifier::wake_up); it then saves the same system calls.
///
/// ```
/// use rondel_poll::{Bell, Notifier};
/// use std::sync::Arc;
/// use std::thread::{self, Thread};
///
/// struct Unpark(Thread);
///
/// impl Bell for Unpark {
///     fn ring(&self) {
///         self.0.unpark();
///     }
/// }
///
/// let notifier = Notifier::new(Arc::new(Unpark(thread::current())));
/// let remote = notifier.clone();
/// let other = thread::spawn(move || remote.notify());
/// let mut told = false;
/// while !told {
///     if notifier.fall_asleep() {
///         thread::park();
///     }
///     told = notifier.wake_up();
/// }
/// # other.join().unwrap();
/// ```
#[derive(Clone)]
pub struct Notifier {
    shared: Arc<Shared>,
}

struct Shared {
    state: SleepState,
    bell: Arc<dyn Bell>,
}

impl Notifier {
    /// Joins a bell to a new [`SleepState`]. For those who write selectors.
    pub fn new(bell: Arc<dyn Bell>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: SleepState::new(),
                bell,
            }),
        }
    }

    /// Makes the wait that is going on, or else the next one, return.
    ///
    /// Any number of notifications before the selector looks count as one. First
    /// make your news visible to the waiting thread, then call this. It costs one
    /// atomic operation, and a system call only if the selector is asleep.
    ///
    /// May be called from any thread. On [`Epoll`](crate::Epoll) also from a signal
    /// handler (which keeps `errno` as it found it): there it neither locks nor
    /// allocates. The other selectors do not promise that.
    #[inline]
    pub fn notify(&self) {
        if self.shared.state.notify() {
            self.shared.bell.ring();
        }
    }

    /// About to block; `false` if there is news and one must not.
    ///
    /// Only for the thread that waits: see [`SleepState::fall_asleep`].
    #[inline]
    #[must_use = "if it is false the caller must not block"]
    pub fn fall_asleep(&self) -> bool {
        self.shared.state.fall_asleep()
    }

    /// The wait is over, whether it blocked or not; `true` if there was news.
    ///
    /// Only for the thread that waits: see [`SleepState::wake_up`].
    #[inline]
    pub fn wake_up(&self) -> bool {
        self.shared.state.wake_up()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier")
            .field("state", &self.shared.state)
            .finish_non_exhaustive()
    }
}
