//! [`Event`]: a flag that tasks wait for.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::label::{self, Awaited};
use crate::wait_list::{WaitList, Waiter};

/// A flag that any number of tasks can wait for; asyncio's [`Event`].
///
/// It starts unset. [`set`](Self::set) lets everybody through, those who wait now and those who
/// come later, until [`clear`](Self::clear). For tasks of one thread; share it by reference or in
/// an `Rc`.
///
/// To hand a value over once, use a [`oneshot`](crate::oneshot); to let a number of tasks through,
/// a [`Semaphore`](crate::Semaphore).
///
/// [`Event`]: https://docs.python.org/3/library/asyncio-sync.html#asyncio.Event
///
/// ```
/// # use futures_util::future::FutureExt;
/// # use std::pin::pin;
/// use rondel_sync::Event;
///
/// let ready = Event::new();
/// let mut serve = pin!(async {
///     ready.wait().await;
///     "served"
/// });
/// assert_eq!(serve.as_mut().now_or_never(), None);
/// ready.set();
/// assert_eq!(serve.now_or_never(), Some("served"));
/// ```
#[derive(Default)]
pub struct Event {
    set: Cell<bool>,
    // Nobody waits while `set` is true.
    waiters: WaitList,
}

impl Event {
    /// Makes an event that is not set.
    pub const fn new() -> Self {
        Self {
            set: Cell::new(false),
            waiters: WaitList::new(),
        }
    }

    /// Sets the flag and wakes all who wait, the longest waiting first.
    ///
    /// Those who wait at this moment get through even if the event is cleared before they run, as
    /// with asyncio:
    ///
    /// ```
    /// # use futures_util::future::FutureExt;
    /// # use rondel_sync::Event;
    /// # use std::pin::pin;
    /// let pulse = Event::new();
    /// let mut before = pin!(pulse.wait());
    /// assert!(before.as_mut().now_or_never().is_none());
    /// pulse.set();
    /// pulse.clear();
    /// assert!(before.now_or_never().is_some());
    /// assert!(pulse.wait().now_or_never().is_none());
    /// ```
    pub fn set(&self) {
        self.set.set(true);
        label::gave(self.waiters.anchor());
        let mut round = self.waiters.hand_over();
        while round.give(()).is_ok() {}
    }

    /// Resets the flag: from now on [`wait`](Self::wait) waits for the next [`set`](Self::set).
    pub fn clear(&self) {
        self.set.set(false);
    }

    /// Whether the flag is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// How many tasks wait.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Waits until the event is set; ready at once, without yielding, if it is.
    ///
    /// The task waits from the first poll on: a `set` and `clear` before that go unnoticed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only takes it off the list of those who wait.
    pub fn wait(&self) -> Wait<'_> {
        Wait {
            event: self,
            waiter: Waiter::new(&self.waiters, ()),
            done: false,
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiting", &self.waiting())
            .finish()
    }
}

pin_project! {
    /// The future of [`Event::wait`].
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Wait<'a> {
        event: &'a Event,
        #[pin]
        waiter: Waiter<&'a WaitList>,
        done: bool,
    }
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        assert!(!*this.done, "`Event::wait` polled after it was ready");
        // One who waits goes by what he was handed, not by the flag, which may have been cleared
        // again.
        if !(this.waiter.is_idle() && this.event.is_set()) {
            ready!(this.waiter.poll_for(Awaited::Event, cx));
        }
        *this.done = true;
        Poll::Ready(())
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("event", self.event)
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish()
    }
}
