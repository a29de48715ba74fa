//! [`Mutex`]: a value that is lent to one task at a time.

mod guard;
mod lock;

pub use guard::{MutexGuard, OwnedMutexGuard};
pub use lock::{LockMutex, LockMutexOwned};

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::lock::{Lock, Locked};

/// A value that is lent to one task at a time, over points of suspension too.
///
/// A [`Lock`] and what it protects: the value can only be reached through the guard, so it cannot be
/// touched without the lock, nor the lock be kept and forgotten. As fair as that. For tasks of one
/// thread; share it by reference or in an `Rc`.
///
/// A task that panics while it holds the guard releases it, and the value is as it left it: there is
/// no poisoning. What has to be true again on every way out belongs into a guard of your own.
///
/// If the value is never borrowed over an `await`, a `RefCell` does the same at a lower price.
///
/// ```
/// # use futures_util::FutureExt;
/// use rondel_sync::Mutex;
///
/// let log = Mutex::new(String::new());
/// let append = async |words: &str| {
///     let mut log = log.lock().await;
///     log.push_str(words);
/// };
/// append("one ").now_or_never().unwrap();
/// append("two").now_or_never().unwrap();
/// assert_eq!(log.into_inner(), "one two");
/// ```
#[derive(Default)]
pub struct Mutex<T: ?Sized> {
    lock: Lock,
    /// Borrowed by guards only, of which there is one at a time.
    value: RefCell<T>,
}

impl<T> Mutex<T> {
    /// Makes a mutex that nobody holds.
    pub const fn new(value: T) -> Self {
        Self {
            lock: Lock::new(),
            value: RefCell::new(value),
        }
    }

    /// Gives the value back.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the value, behind all who wait already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue. If the value had been handed to it
    /// already, it goes to the next.
    #[inline]
    pub fn lock(&self) -> LockMutex<'_, T> {
        LockMutex::new(self, self.lock.acquire())
    }

    /// Takes the value if nobody has it.
    ///
    /// # Errors
    ///
    /// [`Locked`] if somebody has.
    #[inline]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, Locked> {
        let held = self.lock.try_acquire()?;
        Ok(MutexGuard::new(self, held))
    }

    /// Whether somebody has it.
    #[inline]
    pub fn locked(&self) -> bool {
        self.lock.locked()
    }

    /// How many tasks wait.
    pub fn waiting(&self) -> usize {
        self.lock.waiting()
    }

    /// The value, without waiting: nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: 'static> Mutex<T> {
    /// Waits for the value with a guard that owns a share of the mutex, to be moved into a task or a
    /// struct.
    ///
    /// # Cancel safety
    ///
    /// As with [`lock`](Self::lock).
    ///
    /// ```
    /// # use futures_util::FutureExt;
    /// # use rondel_sync::Mutex;
    /// # use std::rc::Rc;
    /// let count = Rc::new(Mutex::new(0));
    /// let mut held = Rc::clone(&count).lock_owned().now_or_never().unwrap();
    /// *held.get_mut() += 1;
    /// drop(held);
    /// assert_eq!(*count.try_lock()?, 1);
    /// # Ok::<(), rondel_sync::lock::Locked>(())
    /// ```
    pub fn lock_owned(self: Rc<Self>) -> LockMutexOwned<T> {
        LockMutexOwned::new(self)
    }

    /// Takes the value if nobody has it, with a guard that owns a share of the mutex.
    ///
    /// # Errors
    ///
    /// [`Locked`] if somebody has.
    pub fn try_lock_owned(self: Rc<Self>) -> Result<OwnedMutexGuard<T>, Locked> {
        OwnedMutexGuard::take(self)
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("Mutex");
        match self.value.try_borrow() {
            Ok(value) => all.field("value", &&*value),
            Err(_) => all.field("value", &format_args!("<held>")),
        };
        all.field("locked", &self.locked())
            .field("waiting", &self.waiting())
            .finish()
    }
}
