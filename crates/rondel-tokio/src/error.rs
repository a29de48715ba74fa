//! [`HostError`]: why a main future has no outcome.

use std::error::Error;
use std::fmt;
use std::io;

use rondel_loop::RunError;

/// Why a loop inside of tokio could not be run, or its main future did not end by itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostError {
    /// What the loop says: [`RunError::Panicked`], [`RunError::Cancelled`] of the main future;
    /// [`RunError::OtherLoopRunning`] inside of a task of rondel's; [`RunError::Selector`] if the system refuses.
    Loop(RunError),
    /// tokio could not watch the loop's descriptor.
    Watch(io::Error),
    /// The runtime could not be started.
    Runtime(io::Error),
}

impl From<RunError> for HostError {
    fn from(error: RunError) -> Self {
        Self::Loop(error)
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop(error) => error.fmt(f),
            Self::Watch(error) => write!(f, "having tokio watch the loop's descriptor: {error}"),
            Self::Runtime(error) => write!(f, "starting a tokio runtime: {error}"),
        }
    }
}

impl Error for HostError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Loop(error) => error.source(),
            Self::Watch(error) | Self::Runtime(error) => Some(error),
        }
    }
}
