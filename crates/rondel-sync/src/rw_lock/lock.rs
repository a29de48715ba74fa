//! The futures that wait to read or to write.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Access, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::label::Awaited;
use crate::wait_list::{WaitList, Waiter};

pin_project! {
    /// The future of [`RwLock::read`].
    ///
    /// It takes its place in the queue when it is polled first.
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Read<'a, T: ?Sized> {
        lock: &'a RwLock<T>,
        #[pin]
        waiter: Waiter<&'a WaitList<Access>, Access>,
        done: bool,
    }

    impl<T: ?Sized> PinnedDrop for Read<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            give_up(this.lock, this.waiter);
        }
    }
}

pin_project! {
    /// The future of [`RwLock::write`].
    ///
    /// It takes its place in the queue when it is polled first.
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Write<'a, T: ?Sized> {
        lock: &'a RwLock<T>,
        #[pin]
        waiter: Waiter<&'a WaitList<Access>, Access>,
        done: bool,
    }

    impl<T: ?Sized> PinnedDrop for Write<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            give_up(this.lock, this.waiter);
        }
    }
}

impl<'a, T: ?Sized> Read<'a, T> {
    pub(super) const fn new(
        lock: &'a RwLock<T>,
        waiter: Waiter<&'a WaitList<Access>, Access>,
    ) -> Self {
        Self {
            lock,
            waiter,
            done: false,
        }
    }
}

impl<'a, T: ?Sized> Write<'a, T> {
    pub(super) const fn new(
        lock: &'a RwLock<T>,
        waiter: Waiter<&'a WaitList<Access>, Access>,
    ) -> Self {
        Self {
            lock,
            waiter,
            done: false,
        }
    }
}

impl<'a, T: ?Sized> Future for Read<'a, T> {
    type Output = RwLockReadGuard<'a, T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RwLockReadGuard<'a, T>> {
        let this = self.project();
        assert!(!*this.done, "`RwLock::read` polled after it was ready");
        ready!(poll_access(this.lock, this.waiter, cx));
        *this.done = true;
        Poll::Ready(RwLockReadGuard::new(this.lock))
    }
}

impl<'a, T: ?Sized> Future for Write<'a, T> {
    type Output = RwLockWriteGuard<'a, T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RwLockWriteGuard<'a, T>> {
        let this = self.project();
        assert!(!*this.done, "`RwLock::write` polled after it was ready");
        ready!(poll_access(this.lock, this.waiter, cx));
        *this.done = true;
        Poll::Ready(RwLockWriteGuard::new(this.lock))
    }
}

fn poll_access<T: ?Sized>(
    lock: &RwLock<T>,
    waiter: Pin<&mut Waiter<&WaitList<Access>, Access>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    // Only one who has no place in the queue yet may find it free.
    if waiter.is_idle() && lock.take(*waiter.want()) {
        return Poll::Ready(());
    }
    waiter.poll_for(Awaited::Lock, cx)
}

/// Leaves the queue. What had been handed over goes on to the next; and if this was the one at the
/// front, those behind may get on with those inside.
fn give_up<T: ?Sized>(lock: &RwLock<T>, waiter: Pin<&mut Waiter<&WaitList<Access>, Access>>) {
    if waiter.is_idle() {
        return;
    }
    let access = *waiter.want();
    match waiter.cancel() {
        Some(()) => lock.leave(access),
        None => lock.serve(),
    }
}

impl<T: ?Sized> fmt::Debug for Read<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read")
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl<T: ?Sized> fmt::Debug for Write<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write")
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
