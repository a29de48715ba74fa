//! [`Condition`]: waiting for something to become true of what a lock protects.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};

use crate::label::{self, Awaited};
use crate::lock::{Lock, LockGuard};
use crate::mutex::{Mutex, MutexGuard};
use crate::wait_list::{WaitList, Waiter};

/// Where tasks wait for something to become true of what a [`Mutex`] or [`Lock`] protects; asyncio's
/// [`Condition`].
///
/// The guard goes into [`wait`](Self::wait) and comes back out of it: meanwhile others have the lock.
/// Whoever changes what is waited for [notifies](Self::notify) one, some or all of those who wait;
/// each then waits for the lock, in the order of the notifications. Notifying does not need the lock
/// (asyncio's does): but change the value under the lock, or a task between its look and its wait
/// misses the notification.
///
/// One condition may serve several locks, and a lock several conditions. For tasks of one thread.
///
/// [`Condition`]: https://docs.python.org/3/library/asyncio-sync.html#asyncio.Condition
///
/// ```
/// # use futures_util::FutureExt;
/// # use std::pin::pin;
/// use rondel_sync::{Condition, Mutex};
///
/// let (stock, changed) = (Mutex::new(0), Condition::new());
/// let mut buy = pin!(async {
///     let stock = stock.lock().await;
///     let mut stock = changed.wait_for(stock, |stock| *stock > 0).await;
///     *stock -= 1;
/// });
/// assert!(buy.as_mut().now_or_never().is_none());
/// *stock.try_lock()? += 1;
/// changed.notify_one();
/// assert!(buy.now_or_never().is_some());
/// assert_eq!(*stock.try_lock()?, 0);
/// # Ok::<(), rondel_sync::lock::Locked>(())
/// ```
#[derive(Default)]
pub struct Condition {
    waiters: WaitList,
}

impl Condition {
    /// Makes a condition that nobody waits for.
    pub const fn new() -> Self {
        Self {
            waiters: WaitList::new(),
        }
    }

    /// Releases the lock, waits for a notification, and takes the lock again, behind all who wait for
    /// it already.
    ///
    /// What was waited for may have changed again by then: look, or use
    /// [`wait_for`](Self::wait_for). There are no spurious wake-ups.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the lock is *not* taken again: the guard went in, so there is no code left that could
    /// rely on it. A notification that had been given to this wait goes to the next one, also while
    /// it was waiting for the lock.
    pub async fn wait<G: Relock>(&self, guard: G) -> G {
        let mut wait = Wait {
            condition: self,
            waiter: pin!(Waiter::new(&self.waiters, ())),
            notified: false,
        };
        // The place first: who gets the lock by its release may notify at once.
        wait.waiter.as_mut().enqueue();
        let lock = guard.release();
        poll_fn(|cx| wait.waiter.as_mut().poll_for(Awaited::Notification, cx)).await;
        wait.notified = true;
        let guard = G::acquire(lock).await;
        wait.notified = false;
        guard
    }

    /// Waits until `is_so` of what the mutex protects; at once if it is.
    ///
    /// # Cancel safety
    ///
    /// As with [`wait`](Self::wait).
    pub async fn wait_for<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut is_so: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while !is_so(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Notifies the `count` who wait longest, or as many as there are; gives their number.
    pub fn notify(&self, count: usize) -> usize {
        label::gave(self.waiters.anchor());
        let mut round = self.waiters.hand_over();
        (0..count).take_while(|_| round.give(()).is_ok()).count()
    }

    /// Notifies the one who waits longest; `false` if nobody does.
    pub fn notify_one(&self) -> bool {
        self.notify(1) == 1
    }

    /// Notifies all who wait; gives their number.
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    /// How many wait for a notification; those who have had one and wait for the lock do not count.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }
}

/// A wait under way. Dropped with a notification in hand, it passes it on.
struct Wait<'c, 'w> {
    condition: &'c Condition,
    waiter: Pin<&'w mut Waiter<&'c WaitList>>,
    notified: bool,
}

impl Drop for Wait<'_, '_> {
    fn drop(&mut self) {
        if self.waiter.as_mut().cancel().is_some() || self.notified {
            self.condition.notify_one();
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// A guard that can be given up and got again: [`MutexGuard`] and [`LockGuard`].
///
/// Not to be implemented elsewhere.
pub trait Relock: Sealed + Sized {}

use sealed::Sealed;

mod sealed {
    use super::Future;

    #[allow(unnameable_types, reason = "this is what seals `Relock`")]
    pub trait Sealed: Sized {
        type Lock;

        fn release(self) -> Self::Lock;

        fn acquire(lock: Self::Lock) -> impl Future<Output = Self>;
    }
}

impl<T: ?Sized> Relock for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> Sealed for MutexGuard<'a, T> {
    type Lock = &'a Mutex<T>;

    fn release(self) -> &'a Mutex<T> {
        Self::mutex(&self)
    }

    fn acquire(mutex: &'a Mutex<T>) -> impl Future<Output = Self> {
        mutex.lock()
    }
}

impl Relock for LockGuard<'_> {}

impl<'a> Sealed for LockGuard<'a> {
    type Lock = &'a Lock;

    fn release(self) -> &'a Lock {
        self.lock()
    }

    fn acquire(lock: &'a Lock) -> impl Future<Output = Self> {
        lock.acquire()
    }
}
