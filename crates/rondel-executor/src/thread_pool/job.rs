//! One job: the closure on its way in, the result on its way out, in one allocation.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::error::JobError;
use super::shared::{Shared, Work};
use super::sync::{AtomicBool, Mutex, Ordering, contain, lock, park, thread};
use crate::PanicPayload;
use crate::wait::Waits;

/// The result of a closure on its way back from a [`ThreadPool`](super::ThreadPool).
///
/// Await it in a task, on any executor, or block for it with [`wait`](Self::wait). A panic of the closure comes out as
/// [`JobError::Panicked`]. The result is given once; asking again gives [`JobError::Taken`].
///
/// Dropping a `Job` detaches it: the closure runs all the same, since a thread cannot be interrupted (as in asyncio). Its
/// result is then dropped on the pool's thread, or on the dropping thread if it was there already; that is one reason
/// for `T: Send`. A panic goes to [`on_lost_panic`](super::ThreadPoolBuilder::on_lost_panic).
///
/// # Cancel safety
/// Awaiting by reference (`&mut job`) loses nothing when it is dropped.
#[must_use = "dropping a job detaches it: nobody learns of its result"]
pub struct Job<T> {
    outcome: Arc<dyn Outcome<T>>,
}

impl<T> Job<T> {
    pub(super) fn new(outcome: Arc<dyn Outcome<T>>) -> Self {
        Self { outcome }
    }

    /// Cancels the job if it has not started: the closure is dropped before this returns, and awaiting the job gives
    /// [`JobError::Cancelled`].
    ///
    /// Returns `false`, and changes nothing, if the job runs, has run or was cancelled before. To abandon a job that runs,
    /// drop it. From any thread. asyncio: `concurrent.futures.Future.cancel`.
    pub fn cancel(&self) -> bool {
        self.outcome.cancel()
    }

    /// Whether the result is there, or was and has been taken.
    pub fn is_finished(&self) -> bool {
        self.outcome.is_finished()
    }

    /// Where the job was submitted.
    pub fn site(&self) -> &'static Location<'static> {
        self.outcome.site()
    }

    /// Blocks the thread until the result is there.
    ///
    /// For threads, not for tasks: it blocks an event loop. A job that waits for another of the same pool waits for ever
    /// if all threads do so.
    ///
    /// # Errors
    /// As awaiting: the job panicked, was cancelled, or its result was taken before.
    ///
    /// ```
    /// # use rondel_executor::ThreadPool;
    /// let pool = ThreadPool::new();
    /// assert_eq!(pool.submit(|| 6 * 7)?.wait()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(mut self) -> Result<T, JobError> {
        loop {
            if let Some(result) = self.block(None) {
                return result;
            }
        }
    }

    /// Blocks the thread until the result is there, for `timeout` at most; see [`wait`](Self::wait).
    ///
    /// # Errors
    /// Gives the job back if it takes longer.
    ///
    /// ```
    /// # use rondel_executor::ThreadPool;
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let (go, wait) = mpsc::channel::<()>();
    /// let pool = ThreadPool::new();
    /// let job = pool.submit(move || wait.recv().is_ok())?;
    /// let job = job.wait_timeout(Duration::from_millis(1)).expect_err("it waits for us");
    /// go.send(())?;
    /// assert!(job.wait()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<Result<T, JobError>, Self> {
        let limit = Instant::now().checked_add(timeout);
        self.block(limit).ok_or(self)
    }

    /// Parks until the result is there or the limit has passed.
    fn block(&mut self, limit: Option<Instant>) -> Option<Result<T, JobError>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(result) = self.outcome.poll(&mut context) {
                return Some(result);
            }
            let left = match limit {
                None => None,
                Some(limit) => {
                    let left = limit.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    Some(left)
                }
            };
            park(left);
        }
    }
}

