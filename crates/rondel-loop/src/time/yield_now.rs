//! Letting others go first.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Goes to the back of the ready queue: everything that is ready now runs first. Costs no system call and no allocation.
/// asyncio: `sleep(0)`.
///
/// # Cancel safety
/// There is nothing to lose.
///
/// ```
/// # rondel_loop::run(async {
/// let other = rondel_loop::spawn(async {});
/// rondel_loop::yield_now().await;
/// assert!(other.is_finished());
/// # }).unwrap();
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
