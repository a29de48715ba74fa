//! Why a job was not accepted, and why it gave no value.

use std::error::Error;
use std::{fmt, io};

use crate::PanicPayload;

/// Why [`ThreadPool::submit`](super::ThreadPool::submit) did not accept a job. The closure has been dropped, not run.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubmitError {
    /// The pool was closed or shut down.
    Closed,
    /// As many jobs as [`max_queue`](super::ThreadPoolBuilder::max_queue) allows wait for a thread already.
    QueueFull {
        /// The bound that was reached.
        max_queue: usize,
    },
    /// No thread is alive and the system would not start one (`EAGAIN`: too many threads, or too little memory).
    ///
    /// With at least one thread alive, a pool that cannot start another carries on with those it has.
    NoThread(io::Error),
}

/// Why a [`Job`](super::Job) gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobError {
    /// The job was cancelled before it started: by [`Job::cancel`](super::Job::cancel), by
    /// [`ThreadPool::cancel_pending`](super::ThreadPool::cancel_pending) or at the deadline of a shutdown.
    Cancelled,
    /// The closure panicked; this is what it panicked with. The thread works on.
    Panicked(PanicPayload),
    /// The result was taken before: a job gives it once.
    Taken,
}

impl JobError {
    /// Whether the job was cancelled before it started.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Whether the closure panicked.
    pub const fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("cannot submit a job: the thread pool is closed"),
            Self::QueueFull { max_queue } => write!(
                f,
                "cannot submit a job: {max_queue} wait for a thread of the pool already"
            ),
            Self::NoThread(_) => f.write_str(
                "cannot submit a job: the thread pool has no thread and could not start one",
            ),
        }
    }
}

impl Error for SubmitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoThread(error) => Some(error),
            Self::Closed | Self::QueueFull { .. } => None,
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the job was cancelled before it started"),
            Self::Panicked(payload) => write!(f, "the job panicked: {payload}"),
            Self::Taken => f.write_str("the job's result was taken before"),
        }
    }
}

impl Error for JobError {}
