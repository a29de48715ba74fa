//! What whoever reads or writes has in hand.

use std::cell::{Ref, RefMut};
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};

use super::{Access, RwLock};
use crate::label;

/// The value of an [`RwLock`], to be read until this is dropped.
///
/// Letting go may hand the lock to a writer who waits and calls his waker; a waker that panics does so
/// here.
#[must_use = "a lock that is released at once protects nothing"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    // Before the token: the next one finds the value free.
    value: Ref<'a, T>,
    _token: Token<'a, T>,
}

/// The value of an [`RwLock`], to be written until this is dropped.
///
/// Letting go hands the lock to those who wait and calls their wakers; a waker that panics does so
/// here.
#[must_use = "a lock that is released at once protects nothing"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    // Before the token: the next one finds the value free.
    value: RefMut<'a, T>,
    token: Token<'a, T>,
}

/// The right to be inside.
struct Token<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    access: Access,
}

impl<T: ?Sized> Drop for Token<'_, T> {
    fn drop(&mut self) {
        self.lock.leave(self.access);
    }
}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// The lock is held already.
    pub(super) fn new(lock: &'a RwLock<T>) -> Self {
        // Of several readers the last: it may go before the others.
        label::took(lock.waiters.anchor());
        Self {
            // Nobody writes as long as there are readers.
            value: lock.value.borrow(),
            _token: Token {
                lock,
                access: Access::Read,
            },
        }
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// The lock is held already.
    pub(super) fn new(lock: &'a RwLock<T>) -> Self {
        label::holds(lock.waiters.anchor());
        Self {
            // Nobody else is inside.
            value: lock.value.borrow_mut(),
            token: Token {
                lock,
                access: Access::Write,
            },
        }
    }

    /// Goes on as a reader; nobody writes in between. Readers at the front of the queue are let in.
    ///
    /// ```
    /// # use rondel_sync::{RwLock, RwLockWriteGuard};
    /// let count = RwLock::new(0);
    /// let mut writing = count.try_write()?;
    /// *writing += 1;
    /// let reading = RwLockWriteGuard::downgrade(writing);
    /// assert_eq!(*reading + *count.try_read()?, 2);
    /// # Ok::<(), rondel_sync::lock::Locked>(())
    /// ```
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        let Self { value, token } = guard;
        let lock = token.lock;
        mem::forget(token);
        drop(value);
        // The new guard first: a waker that panics below must find it responsible.
        let reading = RwLockReadGuard::new(lock);
        lock.downgrade();
        reading
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RwLockReadGuard")
            .field(&&*self.value)
            .finish()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RwLockWriteGuard")
            .field(&&*self.value)
            .finish()
    }
}
