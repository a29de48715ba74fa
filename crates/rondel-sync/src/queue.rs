//! [`Queue`], [`PriorityQueue`] and [`LifoQueue`]: items handed from tasks to tasks.
//!
//! The three are one type, [`BaseQueue`], over different [stores](Store). A queue is shared by
//! reference or in an `Rc`; for two ends that notice when the other one is gone, take a channel
//! ([`mpsc`](crate::mpsc)).
//!
//! ```
//! # use futures_util::future::{join, FutureExt};
//! use rondel_sync::Queue;
//!
//! let jobs = Queue::new(2);
//! let boss = async {
//!     for n in 1..=5 {
//!         jobs.put(n).await?;
//!     }
//!     jobs.join().await;
//!     jobs.shutdown(false);
//!     Ok::<_, rondel_sync::queue::QueueShutDown<i32>>("all done")
//! };
//! let worker = async {
//!     let mut sum = 0;
//!     while let Ok(n) = jobs.get().await {
//!         sum += n;
//!         jobs.task_done().unwrap();
//!     }
//!     sum
//! };
//! # let waker = std::task::Waker::noop();
//! # let mut both = std::pin::pin!(join(boss, worker));
//! # let (done, sum) = loop {
//! #     let mut cx = std::task::Context::from_waker(waker);
//! #     if let std::task::Poll::Ready(both) = both.as_mut().poll(&mut cx) { break both; }
//! # };
//! // Run together:
//! assert_eq!((done, sum), (Ok("all done"), 15));
//! ```

use std::cell::Cell;
use std::fmt;

use crate::buffer::Buffer;
use crate::label;
use crate::wait_list::WaitList;

mod error;
mod futures;

pub use crate::store::{Fifo, Lifo, Lowest, Store};
pub use error::{GetNowaitError, PutNowaitError, QueueShutDown, TaskDoneError};
pub use futures::{Get, Items, Join, Put};

/// A queue whose items come out as they went in; asyncio's [`Queue`]. See [`BaseQueue`].
///
/// [`Queue`]: https://docs.python.org/3/library/asyncio-queue.html#asyncio.Queue
///
/// ```
/// # use futures_util::FutureExt;
/// use rondel_sync::Queue;
///
/// let queue = Queue::new(0);
/// queue.put_nowait("first")?;
/// queue.put_nowait("second")?;
/// assert_eq!(queue.get().now_or_never(), Some(Ok("first")));
/// # Ok::<(), rondel_sync::queue::PutNowaitError<&str>>(())
/// ```
pub type Queue<T> = BaseQueue<Fifo<T>>;

/// A queue that gives out its lowest item first, and equal ones in the order in which they were put;
/// asyncio's [`PriorityQueue`]. See [`BaseQueue`].
///
/// For the highest first wrap items in [`std::cmp::Reverse`].
///
/// The items' `Ord` must not use the queue they are in: such a call panics. A comparison that panics
/// leaves the queue as it was.
///
/// [`PriorityQueue`]: https://docs.python.org/3/library/asyncio-queue.html#asyncio.PriorityQueue
///
/// ```
/// # use futures_util::FutureExt;
/// use rondel_sync::PriorityQueue;
///
/// let queue = PriorityQueue::new(0);
/// queue.put_nowait((2, "later"))?;
/// queue.put_nowait((1, "now"))?;
/// assert_eq!(queue.get().now_or_never(), Some(Ok((1, "now"))));
/// # Ok::<(), rondel_sync::queue::PutNowaitError<(i32, &str)>>(())
/// ```
pub type PriorityQueue<T> = BaseQueue<Lowest<T>>;

/// A queue that gives out its newest item first; asyncio's [`LifoQueue`]. See [`BaseQueue`].
///
/// [`LifoQueue`]: https://docs.python.org/3/library/asyncio-queue.html#asyncio.LifoQueue
///
/// ```
/// # use futures_util::FutureExt;
/// use rondel_sync::LifoQueue;
///
/// let queue = LifoQueue::new(0);
/// queue.put_nowait("old")?;
/// queue.put_nowait("new")?;
/// assert_eq!(queue.get().now_or_never(), Some(Ok("new")));
/// # Ok::<(), rondel_sync::queue::PutNowaitError<&str>>(())
/// ```
pub type LifoQueue<T> = BaseQueue<Lifo<T>>;

/// What is under [`Queue`], [`PriorityQueue`] and [`LifoQueue`]; use it by these names.
///
/// # Order
///
/// Those who wait are served strictly first come, first served, counted from the first poll. What
/// they wait for, an item or room for one, is promised to them there and then, before their tasks
/// run, and nobody gets in between. *Which* item it is shows when the task runs: the first by the
/// queue's order at that moment, as with asyncio. So a task that waits on a priority queue gets the
/// best of a batch, not the one that came first.
///
/// [`len`](Self::len) counts what is promised to nobody.
///
/// # Panics
///
/// A waker that panics lets the call that woke it panic, after the call has done its work; but an
/// item that was being got goes back to where it was.
pub struct BaseQueue<S: Store> {
    buffer: Buffer<S>,
    maxsize: usize,
    /// Items promised to nobody. Somebody waits for an item only if this is 0.
    available: Cell<usize>,
    getters: WaitList<(), Turn>,
    unfinished: Cell<usize>,
    joiners: WaitList,
}

