//! A channel in which each receiver gets each value, between tasks of one thread.
//!
//! The channel keeps a fixed number of values. Sending never waits: a receiver that is too slow
//! misses the oldest ones and is told how many. For the latest value only, take
//! [`watch`](crate::watch).
//!
//! ```
//! # use futures_util::FutureExt;
//! use rondel_sync::broadcast::{self, RecvError};
//!
//! let (sender, mut quick) = broadcast::channel(2);
//! let mut slow = sender.subscribe();
//! sender.send(1)?;
//! assert_eq!(quick.recv().now_or_never(), Some(Ok(1)));
//! sender.send(2)?;
//! sender.send(3)?;
//! assert_eq!(quick.recv().now_or_never(), Some(Ok(2)));
//! assert_eq!(slow.recv().now_or_never(), Some(Err(RecvError::Lagged(1))));
//! assert_eq!(slow.recv().now_or_never(), Some(Ok(2)));
//! # Ok::<(), broadcast::SendError<i32>>(())
//! ```

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::buffer::waiting;
use crate::label::{self, Awaited};
use crate::wait_list::{WaitList, Waiter};

mod error;
mod ring;

pub use error::{RecvError, SendError, TryRecvError};

use ring::{Found, Ring};

/// Makes a channel that keeps the last `capacity` values; a capacity of 0 counts as 1.
///
/// A value is dropped as soon as each receiver has it, at the latest when it is overwritten. Memory
/// is taken as it is needed, and kept.
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        ring: RefCell::new(Ring::new(capacity)),
        senders: Cell::new(1),
        receivers: Cell::new(1),
        waiting: WaitList::new(),
    });
    (
        Sender {
            shared: Rc::clone(&shared),
        },
        Receiver { shared, next: 0 },
    )
}

struct Shared<T> {
    ring: RefCell<Ring<T>>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    waiting: WaitList,
}

impl<T: Clone> Shared<T> {
    fn try_recv(&self, next: &mut u64) -> Result<T, TryRecvError> {
        let found = self.ring.borrow_mut().read(*next);
        let value = match found {
            Found::Nothing if self.senders.get() == 0 => return Err(TryRecvError::Closed),
            Found::Nothing => return Err(TryRecvError::Empty),
            Found::Overwritten(oldest) => {
                let missed = oldest - *next;
                *next = oldest;
                return Err(TryRecvError::Lagged(missed));
            }
            Found::Value(value) => Ok(value),
            Found::Shared(share) => Err(share),
        };
        *next += 1;
        Ok(value.unwrap_or_else(|share| {
            Option::clone(&share).expect("a value stays until the last receiver has it")
        }))
    }
}

/// The end that sends. Cloning it makes one more sender.
///
/// When the last one is dropped, receivers get what is left, then the end.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T: Clone> Sender<T> {
    /// Sends a value to all receivers there are, and returns their number.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value if there is none.
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let receivers = self.shared.receivers.get();
        if receivers == 0 {
            return Err(SendError(value));
        }
        label::gave(self.shared.waiting.anchor());
        let displaced = self.shared.ring.borrow_mut().push(value, receivers);
        let mut round = self.shared.waiting.hand_over();
        while round.give(()).is_ok() {}
        // Before the guard: should the destructor panic, everybody is woken still.
        drop(displaced);
        drop(round);
        Ok(receivers)
    }

    /// Makes one more receiver, of what is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Receiver {
            shared: Rc::clone(&self.shared),
            next: self.shared.ring.borrow().tail(),
        }
    }

    /// How many receivers there are.
    pub fn receivers(&self) -> usize {
        self.shared.receivers.get()
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
            let mut round = self.shared.waiting.hand_over();
            while round.give(()).is_ok() {}
        }
    }
}

/// The end that receives.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The number of the value to be received next.
    next: u64,
}

impl<T: Clone> Receiver<T> {
    /// Receives the next value, by a clone; the last receiver of a value gets it itself.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if values have been missed, [`RecvError::Closed`] at the end.
    ///
    /// # Cancel safety
    ///
    /// A value counts as received only when the future was ready; or if its `clone` panicked.
    pub fn recv(&mut self) -> Recv<'_, T> {
        Recv {
            shared: &self.shared,
            next: &mut self.next,
            waiter: None,
        }
    }

    /// Receives the next value if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if it is not; else as [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.shared.try_recv(&mut self.next)
    }

    /// How many values are to be received, those that have been missed not counted.
    pub fn len(&self) -> usize {
        let ring = self.shared.ring.borrow();
        let waiting = ring.tail() - self.next.max(ring.oldest());
        usize::try_from(waiting).unwrap_or(usize::MAX)
    }

    /// Whether nothing is to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.set(self.shared.receivers.get() - 1);
        // What is sent from here on, by destructors, does not count this receiver.
        let end = self.shared.ring.borrow().tail();
        while self.next < end {
            // Its borrow ends before the value is dropped.
            let found = self.shared.ring.borrow_mut().read(self.next);
            self.next = match found {
                Found::Overwritten(oldest) => oldest,
                Found::Nothing => end,
                Found::Value(_) | Found::Shared(_) => self.next + 1,
            };
        }
    }
}

pin_project! {
    /// The future of [`Receiver::recv`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Recv<'a, T> {
        shared: &'a Shared<T>,
        next: &'a mut u64,
        // Made only if it has to wait.
        #[pin]
        waiter: Option<Waiter<&'a WaitList>>,
    }
}

impl<T: Clone> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let mut this = self.project();
        loop {
            match this.shared.try_recv(this.next) {
                Ok(value) => return Poll::Ready(Ok(value)),
                Err(TryRecvError::Closed) => return Poll::Ready(Err(RecvError::Closed)),
                Err(TryRecvError::Lagged(n)) => return Poll::Ready(Err(RecvError::Lagged(n))),
                Err(TryRecvError::Empty) => {
                    let waiter = waiting(this.waiter.as_mut(), &this.shared.waiting);
                    ready!(waiter.poll_for(Awaited::Item, cx));
                }
            }
        }
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv")
            .field("channel", self.shared)
            .field("next", &self.next)
            .field("waiter", &self.waiter)
            .finish()
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("senders", &self.senders.get())
            .field("receivers", &self.receivers.get())
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("channel", &*self.shared)
            .finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("channel", &*self.shared)
            .field("next", &self.next)
            .finish()
    }
}
