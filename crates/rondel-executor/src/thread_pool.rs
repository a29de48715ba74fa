//! A thread pool for work that blocks: asyncio's `ThreadPoolExecutor`.
//!
//! Knows nothing of tasks or loops; a [`Job`] is a future for any executor and can be waited for by any thread.

#![forbid(unsafe_code)]

mod builder;
mod error;
mod job;
mod report;
mod running;
mod shared;
mod sync;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use builder::ThreadPoolBuilder;
pub use error::{JobError, SubmitError};
pub use job::Job;
pub use report::{Drained, ShutdownReport};
pub use running::RunningJob;

use job::JobCell;
use shared::{Config, Shared};

/// Threads that run blocking closures and return their results.
///
/// Cheap to clone; all clones are the same pool. Every method may be called from any thread, including from a job.
///
/// - Threads are started when they are needed: none before the first job, another only if all are busy, at most
///   [`threads`](ThreadPoolBuilder::threads) (default min(32, cores + 4), as in asyncio). One that has been idle for
///   [`idle_timeout`](ThreadPoolBuilder::idle_timeout) (10 s) ends.
/// - Jobs start in the order in which they were submitted. The queue has no bound unless
///   [`max_queue`](ThreadPoolBuilder::max_queue) sets one.
/// - A panic in a job is returned to whoever awaits it; the thread goes on.
/// - A job that runs cannot be interrupted: dropping its [`Job`] detaches it.
///
/// When the last clone is dropped, the pool closes as by [`close`](Self::close): what is queued still runs, then the
/// threads end. Nothing is waited for; [`shutdown`](Self::shutdown) does that.
///
/// Not for work that should use all cores for long: it would keep the blocking work of everyone else waiting.
/// Not to be used across `fork`.
///
/// asyncio: `concurrent.futures.ThreadPoolExecutor`, `loop.run_in_executor`, `asyncio.to_thread`.
///
/// ```
/// use rondel_executor::ThreadPool;
///
/// let pool = ThreadPool::builder().threads(3).name("reader").build();
/// let size = pool.submit(|| std::fs::read("Cargo.toml").map(|bytes| bytes.len()))?;
/// // In a task: `size.await`; in a thread:
/// assert!(size.wait()?? > 0);
/// assert!(pool.shutdown(None).is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ThreadPool {
    owner: Arc<Owner>,
}

/// Closes the pool when the last clone goes. The threads themselves do not hold it.
struct Owner(Arc<Shared>);

