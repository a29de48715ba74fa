//! A clock that moves only when told.

use crate::Notifier;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A clock that moves only when told, from any thread.
///
/// Clones are the same clock. Put a real selector under it with
/// [`Clocked`](crate::Clocked); advancing the clock ends the waits whose deadline
/// has come.
///
/// ```
/// use rondel_poll::ManualClock;
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let start = clock.now();
/// clock.clone().advance(Duration::from_secs(60));
/// assert_eq!(clock.now() - start, Duration::from_secs(60));
/// ```
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Mutex<State>>,
}

struct State {
    now: Instant,
    attached: Vec<Notifier>,
}

impl ManualClock {
    /// A clock that shows the real time of its making until it is moved.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Mutex::new(State {
                now: Instant::now(),
                attached: Vec::new(),
            })),
        }
    }

    /// What the clock shows.
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// Moves the clock forward and notifies the selectors under it.
    ///
    /// May be called from any thread. If an [`Instant`] cannot hold the result, the
    /// clock moves to somewhere in the far future that it can hold.
    pub fn advance(&self, by: Duration) {
        self.set(|now| {
            let mut step = by;
            loop {
                match now.checked_add(step) {
                    Some(later) => break later,
                    None => step /= 2,
                }
            }
        });
    }

    /// Moves the clock forward to this point and notifies the selectors under it.
    ///
    /// A clock never goes back: an earlier point than [`now`](ManualClock::now)
    /// changes nothing. May be called from any thread.
    pub fn advance_to(&self, to: Instant) {
        self.set(|now| now.max(to));
    }

    fn set(&self, next: impl FnOnce(Instant) -> Instant) {
        let mut state = self.lock();
        state.now = next(state.now);
        // Bells may be anybody's code: not under the lock.
        let attached = state.attached.clone();
        drop(state);
        for notifier in attached {
            notifier.notify();
        }
    }

    pub(crate) fn attach(&self, notifier: Notifier) {
        self.lock().attached.push(notifier);
    }

    pub(crate) fn detach(&self, notifier: &Notifier) {
        let mut state = self.lock();
        if let Some(index) = state.attached.iter().position(|n| n.is_same(notifier)) {
            let notifier = state.attached.swap_remove(index);
            drop(state);
            drop(notifier);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
