//! [`Semaphore`]: a number of permits, given out in the order in which they are asked for.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::wait_list::{RcList, WaitList, Waiter};

mod acquire;
mod error;
mod permit;

pub use acquire::{Acquire, AcquireOwned};
pub use error::{AddPermitsError, TryAcquireError};
pub use permit::{OwnedSemaphorePermit, SemaphorePermit};

/// A number of permits that tasks acquire, wait for and give back; asyncio's [`Semaphore`], and,
/// made by [`bounded`](Self::bounded), its `BoundedSemaphore`.
///
/// A permit is a guard, and goes back when it is dropped. For tasks of one thread; share it by
/// reference or in an `Rc` (then permits can own it, see [`acquire_owned`](Self::acquire_owned)).
///
/// # Order
///
/// Strictly first come, first served, counted from the first poll of the future. Permits that come
/// back are handed to those who wait there and then, before their tasks run. While somebody waits
/// nobody gets in front of him, not even one who wants less than what is available; so
/// `acquire_many` of a large amount is not starved by small ones, but holds them up. The one
/// exception: when he at the front gives up, those behind who can be served now are served at once.
///
/// # No `close`
///
/// Acquiring cannot fail. tokio's semaphore can be closed, at the price of a `Result` at each
/// acquire which nearly all users unwrap; asyncio's cannot, and there tasks are ended by cancelling
/// them. So it is here: dropping the future that waits is enough. To turn waiting tasks away, race
/// the acquire with an [`Event`](crate::Event).
///
/// [`Semaphore`]: https://docs.python.org/3/library/asyncio-sync.html#asyncio.Semaphore
///
/// ```
/// # use futures_util::future::{join_all, FutureExt};
/// use rondel_sync::Semaphore;
///
/// let connections = Semaphore::new(3);
/// let fetch = async |page: u32| {
///     let _permit = connections.acquire().await;
///     page * 2
/// };
/// let pages = join_all((0..10).map(fetch)).now_or_never().unwrap();
/// assert_eq!(pages.len(), 10);
/// assert_eq!(connections.available_permits(), 3);
/// ```
#[doc(alias = "BoundedSemaphore")]
pub struct Semaphore {
    /// Free, and not promised to anyone. Less than what the one at the front wants.
    available: Cell<usize>,
    /// All there are: available, handed over, or held. At most `limit`, hence giving back cannot
    /// overflow.
    total: Cell<usize>,
    limit: usize,
    waiters: WaitList<usize>,
}

impl Semaphore {
    /// Makes a semaphore with a number of permits, to which more can be [added](Self::add_permits).
    pub const fn new(permits: usize) -> Self {
        Self::with_limit(permits, usize::MAX)
    }

    /// Makes a semaphore that never has more permits than it starts with; asyncio's
    /// `BoundedSemaphore`.
    ///
    /// [`add_permits`](Self::add_permits) can make up for permits that were
    /// [forgotten](SemaphorePermit::forget), but adding one too many is an error: a check for
    /// programs that acquire in one place and give back in another.
    ///
    /// ```
    /// # use rondel_sync::Semaphore;
    /// let slots = Semaphore::bounded(1);
    /// slots.try_acquire()?.forget();
    /// assert!(slots.add_permits(1).is_ok());
    /// assert!(slots.add_permits(1).is_err());
    /// # Ok::<(), rondel_sync::semaphore::TryAcquireError>(())
    /// ```
    pub const fn bounded(permits: usize) -> Self {
        Self::with_limit(permits, permits)
    }

    const fn with_limit(permits: usize, limit: usize) -> Self {
        Self {
            available: Cell::new(permits),
            total: Cell::new(permits),
            limit,
            waiters: WaitList::new(),
        }
    }

    /// How many permits are free. Those who wait may want more than that.
    pub fn available_permits(&self) -> usize {
        self.available.get()
    }

    /// How many tasks wait.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Whether [`acquire`](Self::acquire) would have to wait: nothing is free, or others wait
    /// already.
    pub fn locked(&self) -> bool {
        !self.admits(1)
    }

