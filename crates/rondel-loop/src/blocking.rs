//! Blocking work: away from the loop, into a thread pool.

use std::io;

use rondel_executor::{Job, SendTaskLocals, ThreadPool};

use crate::current;
use crate::state::LocalLoop;

impl LocalLoop {
    /// Runs `work` in `pool` (`None`: the loop's own) and gives its result to whoever awaits the job. Dropping the job does
    /// not stop work that has begun. asyncio: `run_in_executor`.
    ///
    /// While it is under way, a virtual clock stands still. Task-local values that may cross threads
    /// ([`TaskLocal::across_threads`](crate::TaskLocal::across_threads)) go along.
    ///
    /// # Errors
    /// The pool is closed, or no thread can be started; [`LoopClosed`](crate::LoopClosed).
    #[track_caller]
    pub fn run_in_executor<T, W>(&self, pool: Option<&ThreadPool>, work: W) -> io::Result<Job<T>>
    where
        W: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let own;
        let pool = match pool {
            Some(pool) => pool,
            None => {
                own = self.state().pool()?;
                &own
            }
        };
        let locals = SendTaskLocals::current();
        pool.submit_with(self.outstanding(), move || locals.run(work))
            .map_err(io::Error::other)
    }
}

/// Runs `work` in `pool` (`None`: the running loop's own); see [`LocalLoop::run_in_executor`].
///
/// # Errors
/// The pool is closed, or no thread can be started.
///
/// # Panics
/// If no loop is running on this thread.
#[track_caller]
pub fn run_in_executor<T, W>(pool: Option<&ThreadPool>, work: W) -> io::Result<Job<T>>
where
    W: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    current::expect("run_in_executor").run_in_executor(pool, work)
}

/// Runs blocking `work` in the running loop's thread pool and waits for its result. asyncio: `to_thread`.
///
/// # Errors
/// The pool is closed, or no thread can be started. A panic of the work is raised here.
///
/// # Cancel safety
/// Dropped, it lets the work run to its end, if it has begun, and forgets the result.
///
/// # Panics
/// If the work panics, with what it panicked with; and if no loop is running on this thread.
///
/// ```
/// # rondel_loop::run(async {
/// let sum: u64 = rondel_loop::to_thread(|| (1..=1000).sum()).await.unwrap();
/// assert_eq!(sum, 500_500);
/// # }).unwrap();
/// ```
#[doc(alias = "spawn_blocking")]
pub async fn to_thread<T, W>(work: W) -> io::Result<T>
where
    W: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    use rondel_executor::JobError;

    match run_in_executor(None, work)?.await {
        Ok(value) => Ok(value),
        Err(JobError::Panicked(payload)) => payload.resume(),
        Err(error) => Err(io::Error::other(error)),
    }
}
