//! Waiting for a pool to be done, and saying what is not.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::running::RunningJob;
use super::shared::Shared;
use crate::wait::Waits;

/// What a [shutdown](super::ThreadPool::shutdown) left behind.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[must_use = "it says which jobs still run"]
pub struct ShutdownReport {
    /// Jobs that still ran at the deadline. Their threads go on and end with them; they are detached.
    pub running: Vec<RunningJob>,
    /// How many jobs had not started by the deadline and were cancelled.
    pub cancelled: usize,
}

impl ShutdownReport {
    /// Whether every job that was accepted has run to its end, and all threads have been joined.
    pub fn is_clean(&self) -> bool {
        self.running.is_empty() && self.cancelled == 0
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("all jobs have ended");
        }
        write!(
            f,
            "{} jobs still run, {} were cancelled",
            self.running.len(),
            self.cancelled
        )?;
        for job in &self.running {
            write!(f, "\n  {job}")?;
        }
        Ok(())
    }
}

/// See [`ThreadPool::shutdown`](super::ThreadPool::shutdown).
pub(super) fn shutdown(shared: &Shared, deadline: Option<Duration>) -> ShutdownReport {
    let limit = deadline.and_then(|deadline| Instant::now().checked_add(deadline));
    shared.close();
    let mut state = shared.lock();
    let own = state.current_worker();
    if own.is_some() {
        // This job cannot wait for itself, nor can two such jobs wait for each other.
        state.inside += 1;
        shared.progress.notify_all();
    }
    while state.alive > state.inside {
        // With the jobs done the threads end by themselves, at once.
        let limit = limit.filter(|_| !state.has_only_jobs_inside());
        state = match limit.map(|limit| limit.saturating_duration_since(Instant::now())) {
            None => shared
                .progress
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(left) if left.is_zero() => break,
            Some(left) => {
                let waited = shared.progress.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
    let running = shared.running(&state, own);
    if own.is_some() {
        state.inside -= 1;
    }
    let ended = state.ended.take();
    drop(state);
    if let Some(ended) = ended {
        let _ = ended.join();
    }
    ShutdownReport {
        running,
        cancelled: shared.cancel_pending(),
    }
}

/// Resolves when no job is queued or running; see [`ThreadPool::drained`](super::ThreadPool::drained).
#[must_use = "futures do nothing unless awaited"]
pub struct Drained {
    shared: Arc<Shared>,
    /// Which of the pool's wakers is ours.
    number: Option<u64>,
}

impl Drained {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            number: None,
        }
    }
}

impl Future for Drained {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned and dropped outside the lock: wakers are foreign code.
        let waker = cx.waker().clone();
        let this = &mut *self;
        let mut state = this.shared.lock();
        let own = state
            .drain_wakers
            .iter()
            .position(|entry| Some(entry.0) == this.number);
        if state.is_drained() {
            let old = own.map(|own| state.drain_wakers.swap_remove(own));
            drop(state);
            drop(old);
            this.number = None;
            return Poll::Ready(());
        }
        let old = match own {
            Some(own) => Some(std::mem::replace(&mut state.drain_wakers[own].1, waker)),
            None => {
                let number = state.next_drain;
                state.next_drain += 1;
                state.drain_wakers.push((number, waker));
                this.number = Some(number);
                None
            }
        };
        drop(state);
        drop(old);
        Waits::JOB.label(0);
        Poll::Pending
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        if self.number.is_some() {
            let mut state = self.shared.lock();
            let own = state
                .drain_wakers
                .iter()
                .position(|entry| Some(entry.0) == self.number);
            let waker = own.map(|own| state.drain_wakers.swap_remove(own));
            drop(state);
            drop(waker);
        }
    }
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained")
            .field("registered", &self.number.is_some())
            .finish_non_exhaustive()
    }
}