    /// Acquires a permit; waits until there is one and all who came before have theirs.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue. If a permit had been handed to it
    /// already, the permit goes to the next in the queue, or back.
    pub fn acquire(&self) -> Acquire<'_> {
        self.acquire_many(1)
    }

    /// Acquires a number of permits, all of them or none, as one [`SemaphorePermit`].
    ///
    /// An amount that the semaphore never has waits, and holds up all that come after, until
    /// [`add_permits`](Self::add_permits) makes it possible. An amount of 0 waits for its turn too.
    ///
    /// # Cancel safety
    ///
    /// As with [`acquire`](Self::acquire). While it waits it holds nothing.
    ///
    /// ```
    /// # use futures_util::FutureExt;
    /// # use rondel_sync::Semaphore;
    /// let buffer = Semaphore::new(1024);
    /// let message = buffer.acquire_many(1000).now_or_never().unwrap();
    /// assert!(buffer.acquire_many(100).now_or_never().is_none());
    /// drop(message);
    /// assert!(buffer.acquire_many(100).now_or_never().is_some());
    /// ```
    pub fn acquire_many(&self, permits: usize) -> Acquire<'_> {
        Acquire::new(self, permits)
    }

    /// Acquires a permit that owns a share of the semaphore, to be moved into a task or a struct.
    ///
    /// # Cancel safety
    ///
    /// As with [`acquire`](Self::acquire).
    ///
    /// ```
    /// # use futures_util::FutureExt;
    /// # use rondel_sync::{OwnedSemaphorePermit, Semaphore};
    /// # use std::rc::Rc;
    /// struct Connection {
    ///     slot: OwnedSemaphorePermit,
    /// }
    /// let slots = Rc::new(Semaphore::new(8));
    /// let connect = async || Connection { slot: slots.clone().acquire_owned().await };
    /// let connection = connect().now_or_never().unwrap();
    /// assert_eq!(slots.available_permits(), 7);
    /// drop(connection);
    /// assert_eq!(slots.available_permits(), 8);
    /// ```
    pub fn acquire_owned(self: Rc<Self>) -> AcquireOwned {
        self.acquire_many_owned(1)
    }

    /// Acquires a number of permits that own a share of the semaphore; see
    /// [`acquire_many`](Self::acquire_many).
    ///
    /// # Cancel safety
    ///
    /// As with [`acquire_many`](Self::acquire_many).
    pub fn acquire_many_owned(self: Rc<Self>, permits: usize) -> AcquireOwned {
        AcquireOwned::new(Waiter::new(
            RcList::new(self, |this| &this.waiters),
            permits,
        ))
    }

    /// Acquires a permit if there is one and nobody waits.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`] if [`acquire`](Self::acquire) would have to wait.
    ///
    /// ```
    /// # use rondel_sync::Semaphore;
    /// let one = Semaphore::new(1);
    /// let permit = one.try_acquire()?;
    /// let refused = one.try_acquire().unwrap_err();
    /// assert_eq!((refused.available, refused.waiting), (0, 0));
    /// # Ok::<(), rondel_sync::semaphore::TryAcquireError>(())
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Acquires a number of permits, all of them or none, if they are there and nobody waits.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`] if [`acquire_many`](Self::acquire_many) would have to wait.
    #[inline]
    pub fn try_acquire_many(&self, permits: usize) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.take(permits)?;
        Ok(SemaphorePermit::new(self, permits))
    }

    /// [`try_acquire`](Self::try_acquire) for a permit that owns a share of the semaphore.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`] if [`acquire_owned`](Self::acquire_owned) would have to wait.
    pub fn try_acquire_owned(self: Rc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// [`try_acquire_many`](Self::try_acquire_many) for a permit that owns a share of the
    /// semaphore.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`] if [`acquire_many_owned`](Self::acquire_many_owned) would have to wait.
    pub fn try_acquire_many_owned(
        self: Rc<Self>,
        permits: usize,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.take(permits)?;
        Ok(OwnedSemaphorePermit::new(self, permits))
    }

    /// Adds permits, and hands them to those who wait.
    ///
    /// With [`SemaphorePermit::forget`] this is asyncio's `release`, for permits that are acquired
    /// in one place and given back in another.
    ///
    /// # Errors
    ///
    /// [`AddPermitsError`], and nothing is added, if the permits in existence, free and held, would
    /// be more than `usize::MAX`, or than a [bounded](Self::bounded) semaphore started with.
    #[doc(alias = "release")]
    pub fn add_permits(&self, permits: usize) -> Result<(), AddPermitsError> {
        let total = self.total.get();
        match total.checked_add(permits) {
            Some(sum) if sum <= self.limit => self.total.set(sum),
            _ => {
                return Err(AddPermitsError {
                    asked: permits,
                    total,
                    limit: self.limit,
                });
            }
        }
        self.give_back(permits);
        Ok(())
    }

    /// Whether one who comes now and wants that many gets them at once.
    #[inline]
    fn admits(&self, permits: usize) -> bool {
        self.available.get() >= permits && self.waiters.is_empty()
    }

    #[inline]
    fn take(&self, permits: usize) -> Result<(), TryAcquireError> {
        if !self.admits(permits) {
            return Err(TryAcquireError {
                asked: permits,
                available: self.available.get(),
                waiting: self.waiters.len(),
            });
        }
        self.available.set(self.available.get() - permits);
        Ok(())
    }

    /// Makes permits of the total free again, or hands them to those who wait.
    #[inline]
    fn give_back(&self, permits: usize) {
        self.available.set(self.available.get() + permits);
        self.serve();
    }

    /// Hands what is free to those at the front, and wakes them. Runs foreign code at its end.
    #[inline]
    fn serve(&self) {
        let mut round = self.waiters.hand_over();
        while let Some(wanted) = round.front() {
            let Some(rest) = self.available.get().checked_sub(wanted) else {
                break;
            };
            self.available.set(rest);
            round
                .give(())
                .expect("the waiter at the front is still there, since nothing ran in between");
        }
    }

    /// Takes held permits out of existence.
    fn forget(&self, permits: usize) {
        self.total.set(self.total.get() - permits);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available.get())
            .field("total", &self.total.get())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
