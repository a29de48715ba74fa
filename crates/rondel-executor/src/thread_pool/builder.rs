//! The settings of a pool.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use super::ThreadPool;
use super::shared::Config;
use crate::PanicPayload;

/// Settings for a [`ThreadPool`], made by [`ThreadPool::builder`].
///
/// ```
/// use rondel_executor::ThreadPool;
/// use std::time::Duration;
///
/// let pool = ThreadPool::builder()
///     .threads(2)
///     .name("resolver")
///     .max_queue(1000)
///     .idle_timeout(Some(Duration::from_secs(60)))
///     .build();
/// assert_eq!(pool.threads(), 0);
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ThreadPoolBuilder {
    config: Config,
}

impl ThreadPoolBuilder {
    pub(super) fn new() -> Self {
        // Heeds affinity and cgroup limits, as `process_cpu_count` does in Python.
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            config: Config {
                threads: (cores + 4).min(32),
                name: "rondel-pool".into(),
                stack_size: None,
                idle_timeout: Some(Duration::from_secs(10)),
                max_queue: None,
                lost_panic: None,
            },
        }
    }

    /// How many threads there may be, at least 1. Default: min(32, cores + 4).
    pub fn threads(mut self, threads: usize) -> Self {
        self.config.threads = threads.max(1);
        self
    }

    /// What the threads are called: this, a hyphen and a number from 0. Default: `rondel-pool`.
    ///
    /// The system may show less of it, Linux 15 bytes. NUL characters are left out.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self.config.name.retain(|c| c != '\0');
        self
    }

    /// The stack size of the threads, in bytes. Default: the standard library's, 2 MiB unless `RUST_MIN_STACK` says more.
    ///
    /// The system rounds it up to what it needs. More than it can give shows as [`SubmitError::NoThread`](super::SubmitError::NoThread).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        // The standard library panics where rounding up overflows.
        self.config.stack_size = Some(bytes.min(isize::MAX as usize / 2));
        self
    }

    /// How long a thread waits for another job before it ends; `None` keeps it until the pool is closed. Default: 10 s.
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.config.idle_timeout = timeout;
        self
    }

    /// How many jobs may wait for a thread; further ones are refused with [`SubmitError::QueueFull`](super::SubmitError::QueueFull).
    /// With 0, a job is accepted only if a thread is free. Default: no bound, and memory is the limit.
    pub fn max_queue(mut self, jobs: usize) -> Self {
        self.config.max_queue = Some(jobs);
        self
    }

    /// Whom to tell of panics that nobody gets to see: the [`Job`](super::Job) was dropped before its result was taken, or
    /// what panicked was the destructor of an unwanted closure or result. With where the job was submitted.
    ///
    /// Called on the thread of the pool, or where the `Job` was dropped. A panic of the hook is swallowed. Default: nobody;
    /// the process's panic hook has spoken already.
    pub fn on_lost_panic<H>(mut self, hook: H) -> Self
    where
        H: Fn(PanicPayload, &'static Location<'static>) + Send + Sync + 'static,
    {
        self.config.lost_panic = Some(Arc::new(hook));
        self
    }

    /// The pool. Starts no thread.
    #[must_use]
    pub fn build(self) -> ThreadPool {
        ThreadPool::from_config(self.config)
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("threads", &self.config.threads)
            .field("name", &self.config.name)
            .field("stack_size", &self.config.stack_size)
            .field("idle_timeout", &self.config.idle_timeout)
            .field("max_queue", &self.config.max_queue)
            .finish_non_exhaustive()
    }
}
