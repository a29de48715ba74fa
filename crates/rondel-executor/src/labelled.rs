//! A label for what somebody else's future waits for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::context;
use crate::wait::Waits;

impl Waits {
    /// Labels the task while `future` is pending, if that does not say itself what it waits for: for futures of other people's.
    ///
    /// # Cancel safety
    /// That of `future`.
    ///
    /// ```
    /// use rondel_executor::{Executor, Waits};
    /// use std::future::pending;
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(Waits::ANSWER.while_pending(pending::<()>()));
    /// executor.run_until_idle();
    /// assert_eq!(executor.tasks()[0].waits().as_str(), "an answer");
    /// # task.cancel();
    /// ```
    pub const fn while_pending<F: Future>(self, future: F) -> Labelled<F> {
        Labelled {
            future,
            waits: self,
        }
    }
}

pin_project! {
    /// The future of [`Waits::while_pending`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Labelled<F> {
        #[pin]
        future: F,
        waits: Waits,
    }
}

impl<F: Future> Future for Labelled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = this.future.poll(cx);
        if polled.is_pending() {
            let waits = *this.waits;
            context::with_task(|task| {
                if let Some(header) = task.filter(|task| task.waits().0 == Waits::NOTHING) {
                    header.label(waits, 0);
                }
            });
        }
        polled
    }
}
