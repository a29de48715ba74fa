//! A few futures of different types, one inside the other, so that one type serves tuples of every length.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// One future, its output once it has ended, and the others.
    pub(super) struct Link<F, T, R> {
        // `None` once it has ended: then it holds nothing any more.
        #[pin]
        future: Option<F>,
        pub(super) output: Option<T>,
        #[pin]
        pub(super) rest: R,
    }
}

/// The end of a chain.
pub(super) struct End;

impl<F, T, R> Link<F, T, R> {
    pub(super) fn new(future: F, rest: R) -> Self {
        Self {
            future: Some(future),
            output: None,
            rest,
        }
    }
}

impl<F: Future, T, R> Link<F, T, R> {
    /// Polls this future, if it has not ended, and hands its output to `ended`, with the place for it. Whether it is gone.
    pub(super) fn poll_this(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        ended: impl FnOnce(F::Output, &mut Option<T>),
    ) -> bool {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return true;
        };
        let Poll::Ready(output) = future.poll(cx) else {
            return false;
        };
        this.future.set(None);
        ended(output, this.output);
        true
    }

    /// This future, if it has not ended.
    pub(super) fn this(self: Pin<&mut Self>) -> Option<Pin<&mut F>> {
        self.project().future.as_pin_mut()
    }

    pub(super) fn rest(self: Pin<&mut Self>) -> Pin<&mut R> {
        self.project().rest
    }

    pub(super) fn take(self: Pin<&mut Self>) -> T {
        self.project()
            .output
            .take()
            .expect("outputs are taken once, when all futures have ended")
    }
}