impl<T> Future for Job<T> {
    type Output = Result<T, JobError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.poll(cx)
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.outcome.detach();
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("site", &format_args!("{}", self.site()))
            .field("finished", &self.is_finished())
            .finish()
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A job as its owner sees it.
pub(super) trait Outcome<T>: Send + Sync {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<T, JobError>>;
    fn cancel(&self) -> bool;
    fn detach(&self);
    fn is_finished(&self) -> bool;
    fn site(&self) -> &'static Location<'static>;
}

/// The one allocation of a job.
pub(super) struct JobCell<F, T, G> {
    pool: Arc<Shared>,
    site: &'static Location<'static>,
    /// Started or cancelled; guarded by the pool's lock.
    claimed: AtomicBool,
    state: Mutex<JobState<F, T, G>>,
}

struct JobState<F, T, G> {
    /// Until it starts or is cancelled.
    work: Option<(F, G)>,
    result: Option<Result<T, JobError>>,
    waker: Option<Waker>,
    /// A result has been stored; it may have been taken since.
    finished: bool,
    /// Nobody wants the result.
    detached: bool,
}

impl<F, T, G> JobCell<F, T, G> {
    pub(super) fn new(
        pool: Arc<Shared>,
        site: &'static Location<'static>,
        work: F,
        guard: G,
    ) -> Self {
        Self {
            pool,
            site,
            claimed: AtomicBool::new(false),
            state: Mutex::new(JobState {
                work: Some((work, guard)),
                result: None,
                waker: None,
                finished: false,
                detached: false,
            }),
        }
    }

    /// Hands the result to whoever wants it: stores it and wakes, or, if nobody does, drops it and returns `false`.
    fn deliver(&self, result: Result<T, JobError>, announce: impl FnOnce()) -> bool {
        let mut state = lock(&self.state);
        state.finished = true;
        if !state.detached {
            announce();
            state.result = Some(result);
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                contain(|| waker.wake());
            }
            return true;
        }
        drop(state);
        match result {
            Err(JobError::Panicked(payload)) => self.pool.lost_panic(payload, self.site),
            unwanted => self.discard(unwanted),
        }
        false
    }

    /// Drops what nobody wants. A panic of its destructor is nobody's, too.
    fn discard<V>(&self, unwanted: V) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(unwanted))) {
            self.pool.lost_panic(PanicPayload::new(payload), self.site);
        }
    }
}

impl<F, T, G> Work for JobCell<F, T, G>
where
    F: FnOnce() -> T + Send,
    T: Send,
    G: Send,
{
    fn site(&self) -> &'static Location<'static> {
        self.site
    }

    fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Relaxed)
    }

    fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }

    fn run(&self) -> bool {
        let work = lock(&self.state).work.take();
        let Some((work, guard)) = work else {
            return false;
        };
        let result = catch_unwind(AssertUnwindSafe(work))
            .map_err(|payload| JobError::Panicked(PanicPayload::new(payload)));
        let delivering = self.deliver(result, || self.pool.delivering());
        contain(|| drop(guard));
        self.pool.delivered();
        delivering
    }

    fn finish_cancelled(&self) {
        let work = lock(&self.state).work.take();
        let Some((work, guard)) = work else { return };
        self.discard(work);
        self.deliver(Err(JobError::Cancelled), || {});
        contain(|| drop(guard));
        self.pool.delivered();
    }
}

impl<F, T, G> Outcome<T> for JobCell<F, T, G>
where
    F: FnOnce() -> T + Send,
    T: Send,
    G: Send,
{
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<T, JobError>> {
        let mut state = lock(&self.state);
        if state.finished {
            return Poll::Ready(state.result.take().unwrap_or(Err(JobError::Taken)));
        }
        let known = state
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if known {
            Waits::JOB.label(0);
            return Poll::Pending;
        }
        drop(state);
        // Cloning and dropping wakers is foreign code.
        let waker = cx.waker().clone();
        let mut state = lock(&self.state);
        if state.finished {
            let result = state.result.take().unwrap_or(Err(JobError::Taken));
            drop(state);
            return Poll::Ready(result);
        }
        let replaced = state.waker.replace(waker);
        drop(state);
        drop(replaced);
        Waits::JOB.label(0);
        Poll::Pending
    }

    fn cancel(&self) -> bool {
        let cancelled = self.pool.cancel(self);
        if cancelled {
            self.finish_cancelled();
        }
        cancelled
    }

    fn detach(&self) {
        let mut state = lock(&self.state);
        state.detached = true;
        let waker = state.waker.take();
        let result = state.result.take();
        drop(state);
        drop(waker);
        if let Some(Err(JobError::Panicked(payload))) = result {
            self.pool.lost_panic(payload, self.site);
        }
    }

    fn is_finished(&self) -> bool {
        lock(&self.state).finished
    }

    fn site(&self) -> &'static Location<'static> {
        self.site
    }
}