/// What a waiting `get` is handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The right to one item, unless all have been thrown away since.
    Item,
    /// The news that none will come.
    End,
}

impl<S: Store> BaseQueue<S> {
    /// Makes a queue for at most `maxsize` items; with 0 the queue is **unbounded**, as in asyncio.
    ///
    /// Memory is taken as it is needed, and kept.
    pub fn new(maxsize: usize) -> Self {
        Self {
            buffer: Buffer::new((maxsize > 0).then_some(maxsize)),
            maxsize,
            available: Cell::new(0),
            getters: WaitList::new(),
            unfinished: Cell::new(0),
            joiners: WaitList::new(),
        }
    }

    /// How many items there may be; 0 if any number.
    pub fn maxsize(&self) -> usize {
        self.maxsize
    }

    /// How many items can be got at once. Those promised to a `get` that waits no longer count.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.available.get()
    }

    /// Whether [`get`](Self::get) would have to wait.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`put`](Self::put) would have to wait. Never so if unbounded or shut down.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        !self.buffer.has_room() && !self.is_shut_down()
    }

    /// Whether [`shutdown`](Self::shutdown) was called.
    pub fn is_shut_down(&self) -> bool {
        self.buffer.is_closed()
    }

    /// How many tasks wait for an item.
    pub fn waiting_getters(&self) -> usize {
        self.getters.len()
    }

    /// How many tasks wait for room.
    pub fn waiting_putters(&self) -> usize {
        self.buffer.putters().len()
    }

    /// Items put and not yet reported by [`task_done`](Self::task_done).
    pub fn unfinished(&self) -> usize {
        self.unfinished.get()
    }

    /// Puts an item; waits for room if the queue is full.
    ///
    /// # Errors
    ///
    /// [`QueueShutDown`] with the item if the queue is shut down, before or while this waits.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the future has put nothing: the item is dropped with it, its
    /// place goes to the next. To keep the item, race [`put_nowait`](Self::put_nowait).
    pub fn put(&self, item: S::Item) -> Put<'_, S> {
        Put::new(self, item)
    }

    /// Gets the next item; waits for one if there is none.
    ///
    /// # Errors
    ///
    /// [`QueueShutDown`] if the queue is shut down and nothing is left that is not promised to
    /// others. Should one of those give up, his item is there for a later call.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped: what had been promised to it goes to the next
    /// who waits, or stays in the queue.
    ///
    /// ```
    /// # use futures_util::FutureExt;
    /// # use std::pin::pin;
    /// # use rondel_sync::Queue;
    /// let queue = Queue::new(0);
    /// {
    ///     let mut get = pin!(queue.get());
    ///     assert!(get.as_mut().now_or_never().is_none());
    ///     queue.put_nowait(7)?;
    ///     assert!(queue.is_empty(), "it belongs to the one who waited");
    /// }
    /// assert_eq!(queue.get_nowait(), Ok(7));
    /// # Ok::<(), rondel_sync::queue::PutNowaitError<i32>>(())
    /// ```
    pub fn get(&self) -> Get<'_, S> {
        Get::new(self)
    }

    /// Puts an item if there is room that nobody waits for.
    ///
    /// # Errors
    ///
    /// [`PutNowaitError`] with the item.
    #[inline]
    pub fn put_nowait(&self, item: S::Item) -> Result<(), PutNowaitError<S::Item>> {
        match self.buffer.try_push(item) {
            Ok(()) => {
                self.added();
                Ok(())
            }
            Err(refused) if refused.closed => Err(PutNowaitError::ShutDown(refused.item)),
            Err(refused) => Err(PutNowaitError::Full(refused.item)),
        }
    }

    /// Gets the next item if there is one that nobody waits for.
    ///
    /// # Errors
    ///
    /// [`GetNowaitError::Empty`] if there is none, [`GetNowaitError::ShutDown`] if there will be
    /// none, either.
    #[inline]
    pub fn get_nowait(&self) -> Result<S::Item, GetNowaitError> {
        let available = self.available.get();
        if available == 0 {
            return Err(if self.is_shut_down() {
                GetNowaitError::ShutDown
            } else {
                GetNowaitError::Empty
            });
        }
        let item = self.buffer.take();
        self.available.set(available - 1);
        Ok(self.let_in(item.expect("what is available is in the store")))
    }

    /// The items as a stream, which ends when the queue is shut down and nothing is left. Several
    /// streams and [`get`](Self::get)s share the items.
    ///
    /// ```
    /// # use futures_util::{FutureExt, StreamExt};
    /// # use rondel_sync::Queue;
    /// let queue = Queue::new(0);
    /// queue.put_nowait(1)?;
    /// queue.put_nowait(2)?;
    /// queue.shutdown(false);
    /// let all: Vec<_> = queue.stream().collect().now_or_never().unwrap();
    /// assert_eq!(all, [1, 2]);
    /// # Ok::<(), rondel_sync::queue::PutNowaitError<i32>>(())
    /// ```
    pub fn stream(&self) -> Items<'_, S> {
        Items::new(self)
    }

    /// Reports that an item that was got has been dealt with, for [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// [`TaskDoneError`] if called more often than items were put; nothing changes then.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        let rest = self.unfinished.get().checked_sub(1).ok_or(TaskDoneError)?;
        self.set_unfinished(rest);
        if rest == 0 {
            let mut round = self.joiners.hand_over();
            while round.give(()).is_ok() {}
        }
        Ok(())
    }

    /// Waits until each item put has been reported by [`task_done`](Self::task_done); ready at once
    /// if that is so.
    ///
    /// Who waits when the last report comes gets through, even if more is put before he runs.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only takes it off the list of those who wait.
    pub fn join(&self) -> Join<'_, S> {
        Join::new(self)
    }

    /// Shuts the queue down, for good; asyncio's [`shutdown`].
    ///
    /// Putting fails from now on, also for those who wait for room. Getting goes on until nothing is
    /// left, then it fails; those who wait for an item now fail now. With `immediate` the items left
    /// are dropped and count as done, so that [`join`](Self::join) only waits for those that were
    /// got before. May be called again, to make it immediate.
    ///
    /// [`shutdown`]: https://docs.python.org/3/library/asyncio-queue.html#asyncio.Queue.shutdown
    pub fn shutdown(&self, immediate: bool) {
        let _putters = self.buffer.close();
        let mut getters = self.getters.hand_over();
        while getters.give(Turn::End).is_ok() {}
        if !immediate {
            return;
        }
        let mut joiners = self.joiners.hand_over();
        let dropped = self.buffer.len();
        let items = self.buffer.clear();
        self.available.set(0);
        self.set_unfinished(self.unfinished.get().saturating_sub(dropped));
        if self.unfinished.get() == 0 {
            while joiners.give(()).is_ok() {}
        }
        // Before the guards: should a destructor panic, they still wake everybody.
        drop(items);
    }

    /// An item has been put into the store: counts it, and promises it to the first who waits.
    #[inline]
    fn added(&self) {
        self.set_unfinished(self.unfinished.get() + 1);
        self.offer();
    }

    #[inline]
    fn set_unfinished(&self, unfinished: usize) {
        self.unfinished.set(unfinished);
        label::sets_unfinished(self.buffer.anchor(), unfinished);
    }

    #[inline]
    fn offer(&self) {
        if self.getters.is_empty() {
            self.available.set(self.available.get() + 1);
        } else {
            // It runs wakers at its end.
            let given = self.getters.hand_over().give(Turn::Item);
            debug_assert!(given.is_ok(), "nothing ran in between");
        }
    }

    /// One to whom an item was promised does not want it any more.
    fn pass_turn_on(&self) {
        // Else all items have been thrown away, and promises with them.
        if self.buffer.len() > 0 {
            self.offer();
        }
    }

    /// Takes the item that had been promised.
    #[inline]
    fn redeem(&self) -> Option<S::Item> {
        let promise = Promise(self);
        let item = self.buffer.take();
        std::mem::forget(promise);
        item.map(|item| self.let_in(item))
    }

    /// An item has been taken out of the store: its place goes to the first who waits for one.
    #[inline]
    fn let_in(&self, item: S::Item) -> S::Item {
        match self.buffer.vacate() {
            None => item,
            Some(round) => {
                let mut taken = Taken {
                    queue: self,
                    item: Some(item),
                };
                drop(round);
                taken.item.take().expect("it was put there just now")
            }
        }
    }
}

/// A promised item, which is promised to the next one if a comparison panics.
struct Promise<'a, S: Store>(&'a BaseQueue<S>);

impl<S: Store> Drop for Promise<'_, S> {
    fn drop(&mut self) {
        self.0.pass_turn_on();
    }
}

/// An item on its way out, which goes back if a waker panics.
struct Taken<'a, S: Store> {
    queue: &'a BaseQueue<S>,
    item: Option<S::Item>,
}

impl<S: Store> Drop for Taken<'_, S> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take()
            && self.queue.buffer.put_back(item)
        {
            self.queue.offer();
        }
    }
}

impl<S: Store> fmt::Debug for BaseQueue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("maxsize", &self.maxsize)
            .field("unfinished", &self.unfinished())
            .field("waiting_getters", &self.waiting_getters())
            .field("waiting_putters", &self.waiting_putters())
            .field("is_shut_down", &self.is_shut_down())
            .finish_non_exhaustive()
    }
}
