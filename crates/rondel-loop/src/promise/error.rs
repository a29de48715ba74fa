//! How a promise ended.

use std::error::Error;
use std::fmt;

/// Why awaiting a [`Deferred`](crate::Deferred) gave no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeferredError<E> {
    /// The promise was failed with this error.
    Failed(E),
    /// It was cancelled by one who waited for it. asyncio: `CancelledError`.
    Cancelled,
    /// The promise was dropped without having been kept.
    Dropped,
    /// The outcome was taken before: a [`Deferred`](crate::Deferred) gives it once.
    Taken,
}

impl<E> DeferredError<E> {
    /// The error that the promise was failed with, if that is what happened.
    pub fn into_failed(self) -> Option<E> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Whether it was cancelled.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

impl<E> fmt::Display for DeferredError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed(_) => "the promise failed",
            Self::Cancelled => "the promise was cancelled",
            Self::Dropped => "the promise was dropped before it was kept",
            Self::Taken => "the promise's outcome was taken before",
        })
    }
}

impl<E: Error + 'static> Error for DeferredError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// How a promise ended, as done-callbacks are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// With a result.
    Finished,
    /// With an error.
    Failed,
    /// It was cancelled, or nobody wanted it any more.
    Cancelled,
    /// The promise was dropped unkept.
    Dropped,
}
