//! Limits that are no errors: what is not done in time is left undone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::limited::Limited;
use super::sleep::{sleep, sleep_until};

/// Gives `future` at most `limit`, then goes on without it: `None`. In all else it is [`timeout`](crate::timeout), for when
/// being late is no failure. trio: `move_on_after`.
///
/// # Cancel safety
/// Dropped, it drops the future within.
///
/// # Panics
/// When polled, if no loop is running on this thread.
///
/// ```
/// use rondel_loop::{move_on_after, sleep};
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// let greeting = move_on_after(Duration::from_micros(1), async {
///     sleep(Duration::from_secs(3600)).await;
///     "good morning"
/// });
/// assert_eq!(greeting.await.unwrap_or("hello"), "hello");
/// # }).unwrap();
/// ```
pub fn move_on_after<F: Future>(limit: Duration, future: F) -> MoveOn<F> {
    MoveOn {
        limited: Limited::new(future, sleep(limit)),
    }
}

/// Gives `future` until `deadline` on the loop's clock, then goes on without it; see [`move_on_after`]. trio: `move_on_at`.
///
/// ```
/// use rondel_loop::{LocalLoop, move_on_at, sleep};
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// // As much as can be had until then.
/// let deadline = LocalLoop::current().unwrap().time() + Duration::from_millis(2);
/// let mut rounds = 0;
/// let ended = move_on_at(deadline, async {
///     loop {
///         sleep(Duration::from_micros(100)).await;
///         rounds += 1;
///     }
/// });
/// assert_eq!(ended.await, None::<()>);
/// assert!(rounds <= 20);
/// # }).unwrap();
/// ```
pub fn move_on_at<F: Future>(deadline: Instant, future: F) -> MoveOn<F> {
    MoveOn {
        limited: Limited::new(future, sleep_until(deadline)),
    }
}

pin_project! {
    /// The future of [`move_on_after`] and [`move_on_at`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct MoveOn<F> {
        #[pin]
        limited: Limited<F>,
    }
}

impl<F: Future> Future for MoveOn<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().limited.poll(cx)
    }
}

impl<F> fmt::Debug for MoveOn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MoveOn")
            .field("deadline", &self.limited.deadline())
            .field("expired", &self.limited.expired())
            .finish_non_exhaustive()
    }
}
