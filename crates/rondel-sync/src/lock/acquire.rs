//! The futures that wait for a lock.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Lock, LockGuard, OwnedLockGuard};
use crate::wait_list::{ListRef, RcList, WaitList, Waiter};

pin_project! {
    /// The future of [`Lock::acquire`].
    ///
    /// It takes its place in the queue when it is polled first.
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Acquire<'a> {
        lock: &'a Lock,
        #[pin]
        waiter: Waiter<&'a WaitList>,
        done: bool,
    }

    impl PinnedDrop for Acquire<'_> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            give_up(this.lock, this.waiter);
        }
    }
}

pin_project! {
    /// The future of [`Lock::acquire_owned`].
    ///
    /// It takes its place in the queue when it is polled first.
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct AcquireOwned {
        #[pin]
        waiter: Waiter<RcList<Lock>>,
        done: bool,
    }

    impl PinnedDrop for AcquireOwned {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let lock = Rc::clone(this.waiter.list_ref().owner());
            give_up(&lock, this.waiter);
        }
    }
}

impl<'a> Acquire<'a> {
    #[inline]
    pub(super) const fn new(lock: &'a Lock, waiter: Waiter<&'a WaitList>) -> Self {
        Self {
            lock,
            waiter,
            done: false,
        }
    }
}

impl AcquireOwned {
    pub(super) const fn new(waiter: Waiter<RcList<Lock>>) -> Self {
        Self {
            waiter,
            done: false,
        }
    }
}

impl<'a> Future for Acquire<'a> {
    type Output = LockGuard<'a>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LockGuard<'a>> {
        let this = self.project();
        assert!(!*this.done, "`Lock::acquire` polled after it was ready");
        ready!(poll_lock(this.lock, this.waiter, cx));
        *this.done = true;
        Poll::Ready(LockGuard::new(this.lock))
    }
}

impl Future for AcquireOwned {
    type Output = OwnedLockGuard;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<OwnedLockGuard> {
        let this = self.project();
        assert!(
            !*this.done,
            "`Lock::acquire_owned` polled after it was ready"
        );
        let lock = Rc::clone(this.waiter.list_ref().owner());
        ready!(poll_lock(&lock, this.waiter, cx));
        *this.done = true;
        Poll::Ready(OwnedLockGuard::new(lock))
    }
}

#[inline]
pub(crate) fn poll_lock<L: ListRef<(), ()>>(
    lock: &Lock,
    waiter: Pin<&mut Waiter<L>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    // Only one who has no place in the queue yet may find it lying about.
    if waiter.is_idle() && lock.take() {
        return Poll::Ready(());
    }
    waiter.poll(cx)
}

/// Leaves the queue; a lock that had been handed over goes on to the next.
#[inline]
pub(crate) fn give_up<L: ListRef<(), ()>>(lock: &Lock, waiter: Pin<&mut Waiter<L>>) {
    if !waiter.is_idle() && waiter.cancel().is_some() {
        lock.release();
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish()
    }
}

impl fmt::Debug for AcquireOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireOwned")
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish()
    }
}
