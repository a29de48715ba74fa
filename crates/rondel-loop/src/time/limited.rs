//! A future and the time until which it may run: the mechanism under `timeout`, `move_on_after` and cancel scopes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use pin_project_lite::pin_project;
use rondel_executor::Cancellable;

use super::sleep::Sleep;

pin_project! {
    /// Gives `None` if the time was up first.
    pub(super) struct Limited<F> {
        #[pin]
        inner: Cancellable<F>,
        sleep: Sleep,
        expired: bool,
    }
}

impl<F> Limited<F> {
    pub(super) fn new(future: F, sleep: Sleep) -> Self {
        Self {
            inner: Cancellable::new(future),
            sleep,
            expired: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sleep.deadline()
    }

    /// Whether the time was up before the future had finished.
    pub(super) fn expired(&self) -> bool {
        self.expired
    }

    /// Moves the deadline; `false` if it has expired.
    pub(super) fn reschedule(self: Pin<&mut Self>, deadline: Instant) -> bool {
        let this = self.project();
        if !*this.expired {
            this.sleep.reset(deadline);
        }
        !*this.expired
    }
}

impl<F: Future> Future for Limited<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut this = self.project();
        let polled = this.inner.as_mut().poll(cx);
        if polled.is_ready() || *this.expired {
            return polled;
        }
        // The label stays that of what the future waits for: that it will not wait for ever says less.
        if this.sleep.poll_quietly(cx).is_pending() {
            return Poll::Pending;
        }
        *this.expired = true;
        this.inner.as_mut().cancel();
        this.inner.poll(cx)
    }
}
