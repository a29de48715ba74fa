//! The futures that wait for a lock.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Lock, LockGuard, OwnedLockGuard};
use crate::label::Awaited;
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
        // `None` when the lock has been given out.
        lock: Option<&'a Lock>,
        // Made when there is something to wait for: most who come find the lock free, and a waiter
        // is several words to write and to move.
        #[pin]
        waiter: Option<Waiter<&'a WaitList>>,
    }

    impl PinnedDrop for Acquire<'_> {
        #[inline(always)]
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (Some(lock), Some(waiter)) = (this.lock, this.waiter.as_pin_mut()) {
                give_up(lock, waiter);
            }
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
    #[inline(always)]
    pub(super) const fn new(lock: &'a Lock) -> Self {
        Self {
            lock: Some(lock),
            waiter: None,
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

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LockGuard<'a>> {
        let mut this = self.project();
        let lock = this
            .lock
            .expect("`Lock::acquire` polled after it was ready");
        match this.waiter.as_mut().as_pin_mut() {
            Some(waiter) => ready!(poll_lock(lock, waiter, cx)),
            None if lock.take() => {}
            None => {
                this.waiter
                    .as_mut()
                    .set(Some(Waiter::new(&lock.waiters, ())));
                let waiter = this.waiter.as_pin_mut().expect("set in the line above");
                ready!(waiter.poll_for(Awaited::Lock, cx));
            }
        }
        *this.lock = None;
        Poll::Ready(LockGuard::new(lock))
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

#[inline(always)]
pub(crate) fn poll_lock<L: ListRef<(), ()>>(
    lock: &Lock,
    waiter: Pin<&mut Waiter<L>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    // Only one who has no place in the queue yet may find it lying about.
    if waiter.is_idle() && lock.take() {
        return Poll::Ready(());
    }
    waiter.poll_for(Awaited::Lock, cx)
}

/// Leaves the queue; a lock that had been handed over goes on to the next.
#[inline(always)]
pub(crate) fn give_up<L: ListRef<(), ()>>(lock: &Lock, waiter: Pin<&mut Waiter<L>>) {
    if !waiter.is_idle() && waiter.cancel().is_some() {
        lock.release();
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("waiter", &self.waiter)
            .field("done", &self.lock.is_none())
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
