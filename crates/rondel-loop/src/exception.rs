//! Failures that nobody awaits.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::panic::Location;

use rondel_executor::{ChildInfo, Lost, LostKind, PanicPayload, TaskInfo};

use crate::report::{Level, report, write_origin};

/// What an exception handler is told. asyncio: the `context` dictionary.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExceptionContext {
    /// What happened, in a sentence.
    pub message: String,
    /// The error, if there was one.
    pub error: Option<Box<dyn Error>>,
    /// What the code panicked with, if it did.
    pub panic: Option<PanicPayload>,
    /// The task it happened in, if it was one: its name, where it was spawned, what it last waited on.
    pub task: Option<TaskInfo>,
    /// In which child of which group of that task: the innermost first, each a child of a group inside the next.
    pub groups: Vec<ChildInfo>,
    /// Where the callback was scheduled, if it was one.
    pub callback: Option<&'static Location<'static>>,
    /// Where the promise was made, if it was one that failed.
    pub promise: Option<&'static Location<'static>>,
}

impl ExceptionContext {
    /// A report with nothing but a message; fill in what else is known.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            error: None,
            panic: None,
            task: None,
            groups: Vec::new(),
            callback: None,
            promise: None,
        }
    }

    /// Adds the error.
    #[must_use]
    pub fn with_error(mut self, error: impl Into<Box<dyn Error>>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// Reports it as a loop without a handler does: to standard error, or, with the feature `tracing` and once the program has
    /// a subscriber, as an event with the target `rondel`. asyncio: `default_exception_handler`.
    #[doc(alias = "default_exception_handler")]
    pub fn report(&self) {
        report(Level::Error, self);
    }

    /// Writes the report to standard error.
    pub fn write_to_stderr(&self) {
        // Nowhere to report a failing standard error to.
        let _ = writeln!(std::io::stderr(), "{self}");
    }
}

impl fmt::Display for ExceptionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(panic) = &self.panic {
            write!(f, ": {panic}")?;
        }
        let mut cause = self.error.as_deref().map(|error| error as &dyn Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        write_origin(f, self.task.as_ref(), &self.groups)?;
        if let Some(site) = self.callback {
            write!(f, "\n  callback scheduled at {site}")?;
        }
        if let Some(site) = self.promise {
            write!(f, "\n  promise made at {site}")?;
        }
        Ok(())
    }
}

impl From<Lost> for ExceptionContext {
    fn from(lost: Lost) -> Self {
        let (message, panic, error) = match lost.kind {
            LostKind::TaskPanicked(panic) => {
                ("a task panicked, and nobody awaits it", Some(panic), None)
            }
            LostKind::CallbackPanicked(panic) => ("a callback panicked", Some(panic), None),
            LostKind::DropPanicked(panic) => {
                ("dropping what a task held panicked", Some(panic), None)
            }
            LostKind::TaskFailed(error) => ("a detached task failed", None, Some(error)),
            LostKind::CleanupPanicked(panic) => ("a cleanup panicked", Some(panic), None),
            LostKind::CleanupDropped => ("a cleanup was dropped before it had ended", None, None),
            other => {
                return Self {
                    task: lost.task,
                    groups: lost.groups,
                    callback: lost.callback,
                    ..Self::new(format!("{other:?}"))
                };
            }
        };
        Self {
            message: message.into(),
            error,
            panic,
            task: lost.task,
            groups: lost.groups,
            callback: lost.callback,
            promise: None,
        }
    }
}
