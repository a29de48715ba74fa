//! A number of permits for tasks and threads.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::block::block_on;
use super::lock::{Mutex, lock};
use super::waiters::{self, Waiters, Wakes};
use crate::label::Awaited;

/// A number of permits: [`Semaphore`](crate::Semaphore) between threads, with the same order.
///
/// ```
/// use rondel_sync::shared::Semaphore;
///
/// let slots = Semaphore::new(2);
/// std::thread::scope(|scope| {
///     for _ in 0..5 {
///         scope.spawn(|| {
///             let _permit = slots.acquire_blocking(1);
///         });
///     }
/// });
/// assert_eq!(slots.available_permits(), 2);
/// ```
pub struct Semaphore(Mutex<State>);

struct State {
    available: usize,
    waiters: Waiters,
}

impl State {
    fn try_take(&mut self, permits: usize) -> bool {
        let free = self.waiters.front().is_none() && self.available >= permits;
        if free {
            self.available -= permits;
        }
        free
    }

    fn give_back(&mut self, permits: usize, wakes: &mut Wakes) {
        self.available = self.available.saturating_add(permits);
        while let Some(want) = self.waiters.front()
            && want <= self.available
        {
            self.available -= want;
            self.waiters.grant(wakes);
        }
    }
}

impl Semaphore {
    /// Makes a semaphore with a number of permits.
    pub fn new(permits: usize) -> Self {
        Self(Mutex::new(State {
            available: permits,
            waiters: Waiters::new(),
        }))
    }

    /// How many permits are free.
    pub fn available_permits(&self) -> usize {
        lock(&self.0).available
    }

    /// Acquires a number of permits, all of them or none; waits until they are there and all who
    /// came before have theirs.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place; what had been handed to it goes to the next.
    pub fn acquire(&self, permits: usize) -> Acquire<'_> {
        Acquire {
            semaphore: self,
            permits,
            place: None,
        }
    }

    /// [`acquire`](Self::acquire) that blocks the thread.
    pub fn acquire_blocking(&self, permits: usize) -> SemaphorePermit<'_> {
        match block_on(&mut self.acquire(permits), None) {
            Some(permit) => permit,
            None => unreachable!("waiting without a limit ended without a permit"),
        }
    }

    /// [`acquire`](Self::acquire) that blocks the thread for at most that long; then `None`.
    pub fn acquire_timeout(&self, permits: usize, limit: Duration) -> Option<SemaphorePermit<'_>> {
        block_on(&mut self.acquire(permits), Some(limit))
    }

    /// Acquires permits if they are there and nobody waits.
    pub fn try_acquire(&self, permits: usize) -> Option<SemaphorePermit<'_>> {
        lock(&self.0).try_take(permits).then(|| SemaphorePermit {
            semaphore: self,
            permits,
        })
    }

    /// Adds permits, and hands them to those who wait. There are never more than `usize::MAX`.
    #[doc(alias = "release")]
    pub fn add_permits(&self, permits: usize) {
        let mut wakes = Wakes::new();
        lock(&self.0).give_back(permits, &mut wakes);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0);
        f.debug_struct("Semaphore")
            .field("available", &state.available)
            .field("waiting", &state.waiters.len())
            .finish()
    }
}

/// Permits of a [`Semaphore`], given back when dropped.
#[must_use = "permits are given back at once if this is dropped"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

impl SemaphorePermit<'_> {
    /// How many there are.
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// Does not give them back.
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        self.semaphore.add_permits(self.permits);
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphorePermit")
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}

/// The future of [`Semaphore::acquire`].
#[must_use = "futures do nothing unless awaited"]
pub struct Acquire<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
    place: Option<u64>,
}

impl<'a> Future for Acquire<'a> {
    type Output = SemaphorePermit<'a>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SemaphorePermit<'a>> {
        let this = self.get_mut();
        let (semaphore, permits) = (this.semaphore, this.permits);
        waiters::poll(
            &semaphore.0,
            Awaited::Permits,
            &mut this.place,
            cx,
            |state| &mut state.waiters,
            |state, place, _| {
                if place.is_none() {
                    if state.try_take(permits) {
                        return Some(());
                    }
                    state.waiters.join(permits, place);
                }
                state.waiters.take(place).then_some(())
            },
        )
        .map(|()| SemaphorePermit { semaphore, permits })
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let permits = self.permits;
        waiters::give_up(
            &self.semaphore.0,
            &mut self.place,
            |state| &mut state.waiters,
            // Also if nothing was granted: those behind may want less.
            |state, granted, wakes| state.give_back(if granted { permits } else { 0 }, wakes),
        );
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("semaphore", self.semaphore)
            .field("permits", &self.permits)
            .field("waits", &self.place.is_some())
            .finish()
    }
}
