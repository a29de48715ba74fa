//! A channel that keeps the latest value only, between tasks of one thread.
//!
//! Receivers see that the value has changed, not how often. For each value to arrive, take
//! [`broadcast`](crate::broadcast).
//!
//! ```
//! # use futures_util::FutureExt;
//! use rondel_sync::watch;
//!
//! let (sender, mut receiver) = watch::channel("starting");
//! assert_eq!(*receiver.borrow(), "starting");
//! sender.send("loading")?;
//! sender.send("ready")?;
//! assert_eq!(receiver.changed().now_or_never(), Some(Ok(())));
//! assert_eq!(*receiver.borrow(), "ready");
//! assert!(receiver.changed().now_or_never().is_none(), "all has been seen");
//! # Ok::<(), watch::SendError<&str>>(())
//! ```

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::rc::Rc;

use crate::label;
use crate::wait_list::{WaitList, Waiter};

mod error;
mod futures;

pub use error::{Closed, SendError};
pub use futures::{AllReceiversGone, Changed};

/// Makes a channel with its first value, which counts as seen by the receiver.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: Cell::new(Some(Rc::new(value))),
        version: Cell::new(0),
        senders: Cell::new(1),
        receivers: Cell::new(1),
        changes: WaitList::new(),
        watchers: WaitList::new(),
    });
    (
        Sender {
            shared: Rc::clone(&shared),
        },
        Receiver { shared, seen: 0 },
    )
}

struct Shared<T> {
    /// Taken out only while a closure modifies it.
    value: Cell<Option<Rc<T>>>,
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    /// Receivers that wait for a change or the end.
    changes: WaitList,
    /// Senders that wait until no receiver is left.
    watchers: WaitList,
}

impl<T> Shared<T> {
    fn take(&self) -> Rc<T> {
        self.value
            .take()
            .expect("a watched value must not be used by the closure that modifies it")
    }

    fn borrow(&self) -> Rc<T> {
        let value = self.take();
        let share = Rc::clone(&value);
        self.value.set(Some(value));
        share
    }

    /// Everybody who waits looks again; runs wakers.
    fn notify(list: &WaitList) {
        let mut round = list.hand_over();
        while round.give(()).is_ok() {}
    }

    fn changed(&self) {
        self.version.set(self.version.get() + 1);
        label::gave(self.changes.anchor());
        Self::notify(&self.changes);
    }
}

/// The end that sets the value. Cloning it makes one more sender.
///
/// When the last one is dropped, receivers see the last change and then [`Closed`].
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sets the value and wakes the receivers that wait.
    ///
    /// Nothing is allocated, unless somebody holds on to the value before.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value, which is not set, if no receiver is left.
    ///
    /// # Panics
    ///
    /// If called by the closure of [`send_if_modified`](Self::send_if_modified).
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError(value));
        }
        let mut present = self.shared.take();
        // Dropped after the change is complete.
        let (_inside, _share);
        match Rc::get_mut(&mut present) {
            Some(place) => _inside = mem::replace(place, value),
            None => _share = mem::replace(&mut present, Rc::new(value)),
        }
        self.shared.value.set(Some(present));
        self.shared.changed();
        Ok(())
    }

    /// Lets the closure modify the value in place; if it returns true, wakes the receivers that
    /// wait. Returns what the closure does. Works without receivers, too.
    ///
    /// The value is cloned only if somebody holds on to it.
    ///
    /// # Panics
    ///
    /// If the closure uses the value through this channel. When the closure itself panics, what it
    /// has modified stays so, and counts as no change.
    ///
    /// ```
    /// # use rondel_sync::watch;
    /// let (sender, receiver) = watch::channel(1);
    /// assert!(!sender.send_if_modified(|n| mem::replace(n, 1) != 1));
    /// # use std::mem;
    /// assert_eq!(receiver.has_changed(), Ok(false));
    /// assert!(sender.send_if_modified(|n| mem::replace(n, 2) != 2));
    /// assert_eq!(receiver.has_changed(), Ok(true));
    /// ```
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool
    where
        T: Clone,
    {
        let mut out = TakenOut {
            shared: &self.shared,
            value: Some(self.shared.take()),
        };
        let modified = out
            .value
            .as_mut()
            .is_some_and(|value| modify(Rc::make_mut(value)));
        drop(out);
        if modified {
            self.shared.changed();
        }
        modified
    }

    /// Lets the closure modify the value in place, and wakes the receivers that wait; see
    /// [`send_if_modified`](Self::send_if_modified).
    pub fn send_modify(&self, modify: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// The present value. It stays what it is while others are sent.
    ///
    /// # Panics
    ///
    /// If called by the closure of [`send_if_modified`](Self::send_if_modified).
    pub fn borrow(&self) -> Rc<T> {
        self.shared.borrow()
    }

    /// Makes one more receiver, which has seen the present value.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Receiver {
            shared: Rc::clone(&self.shared),
            seen: self.shared.version.get(),
        }
    }

    /// Whether no receiver is left. [`subscribe`](Self::subscribe) makes new ones.
    pub fn is_closed(&self) -> bool {
        self.shared.receivers.get() == 0
    }

    /// Waits until no receiver is left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only takes it off the list of those who wait.
    pub fn closed(&self) -> AllReceiversGone<'_, T> {
        AllReceiversGone::new(&self.shared, Waiter::new(&self.shared.watchers, ()))
    }
}

