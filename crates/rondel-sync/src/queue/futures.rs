//! The futures of a queue, and its stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::{BaseQueue, GetNowaitError, QueueShutDown, Store, Turn};
use crate::buffer::waiting;
use crate::label::{self, Awaited};
use crate::wait_list::{WaitList, Waiter};

type Getter<'a> = Waiter<&'a WaitList<(), Turn>, (), Turn>;

pin_project! {
    /// The future of [`BaseQueue::put`].
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Put<'a, S: Store> {
        queue: &'a BaseQueue<S>,
        item: Option<S::Item>,
        // Made only if it has to wait, which is the exception.
        #[pin]
        waiter: Option<Waiter<&'a WaitList>>,
    }

    impl<S: Store> PinnedDrop for Put<'_, S> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(waiter) = this.waiter.as_pin_mut() {
                this.queue.buffer.give_up(waiter);
            }
        }
    }
}

impl<'a, S: Store> Put<'a, S> {
    pub(super) fn new(queue: &'a BaseQueue<S>, item: S::Item) -> Self {
        Self {
            queue,
            item: Some(item),
            waiter: None,
        }
    }
}

impl<S: Store> Future for Put<'_, S> {
    type Output = Result<(), QueueShutDown<S::Item>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let pushed = ready!(this.queue.buffer.poll_push(this.item, this.waiter, cx));
        Poll::Ready(match pushed {
            Ok(()) => {
                this.queue.added();
                Ok(())
            }
            Err(item) => Err(QueueShutDown(item)),
        })
    }
}

impl<S: Store> fmt::Debug for Put<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put")
            .field("queue", self.queue)
            .field("waiter", &self.waiter)
            .field("done", &self.item.is_none())
            .finish()
    }
}

pin_project! {
    /// The future of [`BaseQueue::get`].
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Get<'a, S: Store> {
        #[pin]
        items: Items<'a, S>,
        done: bool,
    }
}

impl<'a, S: Store> Get<'a, S> {
    pub(super) fn new(queue: &'a BaseQueue<S>) -> Self {
        Self {
            items: Items::new(queue),
            done: false,
        }
    }
}

impl<S: Store> Future for Get<'_, S> {
    type Output = Result<S::Item, QueueShutDown>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        assert!(!*this.done, "`get` polled after it was ready");
        let item = ready!(this.items.poll_next(cx));
        *this.done = true;
        Poll::Ready(item.ok_or(QueueShutDown(())))
    }
}

impl<S: Store> fmt::Debug for Get<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get")
            .field("queue", self.items.queue)
            .field("waiter", &self.items.waiter)
            .field("done", &self.done)
            .finish()
    }
}

pin_project! {
    /// The items of a queue as a stream; from [`BaseQueue::stream`].
    ///
    /// It ends when the queue has been shut down and nothing is left.
    ///
    /// # Cancel safety
    ///
    /// While it is pending it has a place among those who wait; dropped, it gives up that place,
    /// and what had been handed to it goes to the next one.
    #[must_use = "streams do nothing unless polled"]
    pub struct Items<'a, S: Store> {
        queue: &'a BaseQueue<S>,
        // Made only if it has to wait.
        #[pin]
        waiter: Option<Getter<'a>>,
    }

    impl<S: Store> PinnedDrop for Items<'_, S> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(waiter) = this.waiter.as_pin_mut()
                && waiter.cancel() == Some(Turn::Item)
            {
                this.queue.pass_turn_on();
            }
        }
    }
}

impl<'a, S: Store> Items<'a, S> {
    pub(super) fn new(queue: &'a BaseQueue<S>) -> Self {
        Self {
            queue,
            waiter: None,
        }
    }
}

impl<S: Store> Stream for Items<'_, S> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let mut waiter = this.waiter;
        if waiter
            .as_ref()
            .as_pin_ref()
            .is_none_or(|waiter| waiter.is_idle())
        {
            match this.queue.get_nowait() {
                Ok(item) => return Poll::Ready(Some(item)),
                Err(GetNowaitError::ShutDown) => return Poll::Ready(None),
                Err(GetNowaitError::Empty) => {}
            }
        }
        let number = label::number(this.queue.buffer.anchor());
        let waiter = waiting(waiter.as_mut(), &this.queue.getters);
        Poll::Ready(match ready!(waiter.poll_as(Awaited::Item, number, cx)) {
            Turn::Item => this.queue.redeem(),
            Turn::End => None,
        })
    }
}

impl<S: Store> fmt::Debug for Items<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items")
            .field("queue", self.queue)
            .field("waiter", &self.waiter)
            .finish()
    }
}

pin_project! {
    /// The future of [`BaseQueue::join`].
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Join<'a, S: Store> {
        queue: &'a BaseQueue<S>,
        #[pin]
        waiter: Waiter<&'a WaitList>,
        done: bool,
    }
}

impl<'a, S: Store> Join<'a, S> {
    pub(super) fn new(queue: &'a BaseQueue<S>) -> Self {
        Self {
            queue,
            waiter: Waiter::new(&queue.joiners, ()),
            done: false,
        }
    }
}

impl<S: Store> Future for Join<'_, S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        assert!(!*this.done, "`join` polled after it was ready");
        if !(this.waiter.is_idle() && this.queue.unfinished() == 0) {
            let number = label::number(this.queue.buffer.anchor());
            ready!(this.waiter.poll_as(Awaited::Joined, number, cx));
        }
        *this.done = true;
        Poll::Ready(())
    }
}

impl<S: Store> fmt::Debug for Join<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join")
            .field("queue", self.queue)
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish()
    }
}
