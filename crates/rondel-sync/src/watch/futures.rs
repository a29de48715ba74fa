//! The futures of a watched value.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Closed, Shared};
use crate::label::Awaited;
use crate::wait_list::{WaitList, Waiter};

pin_project! {
    /// The future of [`Receiver::changed`](super::Receiver::changed).
    #[must_use = "futures do nothing unless awaited"]
    pub struct Changed<'a, T> {
        shared: &'a Shared<T>,
        seen: &'a mut u64,
        #[pin]
        waiter: Waiter<&'a WaitList>,
    }
}

impl<'a, T> Changed<'a, T> {
    pub(super) fn new(
        shared: &'a Shared<T>,
        seen: &'a mut u64,
        waiter: Waiter<&'a WaitList>,
    ) -> Self {
        Self {
            shared,
            seen,
            waiter,
        }
    }
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut this = self.project();
        loop {
            let version = this.shared.version.get();
            if version != **this.seen {
                **this.seen = version;
                return Poll::Ready(Ok(()));
            }
            if this.shared.senders.get() == 0 {
                return Poll::Ready(Err(Closed));
            }
            ready!(this.waiter.as_mut().poll_for(Awaited::Value, cx));
        }
    }
}

impl<T> fmt::Debug for Changed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed")
            .field("channel", self.shared)
            .field("waiter", &self.waiter)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Sender::closed`](super::Sender::closed).
    #[must_use = "futures do nothing unless awaited"]
    pub struct AllReceiversGone<'a, T> {
        shared: &'a Shared<T>,
        #[pin]
        waiter: Waiter<&'a WaitList>,
    }
}

impl<'a, T> AllReceiversGone<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, waiter: Waiter<&'a WaitList>) -> Self {
        Self { shared, waiter }
    }
}

impl<T> Future for AllReceiversGone<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.waiter.is_idle() && this.shared.receivers.get() == 0 {
            return Poll::Ready(());
        }
        this.waiter.poll_for(Awaited::Closing, cx)
    }
}

impl<T> fmt::Debug for AllReceiversGone<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllReceiversGone")
            .field("channel", self.shared)
            .field("waiter", &self.waiter)
            .finish()
    }
}
