//! Why a task has no result to give.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic;
use std::sync::{Mutex, PoisonError};

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

/// What a panic was raised with. `Send` and `Sync`, whatever the payload, so that errors which carry it are.
//
// Boxed to be one word: then a `JoinError` is two, and a finished task's outcome is returned in registers.
pub struct PanicPayload(Box<Raised>);

struct Raised {
    message: Option<Cow<'static, str>>,
    /// Locked by nobody: it makes the payload, which need not be `Sync`, so.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl PanicPayload {
    /// Wraps what `catch_unwind` or `JoinHandle::join` returned.
    pub fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = match payload.downcast_ref::<&'static str>() {
            Some(message) => Some(Cow::Borrowed(*message)),
            None => payload
                .downcast_ref::<String>()
                .map(|message| Cow::Owned(message.clone())),
        };
        Self(Box::new(Raised {
            message,
            payload: Mutex::new(payload),
        }))
    }

    /// The message, if the panic had one, as most do.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The payload itself.
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0
            .payload
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on panicking with it, without calling the panic hook again.
    pub fn resume(self) -> ! {
        panic::resume_unwind(self.into_inner())
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
