//! The end that receives.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::{Shared, TryRecvError};
use crate::label::{self, Awaited};

/// The waker of the one receiver. It stays after it was woken, so that a task which receives again
/// and again has it cloned once.
pub(super) struct Receiving {
    waker: Cell<Option<Waker>>,
    waits: Cell<bool>,
    /// Counts the times that the waker was let go.
    forgotten: Cell<u32>,
}

impl Receiving {
    pub(super) const fn new() -> Self {
        Self {
            waker: Cell::new(None),
            waits: Cell::new(false),
            forgotten: Cell::new(0),
        }
    }

    /// Foreign code may run: look at the state again afterwards.
    fn register(&self, waker: &Waker) {
        let present = self.waker.take();
        let same = present
            .as_ref()
            .is_some_and(|present| present.will_wake(waker));
        self.waker.set(present);
        // Before the clone, during which it may be woken.
        self.waits.set(true);
        if !same {
            let clone = waker.clone();
            drop(self.waker.replace(Some(clone)));
        }
    }

    /// Wakes the receiver if it waits. Foreign code: to be called last.
    #[inline]
    pub(super) fn wake(&self) {
        if self.waits.get() {
            self.wake_waiting();
        }
    }

    fn wake_waiting(&self) {
        self.waits.set(false);
        if let Some(waker) = self.waker.take() {
            let lent = Lent {
                receiving: self,
                waker: Some(waker),
                forgotten: self.forgotten.get(),
            };
            if let Some(waker) = &lent.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Nobody waits any more, and nobody's waker is kept.
    fn forget(&self) {
        self.waits.set(false);
        self.forgotten.set(self.forgotten.get().wrapping_add(1));
        drop(self.waker.take());
    }
}

/// The waker outside of its cell while it runs.
struct Lent<'a> {
    receiving: &'a Receiving,
    waker: Option<Waker>,
    forgotten: u32,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // It goes back, unless meanwhile there is another one, or nobody to keep one for.
        if self.forgotten == self.receiving.forgotten.get() {
            let meanwhile = self.receiving.waker.take();
            self.receiving
                .waker
                .set(meanwhile.or_else(|| self.waker.take()));
        }
    }
}

/// The end that receives; also a [`Stream`], which ends when the channel is closed and empty.
///
/// Dropped, it drops what was sent and not received, and sending fails.
pub struct Receiver<T> {
    pub(super) shared: Rc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Receives the next item; `None` if none will come: all senders are dropped, or this was
    /// [closed](Self::close), and nothing is left.
    ///
    /// # Cancel safety
    ///
    /// Nothing is received unless the future was ready, so dropping it loses nothing.
    pub fn recv(&mut self) -> Recv<'_, T> {
        Recv { receiver: self }
    }

    /// Receives the next item if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if one may still come, [`TryRecvError::Closed`] if not.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.shared.buffer.take() {
            Some(item) => Ok(self.shared.let_in(item)),
            None if self.shared.is_over() => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// [`recv`](Self::recv) for futures written by hand. Only the waker of the latest call is
    /// woken.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match self.try_recv() {
            Ok(item) => return Poll::Ready(Some(item)),
            Err(TryRecvError::Closed) => return Poll::Ready(None),
            Err(TryRecvError::Empty) => {}
        }
        self.shared.receiving.register(cx.waker());
        // Looked at again: the waker's code may have sent.
        match self.try_recv() {
            Ok(item) => Poll::Ready(Some(item)),
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => {
                label::waits(Awaited::Item, label::number(self.shared.buffer.anchor()));
                Poll::Pending
            }
        }
    }

    /// Lets sending fail from now on, also for those who wait for room. What was sent before can
    /// still be received.
    pub fn close(&mut self) {
        self.shared.close();
    }

    /// How many items are there to be received.
    pub fn len(&self) -> usize {
        self.shared.buffer.len()
    }

    /// Whether nothing is there to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_recv(cx)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (_putters, _watchers) = self.shared.closing();
        let items = self.shared.buffer.clear();
        self.shared.receiving.forget();
        // Before the guards: should a destructor panic, they still wake everybody.
        drop(items);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("channel", &*self.shared)
            .finish()
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, T> {
    receiver: &'a mut Receiver<T>,
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.receiver.poll_recv(cx)
    }
}

impl<T> Drop for Recv<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Given up while it waited: no spurious wake later, and the task's memory is let go.
        if self.receiver.shared.receiving.waits.get() {
            self.receiver.shared.receiving.forget();
        }
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv")
            .field("receiver", self.receiver)
            .finish()
    }
}
