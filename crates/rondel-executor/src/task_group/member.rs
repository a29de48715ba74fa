//! A child from inside: what the group polls.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::child::ChildState;
use super::info::About;
use crate::cancellable::Cancellable;
use crate::span::ChildSpan;

/// A child, whatever its future and its value.
pub(super) trait Member<E> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<E>>;

    /// Has it dropped at the next poll, which must follow.
    fn cancel(self: Pin<&mut Self>);
}

/// How a child ended, as far as the group is concerned.
#[derive(Debug)]
pub(super) enum Ended<E> {
    Well,
    Failed(E),
    Cancelled,
}

pin_project! {
    pub(super) struct Node<F, T> {
        #[pin]
        future: Cancellable<F>,
        end: End<T>,
        span: ChildSpan,
    }
}

/// Tells the handle of the end, also if it comes by a drop.
struct End<T>(Rc<ChildState<T>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.0.end(None);
    }
}

impl<F, T> Node<F, T> {
    pub(super) fn new(future: F, state: Rc<ChildState<T>>, about: &About) -> Self {
        Self {
            future: Cancellable::new(future),
            end: End(state),
            span: ChildSpan::new(about.site(), about.name()),
        }
    }
}

impl<F, T, E> Member<E> for Node<F, T>
where
    F: Future<Output = Result<T, E>>,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<E>> {
        let mut this = self.project();
        let state = &this.end.0;
        if state.is_asked() {
            this.future.as_mut().cancel();
        }
        let future = this.future;
        Poll::Ready(match ready!(this.span.enter(|| future.poll(cx))) {
            Some(Ok(value)) => {
                state.end(Some(value));
                Ended::Well
            }
            Some(Err(error)) => {
                state.end(None);
                Ended::Failed(error)
            }
            None => {
                // By its own handle: the group has nothing to do with it.
                let alone = state.is_asked();
                state.end(None);
                if alone { Ended::Well } else { Ended::Cancelled }
            }
        })
    }

    fn cancel(self: Pin<&mut Self>) {
        self.project().future.cancel();
    }
}

pin_project! {
    /// A future that cannot fail, as one that never does.
    pub(super) struct Plain<F> {
        #[pin]
        future: F,
    }
}

impl<F> Plain<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for Plain<F> {
    type Output = Result<F::Output, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map(Ok)
    }
}
