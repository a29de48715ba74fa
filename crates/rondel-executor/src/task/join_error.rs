//! Why a task has no result to give.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic;

/// Why awaiting a [`Task`](crate::Task) gave no value.
#[non_exhaustive]
pub enum JoinError {
    /// The task was cancelled, or its executor closed, before it could finish.
    Cancelled,
    /// The task's future panicked; this is what it panicked with.
    Panicked(PanicPayload),
    /// The result was taken before: a task gives it once.
    Taken,
}

/// What a panic was raised with.
pub struct PanicPayload(pub(crate) Box<dyn Any + Send>);

impl PanicPayload {
    /// Wraps what `catch_unwind` or `JoinHandle::join` returned.
    pub fn new(payload: Box<dyn Any + Send>) -> Self {
        Self(payload)
    }

    /// The message, if the panic had one, as most do.
    pub fn message(&self) -> Option<&str> {
        self.0
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| self.0.downcast_ref::<String>().map(String::as_str))
    }

    /// The payload itself.
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0
    }

    /// Goes on panicking with it, without calling the panic hook again.
    pub fn resume(self) -> ! {
        panic::resume_unwind(self.0)
    }
}

impl JoinError {
    /// Whether the task was cancelled.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Whether the task panicked.
    pub const fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}

impl fmt::Display for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().unwrap_or("(no message)"))
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PanicPayload")
            .field(&self.message())
            .finish()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Panicked(payload) => write!(f, "the task panicked: {payload}"),
            Self::Taken => f.write_str("the task's result was taken before"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("Cancelled"),
            Self::Panicked(payload) => f.debug_tuple("Panicked").field(payload).finish(),
            Self::Taken => f.write_str("Taken"),
        }
    }
}

impl Error for JoinError {}
