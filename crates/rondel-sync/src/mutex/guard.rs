//! What whoever holds a mutex has in hand.

use std::cell::{Ref, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::Mutex;
use crate::label;
use crate::lock::{LockGuard, Locked};

/// The value of a [`Mutex`], on loan until this is dropped.
///
/// Giving it back hands it to the one who waits longest and calls that one's waker; a waker that
/// panics does so here.
#[must_use = "a mutex that is released at once protects nothing"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    // Before the lock: the next one finds the value free.
    value: RefMut<'a, T>,
    held: LockGuard<'a>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    #[inline(always)]
    pub(super) fn new(mutex: &'a Mutex<T>, held: LockGuard<'a>) -> Self {
        Self {
            mutex,
            // Only guards borrow it, and this is the only one.
            value: mutex.value.borrow_mut(),
            held,
        }
    }

    /// The mutex that is held.
    pub const fn mutex(guard: &Self) -> &'a Mutex<T> {
        guard.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// The value of a [`Mutex`], on loan with a share of the mutex until this is dropped. See
/// [`MutexGuard`].
#[must_use = "a mutex that is released at once protects nothing"]
#[clippy::has_significant_drop]
pub struct OwnedMutexGuard<T> {
    mutex: Rc<Mutex<T>>,
}

impl<T> OwnedMutexGuard<T> {
    /// The lock is held already.
    pub(super) fn new(mutex: Rc<Mutex<T>>) -> Self {
        // Not that it holds it: it may hand it on to another task.
        label::took(mutex.lock.waiters.anchor());
        Self { mutex }
    }

    pub(super) fn take(mutex: Rc<Mutex<T>>) -> Result<Self, Locked> {
        if mutex.lock.take() {
            Ok(Self::new(mutex))
        } else {
            Err(Locked)
        }
    }

    /// The value.
    ///
    /// # Panics
    ///
    /// If the loan that [`get_mut`](Self::get_mut) gave was leaked (`mem::forget`). A leaked loan,
    /// of either kind, outlasts this guard: whoever locks the mutex next panics when he wants the
    /// value to himself.
    pub fn get(&self) -> Ref<'_, T> {
        // Only guards borrow it, this is the only one, and `get_mut` needs it to itself.
        self.mutex.value.borrow()
    }

    /// The value, to be changed.
    ///
    /// # Panics
    ///
    /// If an earlier loan was leaked; see [`get`](Self::get).
    pub fn get_mut(&mut self) -> RefMut<'_, T> {
        self.mutex.value.borrow_mut()
    }

    /// The mutex that is held.
    pub const fn mutex(guard: &Self) -> &Rc<Mutex<T>> {
        &guard.mutex
    }
}

impl<T> Drop for OwnedMutexGuard<T> {
    fn drop(&mut self) {
        self.mutex.lock.release();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexGuard")
            .field("value", &&*self.value)
            .field("waiting", &self.held.lock().waiting())
            .finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for OwnedMutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedMutexGuard")
            .field("value", &&*self.get())
            .field("waiting", &self.mutex.waiting())
            .finish()
    }
}
