//! Timeouts: a limit on how long something may take.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::limited::Limited;
use super::sleep::{sleep, sleep_until};

/// Gives `future` at most `limit`; then it is dropped, what it leaves to clean up is cleaned up, and the outcome is
/// [`Elapsed`]. asyncio: `wait_for` and `timeout`.
///
/// If the future finishes in the same turn as the deadline comes, its result wins. While a part of it is
/// [shielded](rondel_executor::shielded), the drop waits for that part. Timeouts nest: each reports its own expiry and no
/// other. To go on without an error when the time is up, take [`move_on_after`](crate::move_on_after).
///
/// # Cancel safety
/// Dropped, it drops the future within.
///
/// # Panics
/// When polled, if no loop is running on this thread.
///
/// ```
/// use rondel_loop::{sleep, timeout};
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// assert_eq!(timeout(Duration::from_secs(3600), async { 7 }).await, Ok(7));
/// let late = timeout(Duration::from_micros(1), sleep(Duration::from_secs(3600))).await;
/// assert!(late.is_err());
/// # }).unwrap();
/// ```
#[doc(alias = "wait_for")]
#[doc(alias = "fail_after")]
pub fn timeout<F: Future>(limit: Duration, future: F) -> Timeout<F> {
    Timeout {
        limited: Limited::new(future, sleep(limit)),
    }
}

/// Gives `future` until `deadline` on the loop's clock; see [`timeout`]. asyncio: `timeout_at`.
///
/// One deadline can limit several steps together. If it has passed already, the future is still polled once.
///
/// ```
/// use rondel_loop::{LocalLoop, sleep, timeout_at};
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// let deadline = LocalLoop::current().unwrap().time() + Duration::from_millis(1);
/// assert_eq!(timeout_at(deadline, async { "in time" }).await, Ok("in time"));
/// let late = timeout_at(deadline, sleep(Duration::from_secs(3600))).await;
/// assert!(late.is_err());
/// assert_eq!(timeout_at(deadline, async { "ready at once" }).await, Ok("ready at once"));
/// # }).unwrap();
/// ```
#[doc(alias = "fail_at")]
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout {
        limited: Limited::new(future, sleep_until(deadline)),
    }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        limited: Limited<F>,
    }
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit was reached")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

impl<F> Timeout<F> {
    /// When the time is up; `None` if that is only known once it is polled.
    pub fn deadline(&self) -> Option<Instant> {
        self.limited.deadline()
    }

    /// Whether the time was up before the future had finished.
    pub fn expired(&self) -> bool {
        self.limited.expired()
    }

    /// Moves the deadline. `false`, and without effect, if it has expired already. asyncio: `Timeout.reschedule`.
    pub fn reschedule(self: Pin<&mut Self>, deadline: Instant) -> bool {
        self.project().limited.reschedule(deadline)
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project()
            .limited
            .poll(cx)
            .map(|output| output.ok_or(Elapsed))
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("deadline", &self.deadline())
            .field("expired", &self.expired())
            .finish_non_exhaustive()
    }
}
