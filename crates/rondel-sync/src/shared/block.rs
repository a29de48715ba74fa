//! Waiting with a thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::lock::{Condvar, Mutex, lock};

/// What a blocked thread sleeps on.
struct Parker {
    woken: Mutex<bool>,
    condition: Condvar,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *lock(&self.woken) = true;
        self.condition.notify_one();
    }
}

impl Parker {
    /// Sleeps until woken; false if the time is over.
    fn park(&self, deadline: Option<Instant>) -> bool {
        let mut woken = lock(&self.woken);
        while !*woken {
            woken = match deadline {
                // Time does not pass in a model.
                #[cfg(not(rondel_loom))]
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let waited = self.condition.wait_timeout(woken, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                _ => {
                    let waited = self.condition.wait(woken);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        *woken = false;
        true
    }
}

/// Polls until ready; `None` if that takes longer than the limit. A limit too large for the clock is
/// none.
pub(super) fn block_on<F: Future + Unpin>(
    future: &mut F,
    limit: Option<Duration>,
) -> Option<F::Output> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let parker = Arc::new(Parker {
        woken: Mutex::new(false),
        condition: Condvar::new(),
    });
    let waker = Waker::from(Arc::clone(&parker));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut cx) {
            return Some(output);
        }
        if !parker.park(deadline) {
            // What came at the last moment still counts.
            return match Pin::new(&mut *future).poll(&mut cx) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            };
        }
    }
}
