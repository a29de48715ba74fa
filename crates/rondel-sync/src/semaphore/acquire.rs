//! The futures that acquire permits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use crate::label::Awaited;
use crate::wait_list::{ListRef, RcList, WaitList, Waiter};

pin_project! {
    /// The future of [`Semaphore::acquire`] and [`Semaphore::acquire_many`].
    ///
    /// It takes its place in the queue when it is polled first.
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Acquire<'a> {
        // `None` when the permits have been given out.
        semaphore: Option<&'a Semaphore>,
        permits: usize,
        // Made when there is something to wait for: most who come find what they want, and a
        // waiter is several words to write and to move.
        #[pin]
        waiter: Option<Waiter<&'a WaitList<usize>, usize>>,
    }

    impl PinnedDrop for Acquire<'_> {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (Some(semaphore), Some(waiter)) = (this.semaphore, this.waiter.as_pin_mut()) {
                give_up(semaphore, waiter);
            }
        }
    }
}

pin_project! {
    /// The future of [`Semaphore::acquire_owned`] and [`Semaphore::acquire_many_owned`].
    ///
    /// It takes its place in the queue when it is polled first.
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct AcquireOwned {
        #[pin]
        waiter: Waiter<RcList<Semaphore, usize>, usize>,
        done: bool,
    }

    impl PinnedDrop for AcquireOwned {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let semaphore = Rc::clone(this.waiter.list_ref().owner());
            give_up(&semaphore, this.waiter);
        }
    }
}

impl<'a> Acquire<'a> {
    #[inline]
    pub(super) const fn new(semaphore: &'a Semaphore, permits: usize) -> Self {
        Self {
            semaphore: Some(semaphore),
            permits,
            waiter: None,
        }
    }
}

impl AcquireOwned {
    pub(super) fn new(waiter: Waiter<RcList<Semaphore, usize>, usize>) -> Self {
        Self {
            waiter,
            done: false,
        }
    }
}

impl<'a> Future for Acquire<'a> {
    type Output = SemaphorePermit<'a>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SemaphorePermit<'a>> {
        let mut this = self.project();
        let semaphore = this
            .semaphore
            .expect("`Semaphore::acquire` polled after it was ready");
        let permits = *this.permits;
        match this.waiter.as_mut().as_pin_mut() {
            Some(waiter) => ready!(poll_permits(semaphore, waiter, cx)),
            None if semaphore.take(permits).is_ok() => {}
            None => {
                let waiter = Waiter::new(&semaphore.waiters, permits);
                this.waiter.as_mut().set(Some(waiter));
                let waiter = this.waiter.as_pin_mut().expect("set in the line above");
                ready!(waiter.poll_for(Awaited::Permits, cx));
            }
        }
        *this.semaphore = None;
        Poll::Ready(SemaphorePermit::new(semaphore, permits))
    }
}

impl Future for AcquireOwned {
    type Output = OwnedSemaphorePermit;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<OwnedSemaphorePermit> {
        let this = self.project();
        assert!(
            !*this.done,
            "`Semaphore::acquire_owned` polled after it was ready"
        );
        let permits = *this.waiter.want();
        let semaphore = Rc::clone(this.waiter.list_ref().owner());
        ready!(poll_permits(&semaphore, this.waiter, cx));
        *this.done = true;
        Poll::Ready(OwnedSemaphorePermit::new(semaphore, permits))
    }
}

/// Ready when the permits that the waiter wants are taken out of the semaphore.
#[inline]
fn poll_permits<L: ListRef<usize, ()>>(
    semaphore: &Semaphore,
    waiter: Pin<&mut Waiter<L, usize>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    // Only one who has no place in the queue yet may find what he wants lying about.
    if waiter.is_idle() && semaphore.take(*waiter.want()).is_ok() {
        return Poll::Ready(());
    }
    waiter.poll_for(Awaited::Permits, cx)
}

/// Leaves the queue. What had been handed over goes on to the next; and if this was the one at the
/// front, those behind may want less and be served now.
#[inline]
fn give_up<L: ListRef<usize, ()>>(semaphore: &Semaphore, waiter: Pin<&mut Waiter<L, usize>>) {
    if waiter.is_idle() {
        return;
    }
    let permits = *waiter.want();
    match waiter.cancel() {
        Some(()) => semaphore.give_back(permits),
        None => semaphore.serve(),
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("permits", &self.permits)
            .field("waiter", &self.waiter)
            .field("done", &self.semaphore.is_none())
            .finish()
    }
}

impl fmt::Debug for AcquireOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireOwned")
            .field("permits", self.waiter.want())
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish()
    }
}
