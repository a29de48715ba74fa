//! Where a task's outcome crosses threads: the one thing that a remote handle and the task's own thread share.

use std::fmt;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

#[cfg(rondel_loom)]
use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(rondel_loom))]
use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

/// An outcome on its way from the thread that has it to the handle, and the wish to cancel on its way back.
pub(super) struct Bridge<O> {
    state: Mutex<State<O>>,
    finished: Condvar,
    cancel: AtomicBool,
}

struct State<O> {
    outcome: Option<O>,
    finished: bool,
    /// The handle is gone: nobody will ask for the outcome.
    detached: bool,
    /// The task of another executor that awaits the outcome.
    awaiter: Option<Waker>,
    /// The task at home that will deliver it.
    deliverer: Option<Waker>,
}

impl<O> Default for Bridge<O> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                outcome: None,
                finished: false,
                detached: false,
                awaiter: None,
                deliverer: None,
            }),
            finished: Condvar::new(),
            cancel: AtomicBool::new(false),
        }
    }
}

impl<O> Bridge<O> {
    /// Nothing that runs under the lock can panic half-way, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the outcome for the handle, or gives it back if that is gone.
    pub(super) fn complete(&self, outcome: O) -> Option<O> {
        let (unwanted, awaiter, _deliverer) = {
            let mut state = self.lock();
            state.finished = true;
            let unwanted = if state.detached {
                Some(outcome)
            } else {
                state.outcome = Some(outcome);
                None
            };
            (unwanted, state.awaiter.take(), state.deliverer.take())
        };
        self.finished.notify_all();
        if let Some(awaiter) = awaiter {
            awaiter.wake();
        }
        unwanted
    }

    /// Whoever delivers is woken by a wish to cancel from here on; whether there has been one.
    pub(super) fn deliver_by(&self, deliverer: &Waker) -> bool {
        // Cloned and dropped outside the lock: both are somebody else's code.
        let deliverer = deliverer.clone();
        let before = self.lock().deliverer.replace(deliverer);
        drop(before);
        // After the waker is in place: a wish that comes later finds it.
        self.cancel.load(Ordering::Acquire)
    }

    /// Asks whoever delivers to cancel.
    pub(super) fn cancel(&self) {
        self.cancel.store(true, Ordering::Release);
        let deliverer = self.lock().deliverer.take();
        if let Some(deliverer) = deliverer {
            deliverer.wake();
        }
    }

    /// Blocks the thread until the outcome is there, and takes it; `Some(None)` if somebody has. `None` when the time is over.
    pub(super) fn wait(&self, limit: Option<Duration>) -> Option<Option<O>> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut state = self.lock();
        while !state.finished {
            state = match deadline {
                // Time does not pass in a model.
                #[cfg(not(rondel_loom))]
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let waited = self.finished.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                _ => {
                    let waited = self.finished.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        Some(state.outcome.take())
    }

    /// The same for a task of another executor.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<O>> {
        let mut fresh: Option<Waker> = None;
        loop {
            let mut state = self.lock();
            if state.finished {
                return Poll::Ready(state.outcome.take());
            }
            let known = state.awaiter.as_ref();
            if known.is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            // Outside the lock: cloning and dropping a waker is somebody else's code.
            let Some(waker) = fresh.take() else {
                drop(state);
                fresh = Some(cx.waker().clone());
                continue;
            };
            let old = state.awaiter.replace(waker);
            drop(state);
            drop(old);
            return Poll::Pending;
        }
    }

    /// The handle goes. Gives the outcome that nobody has asked for.
    pub(super) fn detach(&self) -> Option<O> {
        let (outcome, _awaiter) = {
            let mut state = self.lock();
            state.detached = true;
            (state.outcome.take(), state.awaiter.take())
        };
        outcome
    }

    /// Whether the outcome is there, or has been taken.
    pub(super) fn is_finished(&self) -> bool {
        self.lock().finished
    }
}

impl<O> fmt::Debug for Bridge<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
