//! Why a loop did not do what it was asked to.

use std::error::Error;
use std::fmt;
use std::io;

use rondel_executor::PanicPayload;

/// The loop is closed, and takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopClosed;

impl fmt::Display for LoopClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop is closed")
    }
}

impl Error for LoopClosed {}

impl From<LoopClosed> for io::Error {
    fn from(closed: LoopClosed) -> Self {
        Self::new(io::ErrorKind::NotConnected, closed)
    }
}

/// Why running a loop gave no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The loop is closed.
    Closed,
    /// The loop is running already: it cannot be run, or closed, from inside.
    Running,
    /// Another loop is running on this thread; its name for this is `run_in_executor`, or a thread of your own.
    OtherLoopRunning,
    /// [`stop`](crate::LocalLoop::stop) ended the run before the future had finished. A task that was run can be run on.
    Stopped,
    /// The future was cancelled.
    Cancelled,
    /// Ctrl-C ended the run: `main` was cancelled, and has cleaned up.
    Interrupted,
    /// The future panicked.
    Panicked(PanicPayload),
    /// The system could not wait for events any more, or the loop could not be made; or the loop is that of the process which this one
    /// was forked from.
    Selector(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the event loop is closed"),
            Self::Running => f.write_str("the event loop is running already"),
            Self::OtherLoopRunning => f.write_str("another event loop is running on this thread"),
            Self::Stopped => {
                f.write_str("the event loop was stopped before the future had finished")
            }
            Self::Cancelled => f.write_str("the main future was cancelled"),
            Self::Interrupted => f.write_str("interrupted by Ctrl-C"),
            Self::Panicked(payload) => write!(f, "the main future panicked: {payload}"),
            Self::Selector(error) => write!(f, "the event loop's selector failed: {error}"),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Selector(error) => Some(error),
            _ => None,
        }
    }
}

impl RunError {
    /// The loop was made before a fork, and this is the child.
    pub(crate) fn of_parent() -> Self {
        Self::Selector(io::Error::new(
            io::ErrorKind::Unsupported,
            "the loop is that of the process this one was forked from",
        ))
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Selector(error)
    }
}
