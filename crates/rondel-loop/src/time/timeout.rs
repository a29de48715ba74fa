//! Timeouts: a limit on how long something may take.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use rondel_executor::{Cleanup, Scope};

use super::sleep::{Sleep, sleep, sleep_until};

/// Gives `future` at most `limit`; then it is dropped, what it leaves to clean up is cleaned up, and the outcome is
/// [`Elapsed`]. asyncio: `wait_for` and `timeout`.
///
/// If the future finishes in the same turn as the deadline comes, its result wins. Timeouts nest: each reports its own
/// expiry and no other.
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
pub fn timeout<F: Future>(limit: Duration, future: F) -> Timeout<F> {
    Timeout {
        future: Some(future),
        sleep: sleep(limit),
        cleaning: None,
        expired: false,
    }
}

/// Gives `future` until `deadline` on the loop's clock; see [`timeout`].
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout {
        future: Some(future),
        sleep: sleep_until(deadline),
        cleaning: None,
        expired: false,
    }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: Option<F>,
        sleep: Sleep,
        // Waiting for what the future left behind; dropped itself, it leaves that to whoever drops it.
        cleaning: Option<Cleanup>,
        expired: bool,
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
        self.sleep.deadline()
    }

    /// Whether the time was up before the future had finished.
    pub fn expired(&self) -> bool {
        self.expired
    }

    /// Moves the deadline. `false`, and without effect, if it has expired already. asyncio: `Timeout.reschedule`.
    pub fn reschedule(self: Pin<&mut Self>, deadline: Instant) -> bool {
        let this = self.project();
        if !*this.expired {
            this.sleep.reset(deadline);
        }
        !*this.expired
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(future) = this.future.as_mut().as_pin_mut() {
            if let Poll::Ready(output) = future.poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if Pin::new(&mut *this.sleep).poll(cx).is_pending() {
                return Poll::Pending;
            }
            *this.expired = true;
            let scope = Scope::new();
            scope.enter(|| this.future.set(None));
            if !scope.is_done() {
                *this.cleaning = Some(Box::pin(async move { scope.wait().await }));
            }
        }
        if let Some(cleaning) = this.cleaning {
            if cleaning.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            *this.cleaning = None;
        }
        Poll::Ready(Err(Elapsed))
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("sleep", &self.sleep)
            .field("expired", &self.expired)
            .finish_non_exhaustive()
    }
}
