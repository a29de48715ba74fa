//! A channel for one value, between two tasks of one thread.
//!
//! [`channel`] makes a [`Sender`], which sends once, and a [`Receiver`], which is a future. Either
//! side notices when the other one is gone. The pair is one allocation.
//!
//! ```
//! # use futures_util::future::FutureExt;
//! # use std::pin::pin;
//! use rondel_sync::oneshot;
//!
//! let (sender, receiver) = oneshot::channel();
//! let mut answer = pin!(async { receiver.await });
//! assert!(answer.as_mut().now_or_never().is_none());
//! sender.send(42)?;
//! assert_eq!(answer.now_or_never(), Some(Ok(42)));
//! # Ok::<(), i32>(())
//! ```

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::label::{self, Awaited};
use crate::waker_slot::WakerSlot;

/// Makes a channel for one value.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: Cell::new(None),
        sender_alive: Cell::new(true),
        receiver_open: Cell::new(true),
        receiving: WakerSlot::new(),
        closing: WakerSlot::new(),
    });
    (
        Sender {
            shared: Rc::clone(&shared),
        },
        Receiver { shared },
    )
}

/// State of both ends. Values and wakers are moved out before their code runs, so that it may use
/// the channel.
struct Shared<T> {
    value: Cell<Option<T>>,
    /// Cleared by sending too.
    sender_alive: Cell<bool>,
    /// Cleared by closing or dropping the receiver.
    receiver_open: Cell<bool>,
    /// The task that awaits the value.
    receiving: WakerSlot,
    /// The task that awaits the end of the receiver.
    closing: WakerSlot,
}

impl<T> Shared<T> {
    /// What the receiver gets now, `None` if it has to wait.
    fn outcome(&self) -> Option<Result<T, Closed>> {
        match self.value.take() {
            Some(value) => Some(Ok(value)),
            None if self.sender_alive.get() && self.receiver_open.get() => None,
            None => Some(Err(Closed)),
        }
    }

    fn close(&self) {
        if self.receiver_open.replace(false)
            && let Some(waker) = self.closing.take()
        {
            waker.wake();
        }
    }
}

/// The end that sends.
///
/// Dropped without having sent, it lets the [`Receiver`] fail with [`Closed`].
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends the value, and wakes the receiver.
    ///
    /// That it was sent does not mean that it will be received: the receiver may be dropped first,
    /// and the value with it.
    ///
    /// # Errors
    ///
    /// Gives the value back if the receiver is closed or dropped.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        // Empty so far, so this drops nothing. The rest happens in `drop`.
        self.shared.value.set(Some(value));
        Ok(())
    }

    /// Whether the receiver is closed or dropped, so that sending would fail.
    pub fn is_closed(&self) -> bool {
        !self.shared.receiver_open.get()
    }

    /// Waits until the receiver is closed or dropped: nobody wants the value any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; call it again to go on waiting.
    ///
    /// ```
    /// # use futures_util::future::FutureExt;
    /// # use rondel_sync::oneshot;
    /// let (mut sender, receiver) = oneshot::channel::<u32>();
    /// assert!(sender.closed().now_or_never().is_none());
    /// drop(receiver);
    /// assert!(sender.closed().now_or_never().is_some());
    /// ```
    pub fn closed(&mut self) -> ReceiverClosed<'_, T> {
        ReceiverClosed { sender: self }
    }

    /// [`closed`](Self::closed) for futures written by hand. Only the waker of the latest call is
    /// woken.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_closed() {
            self.shared.closing.register(cx.waker());
            // Looked at again: the waker's code may have closed it.
            if !self.is_closed() {
                label::waits(Awaited::Closing, label::number(&*self.shared));
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.sender_alive.set(false);
        let _stale = self.shared.closing.take();
        if let Some(waker) = self.shared.receiving.take() {
            waker.wake();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

/// The end that receives: a future of the value.
///
/// Ready at once, without yielding, if the value is there. It can be awaited by reference, `(&mut
/// receiver).await`.
///
/// # Errors
///
/// [`Closed`] if no value will come: the [`Sender`] was dropped without sending, the receiver was
/// [closed](Self::close) before, or the value has been received already.
///
/// # Cancel safety
///
/// Dropping a `&mut Receiver` loses nothing. Dropping the receiver itself drops a value that was
/// sent and not received, and lets later sending fail.
#[must_use = "futures do nothing unless awaited"]
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Receives the value if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if it may still come, [`TryRecvError::Closed`] if not, see
    /// [`Receiver`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.shared.outcome() {
            Some(Ok(value)) => Ok(value),
            Some(Err(Closed)) => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Lets sending fail from now on. A value that was sent before can still be received.
    ///
    /// ```
    /// # use rondel_sync::oneshot;
    /// let (sender, mut receiver) = oneshot::channel();
    /// receiver.close();
    /// assert_eq!(sender.send("too late"), Err("too late"));
    /// ```
    pub fn close(&mut self) {
        self.shared.close();
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Closed>> {
        if let Some(outcome) = self.shared.outcome() {
            return Poll::Ready(outcome);
        }
        self.shared.receiving.register(cx.waker());
        // Looked at again: the waker's code may have sent.
        match self.shared.outcome() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                label::waits(Awaited::Item, label::number(&*self.shared));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Dropped last: both run foreign code.
        let _stale = self.shared.receiving.take();
        let _unreceived = self.shared.value.take();
        self.shared.close();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("is_closed", &!self.shared.receiver_open.get())
            .field("sender_alive", &self.shared.sender_alive.get())
            .finish_non_exhaustive()
    }
}

/// The future of [`Sender::closed`].
#[must_use = "futures do nothing unless awaited"]
pub struct ReceiverClosed<'a, T> {
    sender: &'a mut Sender<T>,
}

impl<T> Future for ReceiverClosed<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.sender.poll_closed(cx)
    }
}

impl<T> Drop for ReceiverClosed<'_, T> {
    fn drop(&mut self) {
        // Nobody is waiting any more: no spurious wake later, and the task's memory is not held on
        // to.
        drop(self.sender.shared.closing.take());
    }
}

impl<T> fmt::Debug for ReceiverClosed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverClosed")
            .field("sender", self.sender)
            .finish()
    }
}

/// No value will come; from awaiting a [`Receiver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot receive from a oneshot channel: it is closed and empty")
    }
}

impl Error for Closed {}

/// No value is there; from [`Receiver::try_recv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// None was sent yet; it may still come.
    Empty,
    /// None will come.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("cannot receive from a oneshot channel: nothing was sent yet")
            }
            Self::Closed => Closed.fmt(f),
        }
    }
}

impl Error for TryRecvError {}
