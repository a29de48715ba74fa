//! The last resort of every report: `tracing` if the program has it, else standard error.

use std::fmt;
use std::io::Write;

use rondel_executor::{ChildInfo, TaskInfo};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warning,
}

/// Reports, where nobody has asked to be told.
pub(crate) fn report(level: Level, what: &dyn fmt::Display) {
    #[cfg(feature = "tracing")]
    if tracing::dispatcher::get_default(|here| !here.is::<tracing::subscriber::NoSubscriber>()) {
        // The target is the crate's name, whatever module it comes from: that is what filters are written for.
        match level {
            Level::Error => tracing::error!(target: "rondel", "{what}"),
            Level::Warning => tracing::warn!(target: "rondel", "{what}"),
        }
        return;
    }
    // Nowhere to report a failing standard error to.
    let _ = match level {
        Level::Error => writeln!(std::io::stderr(), "{what}"),
        Level::Warning => writeln!(std::io::stderr(), "rondel: {what}"),
    };
}

/// Where something has happened: a line for each child of a group, the innermost first, and one for the task.
pub(crate) fn write_origin(
    f: &mut fmt::Formatter<'_>,
    task: Option<&TaskInfo>,
    groups: &[ChildInfo],
) -> fmt::Result {
    for child in groups {
        write!(f, "\n  in a group's child: {child}")?;
    }
    if let Some(task) = task {
        write!(f, "\n  task: {task}, last waited for {}", task.waited())?;
        if let Some(by) = task.account().and_then(|account| account.spawned_by()) {
            write!(f, "\n  spawned by Task-{by}")?;
        }
    }
    Ok(())
}
