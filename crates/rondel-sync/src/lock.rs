//! [`Lock`]: mutual exclusion without a value; asyncio's `Lock`.
//!
//! What a lock costs that nobody waits for is what stays of it when all of it is inlined, a third of what it takes with calls in it. With
//! the look at a flag for [labels](crate::label) the compiler would not do that by itself: hence `inline(always)` on the way there and back.

pub(crate) mod acquire;
mod guard;

pub use acquire::{Acquire, AcquireOwned};
pub use guard::{LockGuard, OwnedLockGuard};

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use crate::label;
use crate::wait_list::{RcList, WaitList, Waiter};

/// Lets one task at a time through; asyncio's [`Lock`].
///
/// It protects what the program says it protects. If that is a value, take a
/// [`Mutex`](crate::Mutex), which lends it only to who holds the lock. Between two points of
/// suspension nothing needs protection in the first place: tasks of one thread do not interrupt
/// each other. For tasks of one thread; share it by reference or in an `Rc`.
///
/// It is fair: whoever waits longest is handed the lock when it is released, and who comes later
/// finds it taken, also the task that has just released it.
///
/// [`Lock`]: https://docs.python.org/3/library/asyncio-sync.html#asyncio.Lock
///
/// ```
/// # use futures_util::FutureExt;
/// # use std::pin::pin;
/// use rondel_sync::Lock;
///
/// let lock = Lock::new();
/// let held = lock.acquire().now_or_never().unwrap();
/// let mut second = pin!(lock.acquire());
/// assert!(second.as_mut().now_or_never().is_none());
/// drop(held);
/// assert!(lock.try_acquire().is_err(), "it belongs to the one who waited");
/// assert!(second.now_or_never().is_some());
/// ```
#[derive(Default)]
pub struct Lock {
    /// Also while it is on its way from one holder to the next. Nobody waits while it is not.
    locked: Cell<bool>,
    pub(crate) waiters: WaitList,
}

impl Lock {
    /// Makes a lock that nobody holds.
    pub const fn new() -> Self {
        Self {
            locked: Cell::new(false),
            waiters: WaitList::new(),
        }
    }

    /// Waits for the lock, behind all who wait already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue. If the lock had been handed to it
    /// already, it goes to the next.
    #[inline(always)]
    pub fn acquire(&self) -> Acquire<'_> {
        Acquire::new(self)
    }

    /// Waits for the lock with a guard that owns a share of it, to be moved into a task or a struct.
    ///
    /// # Cancel safety
    ///
    /// As with [`acquire`](Self::acquire).
    pub fn acquire_owned(self: Rc<Self>) -> AcquireOwned {
        AcquireOwned::new(Waiter::new(RcList::new(self, |this| &this.waiters), ()))
    }

    /// Takes the lock if nobody holds it.
    ///
    /// # Errors
    ///
    /// [`Locked`] if somebody does.
    #[inline(always)]
    pub fn try_acquire(&self) -> Result<LockGuard<'_>, Locked> {
        if self.take() {
            Ok(LockGuard::new(self))
        } else {
            Err(Locked)
        }
    }

    /// Takes the lock if nobody holds it, with a guard that owns a share of it.
    ///
    /// # Errors
    ///
    /// [`Locked`] if somebody does.
    pub fn try_acquire_owned(self: Rc<Self>) -> Result<OwnedLockGuard, Locked> {
        if self.take() {
            Ok(OwnedLockGuard::new(self))
        } else {
            Err(Locked)
        }
    }

    /// Whether somebody holds it.
    #[inline(always)]
    pub fn locked(&self) -> bool {
        self.locked.get()
    }

    /// How many tasks wait.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Takes it, unless somebody has it.
    #[inline(always)]
    pub(crate) fn take(&self) -> bool {
        !self.locked.replace(true)
    }

    /// Hands it to the next, or lays it down.
    #[inline(always)]
    pub(crate) fn release(&self) {
        if self.waiters.is_empty() {
            // Who had it stays noted: nobody asks before the next one has it.
            self.locked.set(false);
        } else {
            self.pass_on();
        }
    }

    #[cold]
    #[inline(never)]
    fn pass_on(&self) {
        // On its way it is nobody's.
        label::lets_go(self.waiters.anchor());
        if self.waiters.hand_over().give(()).is_err() {
            unreachable!("somebody waits");
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("locked", &self.locked())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// Somebody else holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("somebody else holds the lock")
    }
}

impl Error for Locked {}