impl ThreadPool {
    /// A pool with the default settings, without any thread yet.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Settings for a pool.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::new()
    }

    fn from_config(config: Config) -> Self {
        Self {
            owner: Arc::new(Owner(Arc::new(Shared::new(config)))),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }

    /// Runs a closure on a thread of the pool.
    ///
    /// # Errors
    /// The pool is closed, its queue is full, or it has no thread and cannot start one. The closure is dropped.
    ///
    /// ```
    /// # use rondel_executor::ThreadPool;
    /// let pool = ThreadPool::new();
    /// let jobs = (0..10).map(|i| pool.submit(move || i * i)).collect::<Result<Vec<_>, _>>()?;
    /// let squares = jobs.into_iter().map(|job| job.wait()).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(squares[9], 81);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn submit<F, T>(&self, work: F) -> Result<Job<T>, SubmitError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submit_with((), work)
    }

    /// Runs a closure on a thread of the pool and keeps `guard` for as long as the job is outstanding.
    ///
    /// The guard is dropped exactly once: right after the job's waker has been woken (or, if nobody waits for it, after
    /// its result has been stored or dropped), on the thread that did so; at once if the job is not accepted. This is how
    /// a loop counts work that is under way elsewhere, so that a virtual clock does not jump ahead of a job: whoever sees
    /// the guard gone finds the wake-up made. Like a waker, its destructor must not block.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    ///
    /// ```
    /// # use rondel_executor::ThreadPool;
    /// use std::sync::Arc;
    ///
    /// let under_way = Arc::new(());
    /// let pool = ThreadPool::new();
    /// let job = pool.submit_with(Arc::clone(&under_way), || "done")?;
    /// assert_eq!(job.wait()?, "done");
    /// assert!(pool.shutdown(None).is_clean());
    /// assert_eq!(Arc::strong_count(&under_way), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn submit_with<G, F, T>(&self, guard: G, work: F) -> Result<Job<T>, SubmitError>
    where
        G: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let pool = self.shared();
        let cell = Arc::new(JobCell::new(
            Arc::clone(pool),
            Location::caller(),
            work,
            guard,
        ));
        pool.push(Arc::<JobCell<F, T, G>>::clone(&cell))?;
        Ok(Job::new(cell))
    }

    /// Refuses jobs from now on. What was accepted still runs, then the threads end. Does not wait.
    ///
    /// Closing twice does nothing.
    pub fn close(&self) {
        self.shared().close();
    }

    /// Whether the pool refuses jobs.
    pub fn is_closed(&self) -> bool {
        self.shared().lock().closed
    }

    /// Cancels all jobs that have not started, and returns how many. Awaiting them gives [`JobError::Cancelled`].
    pub fn cancel_pending(&self) -> usize {
        self.shared().cancel_pending()
    }

    /// Closes the pool and blocks until every job has run and every thread has ended, or until `deadline` has passed.
    ///
    /// With a deadline, jobs that have not started by then are cancelled, and those that still run are reported, with
    /// their threads left to themselves. `None` waits for as long as it takes. To have no queued job started, call
    /// [`cancel_pending`](Self::cancel_pending) after [`close`](Self::close) first. The deadline is for the jobs: once
    /// they have ended, so do the threads, and they are joined.
    ///
    /// Blocks the calling thread; a loop that must keep turning uses `close`, [`drained`](Self::drained) and
    /// [`running`](Self::running), then calls this to join the threads. In a job of this pool it does not wait for that
    /// very job, and does not report it.
    ///
    /// asyncio: `Executor.shutdown(wait=True)`, `loop.shutdown_default_executor(timeout)`.
    ///
    /// ```
    /// # use rondel_executor::ThreadPool;
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let (release, stuck) = mpsc::channel::<()>();
    /// let pool = ThreadPool::new();
    /// let _job = pool.submit(move || stuck.recv().is_ok())?;
    ///
    /// let report = pool.shutdown(Some(Duration::from_millis(10)));
    /// assert!(!report.is_clean());
    /// println!("{report}");
    /// # drop(release);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, deadline: Option<Duration>) -> ShutdownReport {
        report::shutdown(self.shared(), deadline)
    }

    /// Resolves when no job is queued or running, and the results of all have been delivered.
    ///
    /// Does not close the pool: without [`close`](Self::close), jobs may come in later. Dropping the future has no effect.
    ///
    /// ```
    /// # use rondel_executor::ThreadPool;
    /// # futures_util::FutureExt::now_or_never(async {
    /// let pool = ThreadPool::new();
    /// pool.close();
    /// pool.drained().await;
    /// assert!(pool.shutdown(None).is_clean());
    /// # }).expect("nothing to wait for");
    /// ```
    pub fn drained(&self) -> Drained {
        Drained::new(Arc::clone(self.shared()))
    }

    /// The jobs that run at the moment.
    pub fn running(&self) -> Vec<RunningJob> {
        let shared = self.shared();
        shared.running(&shared.lock(), None)
    }

    /// How many jobs wait for a thread.
    pub fn queued(&self) -> usize {
        self.shared().lock().queued()
    }

    /// How many jobs have been accepted whose results have not been delivered: queued ones, running ones, and those whose
    /// waker is being woken. One atomic load.
    ///
    /// When a thread reads 0, everything that the wakers of all jobs so far have done is visible to it.
    pub fn outstanding(&self) -> usize {
        self.shared().outstanding()
    }

    /// How long the jobs that have begun had waited for a thread, all together, and how many have begun.
    pub fn waited(&self) -> (Duration, u64) {
        self.shared().lock().waited
    }

    /// How many threads are alive.
    pub fn threads(&self) -> usize {
        self.shared().lock().alive
    }

    /// How many threads there may be.
    pub fn max_threads(&self) -> usize {
        self.shared().config.threads
    }
}

impl Default for ThreadPool {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared().fmt(f)
    }
}