/// The value while a closure modifies it; puts it back even if the closure panics.
struct TakenOut<'a, T> {
    shared: &'a Shared<T>,
    value: Option<Rc<T>>,
}

impl<T> Drop for TakenOut<'_, T> {
    fn drop(&mut self) {
        self.shared.value.set(self.value.take());
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
            Shared::<T>::notify(&self.shared.changes);
        }
    }
}

/// The end that watches the value. A clone has seen what the original has.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    seen: u64,
}

impl<T> Receiver<T> {
    /// The present value, without marking it as seen. It stays what it is while others are sent,
    /// and may be kept over an await.
    ///
    /// # Panics
    ///
    /// If called by the closure of [`Sender::send_if_modified`].
    pub fn borrow(&self) -> Rc<T> {
        self.shared.borrow()
    }

    /// The present value, which counts as seen from now on.
    ///
    /// # Panics
    ///
    /// As [`borrow`](Self::borrow).
    pub fn borrow_and_update(&mut self) -> Rc<T> {
        self.seen = self.shared.version.get();
        self.shared.borrow()
    }

    /// Whether there is a value that this receiver has not seen.
    ///
    /// # Errors
    ///
    /// [`Closed`] if there is none and no sender is left.
    pub fn has_changed(&self) -> Result<bool, Closed> {
        match self.shared.version.get() != self.seen {
            false if self.shared.senders.get() == 0 => Err(Closed),
            changed => Ok(changed),
        }
    }

    /// Waits until there is a value that this receiver has not seen, which then counts as seen;
    /// ready at once if there is one.
    ///
    /// # Errors
    ///
    /// [`Closed`] if there is none and no sender is left.
    ///
    /// # Cancel safety
    ///
    /// A change counts as seen only when the future was ready.
    pub fn changed(&mut self) -> Changed<'_, T> {
        let waiter = Waiter::new(&self.shared.changes, ());
        Changed::new(&self.shared, &mut self.seen, waiter)
    }

    /// Waits for a value, the present one or a later one, for which the closure returns true.
    /// Values that come and go before the task runs are not looked at.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the present value is not such a one and no sender is left.
    ///
    /// # Cancel safety
    ///
    /// What the closure has looked at counts as seen.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<Rc<T>, Closed> {
        loop {
            let value = self.borrow_and_update();
            if wanted(&value) {
                return Ok(value);
            }
            drop(value);
            self.changed().await?;
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Self {
            shared: Rc::clone(&self.shared),
            seen: self.seen,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let rest = self.shared.receivers.get() - 1;
        self.shared.receivers.set(rest);
        if rest == 0 {
            Shared::<T>::notify(&self.shared.watchers);
        }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("version", &self.version.get())
            .field("senders", &self.senders.get())
            .field("receivers", &self.receivers.get())
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
            .field("seen", &self.seen)
            .finish()
    }
}
