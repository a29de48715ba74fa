//! Failures that nobody awaits: one way out, and nothing said twice.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::panic::Location;
use std::rc::Rc;

use crate::task::info::TaskInfo;
use crate::task::join_error::PanicPayload;
use crate::task_group::info::ChildInfo;

/// Where an executor reports failures that have no awaiter: a closure on the executor's thread.
pub type Sink = Rc<dyn Fn(Lost)>;

/// A failure that nobody was there to take, with all that is known of where it came from.
#[derive(Debug)]
#[non_exhaustive]
pub struct Lost {
    /// What happened.
    pub kind: LostKind,
    /// The task it happened in, if it was one.
    pub task: Option<TaskInfo>,
    /// In which child of which group of that task it happened: the innermost first, each a child of a group inside the next. Empty
    /// outside of groups, and in the body of one.
    pub groups: Vec<ChildInfo>,
    /// Where the callback was scheduled, if it was one.
    pub callback: Option<&'static Location<'static>>,
}

/// What happened; see [`Lost`].
#[derive(Debug)]
#[non_exhaustive]
pub enum LostKind {
    /// A task panicked and its handle is gone, or was dropped without asking.
    TaskPanicked(PanicPayload),
    /// A callback panicked.
    CallbackPanicked(PanicPayload),
    /// The destructor of a task's future or output panicked.
    DropPanicked(PanicPayload),
    /// A task that was detached with [`detach_reported`](crate::Task::detach_reported) returned an error.
    TaskFailed(Box<dyn Error>),
    /// A cleanup panicked; those after it still run.
    CleanupPanicked(PanicPayload),
    /// A cleanup was dropped without having ended: there was no executor to run it, or it closed first.
    CleanupDropped,
}

impl Lost {
    pub(crate) fn task_panicked(task: TaskInfo, payload: Box<dyn std::any::Any + Send>) -> Self {
        Self::in_task(
            LostKind::TaskPanicked(PanicPayload::new(payload)),
            Some(task),
        )
    }

    pub(crate) fn drop_panicked(task: TaskInfo, payload: Box<dyn std::any::Any + Send>) -> Self {
        Self::in_task(
            LostKind::DropPanicked(PanicPayload::new(payload)),
            Some(task),
        )
    }

    pub(crate) fn in_task(kind: LostKind, task: Option<TaskInfo>) -> Self {
        Self {
            kind,
            task,
            groups: Vec::new(),
            callback: None,
        }
    }

    pub(crate) fn in_callback(
        payload: Box<dyn std::any::Any + Send>,
        callback: Option<&'static Location<'static>>,
    ) -> Self {
        Self {
            kind: LostKind::CallbackPanicked(PanicPayload::new(payload)),
            task: None,
            groups: Vec::new(),
            callback,
        }
    }

    /// Writes the report to standard error: what an executor does that was given no sink.
    pub fn write_to_stderr(&self) {
        // Nowhere to report a failing standard error to.
        let _ = writeln!(std::io::stderr(), "{self}");
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            LostKind::TaskPanicked(payload) => {
                write!(f, "a task panicked, and nobody awaits it: {payload}")
            }
            LostKind::CallbackPanicked(payload) => write!(f, "a callback panicked: {payload}"),
            LostKind::DropPanicked(payload) => {
                write!(f, "dropping what a task held panicked: {payload}")
            }
            LostKind::TaskFailed(error) => {
                write!(f, "a detached task failed: {error}")?;
                let mut source = error.source();
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
            LostKind::CleanupPanicked(payload) => write!(f, "a cleanup panicked: {payload}"),
            LostKind::CleanupDropped => f.write_str("a cleanup was dropped before it had ended"),
        }?;
        for child in &self.groups {
            write!(f, " (in {child})")?;
        }
        if let Some(task) = &self.task {
            write!(f, " ({task})")?;
        }
        if let Some(site) = self.callback {
            write!(f, " (scheduled at {site})")?;
        }
        Ok(())
    }
}
