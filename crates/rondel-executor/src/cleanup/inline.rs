//! A cleanup that runs where it stands, until somebody drops what stands there.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cleanup::leave;
use crate::cleanup::scope::Cleanup;

/// Runs a cleanup inline. Dropped before its end, it leaves the cleanup, as far as it has come, to the current scope.
pub(super) struct Inline(Option<Cleanup>);

impl Inline {
    pub(super) fn new(cleanup: impl Future<Output = ()> + 'static) -> Self {
        // Boxed before its first poll, so that it can move to a scope half way.
        Self(Some(Box::pin(cleanup)))
    }
}

impl Future for Inline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Taken out meanwhile: one that panics is not to be left to anybody.
        let Some(mut cleanup) = self.0.take() else {
            return Poll::Ready(());
        };
        let polled = cleanup.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = Some(cleanup);
        }
        polled
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        if let Some(cleanup) = self.0.take() {
            leave(cleanup);
        }
    }
}
