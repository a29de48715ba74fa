//! What can be said about a job while it runs.

use std::fmt;
use std::panic::Location;
use std::time::Instant;

/// A job that runs, as listed by [`ThreadPool::running`](super::ThreadPool::running) and [`ShutdownReport`](super::ShutdownReport).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunningJob {
    /// Where it was submitted.
    pub site: &'static Location<'static>,
    /// When it started.
    pub since: Instant,
    /// The name of the thread it runs on.
    pub thread: String,
}

impl fmt::Display for RunningJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            site,
            since,
            thread,
        } = self;
        write!(
            f,
            "the job submitted at {site} has been running for {:?} on {thread}",
            since.elapsed()
        )
    }
}
