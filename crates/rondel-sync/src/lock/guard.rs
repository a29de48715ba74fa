//! What whoever holds a lock has in hand.

use std::fmt;
use std::rc::Rc;

use super::Lock;
use crate::label;

/// The [`Lock`], held; released when dropped.
///
/// Releasing hands it to the one who waits longest and calls that one's waker; a waker that panics
/// does so here.
#[must_use = "a lock that is released at once protects nothing"]
#[clippy::has_significant_drop]
pub struct LockGuard<'a> {
    lock: &'a Lock,
}

/// The [`Lock`], held, with a share of it; released when dropped. See [`LockGuard`].
#[must_use = "a lock that is released at once protects nothing"]
#[clippy::has_significant_drop]
pub struct OwnedLockGuard {
    lock: Rc<Lock>,
}

impl<'a> LockGuard<'a> {
    #[inline(always)]
    pub(super) fn new(lock: &'a Lock) -> Self {
        label::holds(lock.waiters.anchor());
        Self { lock }
    }

    /// The lock that is held.
    pub const fn lock(&self) -> &'a Lock {
        self.lock
    }
}

impl OwnedLockGuard {
    pub(super) fn new(lock: Rc<Lock>) -> Self {
        // Not that it holds it: it may hand it on to another task.
        label::took(lock.waiters.anchor());
        Self { lock }
    }

    /// The lock that is held.
    pub const fn lock(&self) -> &Rc<Lock> {
        &self.lock
    }
}

impl Drop for LockGuard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.release();
    }
}

impl Drop for OwnedLockGuard {
    fn drop(&mut self) {
        self.lock.release();
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("lock", self.lock)
            .finish()
    }
}

impl fmt::Debug for OwnedLockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedLockGuard")
            .field("lock", &self.lock)
            .finish()
    }
}
