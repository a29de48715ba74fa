//! The futures that wait for a mutex.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Mutex, MutexGuard, OwnedMutexGuard};
use crate::lock::Acquire;
use crate::lock::acquire::{give_up, poll_lock};
use crate::wait_list::{RcList, Waiter};

pin_project! {
    /// The future of [`Mutex::lock`].
    ///
    /// It takes its place in the queue when it is polled first.
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct LockMutex<'a, T: ?Sized> {
        mutex: &'a Mutex<T>,
        #[pin]
        acquire: Acquire<'a>,
    }
}

pin_project! {
    /// The future of [`Mutex::lock_owned`].
    ///
    /// It takes its place in the queue when it is polled first.
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct LockMutexOwned<T>
    where
        T: 'static,
    {
        #[pin]
        waiter: Waiter<RcList<Mutex<T>>>,
        done: bool,
    }

    impl<T> PinnedDrop for LockMutexOwned<T>
    where
        T: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let mutex = Rc::clone(this.waiter.list_ref().owner());
            give_up(&mutex.lock, this.waiter);
        }
    }
}

impl<'a, T: ?Sized> LockMutex<'a, T> {
    #[inline(always)]
    pub(super) const fn new(mutex: &'a Mutex<T>, acquire: Acquire<'a>) -> Self {
        Self { mutex, acquire }
    }
}

impl<T> LockMutexOwned<T> {
    pub(super) fn new(mutex: Rc<Mutex<T>>) -> Self {
        Self {
            waiter: Waiter::new(RcList::new(mutex, |mutex| &mutex.lock.waiters), ()),
            done: false,
        }
    }
}

impl<'a, T: ?Sized> Future for LockMutex<'a, T> {
    type Output = MutexGuard<'a, T>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MutexGuard<'a, T>> {
        let this = self.project();
        let held = ready!(this.acquire.poll(cx));
        Poll::Ready(MutexGuard::new(this.mutex, held))
    }
}

impl<T> Future for LockMutexOwned<T> {
    type Output = OwnedMutexGuard<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<OwnedMutexGuard<T>> {
        let this = self.project();
        assert!(!*this.done, "`Mutex::lock_owned` polled after it was ready");
        let mutex = Rc::clone(this.waiter.list_ref().owner());
        ready!(poll_lock(&mutex.lock, this.waiter, cx));
        *this.done = true;
        Poll::Ready(OwnedMutexGuard::new(mutex))
    }
}

impl<T: ?Sized> fmt::Debug for LockMutex<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockMutex")
            .field("acquire", &self.acquire)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for LockMutexOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockMutexOwned")
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish()
    }
}
