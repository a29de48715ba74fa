//! Why workers did not give what they were to.

use std::error::Error;
use std::fmt;
use std::io;

use rondel_executor::PanicPayload;
use rondel_loop::RunError;

/// Why [`Workers::run`](crate::Workers::run) gave no results.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkersError<E> {
    /// A loop is running on the calling thread, and would be blocked until all workers have ended.
    LoopRunning,
    /// A worker could not listen; the error names the address.
    Listen(io::Error),
    /// The loop of the calling thread, which waits for the workers, could not be made, or failed.
    Loop(RunError),
    /// Workers failed: one at least, in the order in which it happened. The first is why the others were told to end, unless
    /// that was somebody's wish.
    Failed(Vec<WorkerFailure<E>>),
}

/// What became of one worker.
#[derive(Debug)]
pub struct WorkerFailure<E> {
    pub(super) index: usize,
    pub(super) kind: WorkerFailureKind<E>,
}

/// How a worker failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerFailureKind<E> {
    /// Its main function returned this error.
    Error(E),
    /// It panicked.
    Panicked(PanicPayload),
    /// It had not ended when the [grace](crate::Workers::grace) was over, and was cancelled.
    Cancelled,
    /// Its thread could not be started, or not be kept to its core.
    Thread(io::Error),
    /// Its loop could not be made, or failed, or was stopped.
    Loop(RunError),
}

impl<E> WorkersError<E> {
    /// The workers that failed, in the order in which it happened; none if it was not the workers.
    pub fn failures(&self) -> &[WorkerFailure<E>] {
        match self {
            Self::Failed(failures) => failures,
            _ => &[],
        }
    }
}

impl<E> WorkerFailure<E> {
    /// The worker's number.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// How it failed.
    pub const fn kind(&self) -> &WorkerFailureKind<E> {
        &self.kind
    }

    /// How it failed, to keep.
    pub fn into_kind(self) -> WorkerFailureKind<E> {
        self.kind
    }
}

impl<E: fmt::Display> fmt::Display for WorkersError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoopRunning => f.write_str(
                "workers cannot be run here: they would block the event loop that is running on this thread",
            ),
            Self::Listen(error) => error.fmt(f),
            Self::Loop(error) => write!(f, "waiting for the workers: {error}"),
            Self::Failed(failures) => {
                for (place, failure) in failures.iter().enumerate() {
                    if place > 0 {
                        f.write_str("; ")?;
                    }
                    failure.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

impl<E: fmt::Display> fmt::Display for WorkerFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index;
        match &self.kind {
            WorkerFailureKind::Error(error) => write!(f, "worker {index} failed: {error}"),
            WorkerFailureKind::Panicked(payload) => {
                write!(f, "worker {index} panicked: {payload}")
            }
            WorkerFailureKind::Cancelled => write!(
                f,
                "worker {index} did not end when it was told to, and was cancelled"
            ),
            WorkerFailureKind::Thread(error) => {
                write!(f, "worker {index} could not be started: {error}")
            }
            WorkerFailureKind::Loop(error) => write!(f, "the loop of worker {index}: {error}"),
        }
    }
}

impl<E: Error + 'static> Error for WorkersError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Shown in its place, so its source is the next.
            Self::Listen(error) => error.source(),
            Self::Loop(error) => Some(error),
            Self::Failed(failures) => failures.first().map(|first| first as _),
            Self::LoopRunning => None,
        }
    }
}

impl<E: Error + 'static> Error for WorkerFailure<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            WorkerFailureKind::Error(error) => Some(error),
            WorkerFailureKind::Thread(error) => Some(error),
            WorkerFailureKind::Loop(error) => Some(error),
            WorkerFailureKind::Panicked(_) | WorkerFailureKind::Cancelled => None,
        }
    }
}
