//! The end that sends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{SendError, Shared, TrySendError};
use crate::label::Awaited;
use crate::wait_list::{WaitList, Waiter};

/// The end that sends. Cloning it makes one more sender of the same channel.
///
/// When the last one is dropped the receiver gets what is left, then the end.
pub struct Sender<T> {
    pub(super) shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends an item; waits for room if the channel is full. Senders that wait are served first
    /// come, first served.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the item if the receiver is closed or dropped, before or while this waits.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the future has sent nothing: the item is dropped with it, its
    /// place goes to the next.
    #[inline]
    pub fn send(&self, item: T) -> Send<'_, T> {
        Send {
            shared: &self.shared,
            item: Some(item),
            waiter: None,
        }
    }

    /// Sends an item if there is room that nobody waits for.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] with the item.
    #[inline]
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        match self.shared.buffer.try_push(item) {
            Ok(()) => {
                self.shared.receiving.wake();
                Ok(())
            }
            Err(refused) if refused.closed => Err(TrySendError::Closed(refused.item)),
            Err(refused) => Err(TrySendError::Full(refused.item)),
        }
    }

    /// Whether the receiver is closed or dropped, so that sending would fail.
    pub fn is_closed(&self) -> bool {
        self.shared.buffer.is_closed()
    }

    /// Waits until the receiver is closed or dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only takes it off the list of those who wait.
    pub fn closed(&self) -> ReceiverClosed<'_, T> {
        ReceiverClosed {
            shared: &self.shared,
            waiter: Waiter::new(&self.shared.watchers, ()),
            done: false,
        }
    }

    /// Whether both send into the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.set(self.shared.senders.get() + 1);
        Self {
            shared: Rc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let rest = self.shared.senders.get() - 1;
        self.shared.senders.set(rest);
        if rest == 0 {
            self.shared.receiving.wake();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("channel", &*self.shared)
            .finish()
    }
}

pin_project! {
    /// The future of [`Sender::send`].
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Send<'a, T> {
        shared: &'a Shared<T>,
        item: Option<T>,
        // Made only if it has to wait, which is the exception.
        #[pin]
        waiter: Option<Waiter<&'a WaitList>>,
    }

    impl<T> PinnedDrop for Send<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(waiter) = this.waiter.as_pin_mut() {
                this.shared.buffer.give_up(waiter);
            }
        }
    }
}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let buffer = &this.shared.buffer;
        let pushed = ready!(buffer.poll_push(this.item, this.waiter, cx));
        Poll::Ready(match pushed {
            Ok(()) => {
                this.shared.receiving.wake();
                Ok(())
            }
            Err(item) => Err(SendError(item)),
        })
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send")
            .field("channel", self.shared)
            .field("waiter", &self.waiter)
            .field("done", &self.item.is_none())
            .finish()
    }
}

pin_project! {
    /// The future of [`Sender::closed`].
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct ReceiverClosed<'a, T> {
        shared: &'a Shared<T>,
        #[pin]
        waiter: Waiter<&'a WaitList>,
        done: bool,
    }
}

impl<T> Future for ReceiverClosed<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        assert!(!*this.done, "`closed` polled after it was ready");
        if !this.shared.buffer.is_closed() {
            ready!(this.waiter.poll_for(Awaited::Closing, cx));
        }
        *this.done = true;
        Poll::Ready(())
    }
}

impl<T> fmt::Debug for ReceiverClosed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverClosed")
            .field("channel", self.shared)
            .field("waiter", &self.waiter)
            .finish_non_exhaustive()
    }
}
