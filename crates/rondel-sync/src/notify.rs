//! [`Notify`]: wakes one task or all, without a value.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::label::{self, Awaited};
use crate::wait_list::{WaitList, Waiter};

/// Tells one task, or all that wait, that something has happened.
///
/// It carries no value and protects nothing: what has happened is to be seen elsewhere. Of the ways
/// to wait for a condition it is the one to build others with. For tasks of one thread; share it by
/// reference or in an `Rc`. asyncio has none; the names and the behaviour are those of
/// [tokio's `Notify`].
///
/// An [`Event`](crate::Event) is for what stays true once it is; a
/// [`Semaphore`](crate::Semaphore) is for counting.
///
/// # Order
///
/// Strictly first come, first served, counted from the first poll of the future. A notification
/// belongs to the one to whom it is given at that moment, before his task runs. If he is dropped
/// before, it goes to the next.
///
/// [tokio's `Notify`]: https://docs.rs/tokio/latest/tokio/sync/struct.Notify.html
///
/// # Example: a mailbox
///
/// ```
/// # use futures_util::future::FutureExt;
/// # use std::pin::pin;
/// use std::cell::RefCell;
/// use std::collections::VecDeque;
///
/// use rondel_sync::Notify;
///
/// #[derive(Default)]
/// struct Mailbox {
///     letters: RefCell<VecDeque<&'static str>>,
///     arrived: Notify,
/// }
///
/// impl Mailbox {
///     fn post(&self, letter: &'static str) {
///         self.letters.borrow_mut().push_back(letter);
///         self.arrived.notify_one();
///     }
///
///     async fn take(&self) -> &'static str {
///         loop {
///             if let Some(letter) = self.letters.borrow_mut().pop_front() {
///                 return letter;
///             }
///             self.arrived.notified().await;
///         }
///     }
/// }
///
/// let mailbox = Mailbox::default();
/// let mut take = pin!(mailbox.take());
/// assert_eq!(take.as_mut().now_or_never(), None);
/// mailbox.post("bill");
/// assert_eq!(take.now_or_never(), Some("bill"));
/// ```
#[derive(Default)]
pub struct Notify {
    /// `notify_one` has found nobody. Nobody waits while this is true.
    stored: Cell<bool>,
    /// How often `notify_waiters` was called.
    rounds: Cell<u64>,
    waiters: WaitList<(), Notification>,
}

/// How a waiter was notified.
#[derive(Clone, Copy, Debug)]
enum Notification {
    /// As the one: if he does not take it, it is somebody else's.
    One,
    /// As one of all.
    All,
}

impl Notify {
    /// Makes one with no notification stored.
    pub const fn new() -> Self {
        Self {
            stored: Cell::new(false),
            rounds: Cell::new(0),
            waiters: WaitList::new(),
        }
    }

    /// Notifies the one who has waited longest. If nobody waits, the notification is stored, and
    /// the next one who waits gets it at once.
    ///
    /// At most one is stored: any number of calls that find nobody are as good as one.
    ///
    /// ```
    /// # use futures_util::FutureExt;
    /// # use rondel_sync::Notify;
    /// let notify = Notify::new();
    /// notify.notify_one();
    /// notify.notify_one();
    /// assert!(notify.notified().now_or_never().is_some());
    /// assert!(notify.notified().now_or_never().is_none());
    /// ```
    pub fn notify_one(&self) {
        // The guard goes last, even if it was given nothing: inside of another round it wakes those
        // of that round, and one who then comes must find what is stored.
        label::gave(self.waiters.anchor());
        let mut round = self.waiters.hand_over();
        if round.give(Notification::One).is_err() {
            self.stored.set(true);
        }
    }

    /// Notifies all who wait, the longest waiting first; those who come later are not notified.
    ///
    /// The futures that [`notified`](Self::notified) has returned count as waiting although they
    /// have not been polled. What [`notify_one`](Self::notify_one) has stored stays stored.
    ///
    /// ```
    /// # use futures_util::FutureExt;
    /// # use rondel_sync::Notify;
    /// let notify = Notify::new();
    /// let before = notify.notified();
    /// notify.notify_waiters();
    /// assert!(before.now_or_never().is_some());
    /// assert!(notify.notified().now_or_never().is_none());
    /// ```
    pub fn notify_waiters(&self) {
        label::gave(self.waiters.anchor());
        self.rounds.set(self.rounds.get() + 1);
        // Nobody can join while the guard is held, so this ends.
        let mut round = self.waiters.hand_over();
        while round.give(Notification::All).is_ok() {}
    }

    /// How many tasks wait. Futures that have not been polled are not known yet.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Waits to be notified; ready at once, without yielding, if a notification is stored.
    ///
    /// The future takes its place among those of whom [`notify_one`](Self::notify_one) chooses when
    /// it is polled first, but it does not miss a [`notify_waiters`](Self::notify_waiters) from
    /// this call on. So call this, look whether there is still something to wait for, and only then
    /// await.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue. If it had been given the notification
    /// of a [`notify_one`](Self::notify_one) already, that goes to the next in the queue, or is
    /// stored.
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            since: self.rounds.get(),
            waiter: Waiter::new(&self.waiters, ()),
            done: false,
        }
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify")
            .field("stored", &self.stored.get())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Notify::notified`].
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Notified<'a> {
        notify: &'a Notify,
        since: u64,
        #[pin]
        waiter: Waiter<&'a WaitList<(), Notification>, (), Notification>,
        done: bool,
    }

    impl PinnedDrop for Notified<'_> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            match this.waiter.cancel() {
                Some(Notification::One) => this.notify.notify_one(),
                Some(Notification::All) | None => {}
            }
        }
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        assert!(!*this.done, "`Notify::notified` polled after it was ready");
        // Only one who has no place in the queue yet may have been notified in another way than by
        // being handed it. One who was notified with all others leaves what is stored alone.
        let notified = this.waiter.is_idle()
            && (*this.since != this.notify.rounds.get() || this.notify.stored.take());
        if !notified {
            ready!(this.waiter.poll_for(Awaited::Notification, cx));
        }
        *this.done = true;
        Poll::Ready(())
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified")
            .field("notify", self.notify)
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish()
    }
}
