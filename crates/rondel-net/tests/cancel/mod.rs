//! Cancelling at each await point.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Drops the future when it is pending for the `left`-th time, counted from 0; `None` then.
pub(crate) struct CancelAt<F> {
    future: Pin<Box<F>>,
    left: usize,
}

pub(crate) fn cancel_at<F: Future>(left: usize, future: F) -> CancelAt<F> {
    CancelAt {
        future: Box::pin(future),
        left,
    }
}

impl<F: Future> Future for CancelAt<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => {
                self.left -= 1;
                Poll::Pending
            }
        }
    }
}
