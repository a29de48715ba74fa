//! The last resort of every report: `tracing` if the program has it, else standard error.

use std::fmt;
use std::io::Write;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warning,
}

/// Reports, where nobody has asked to be told.
pub(crate) fn report(level: Level, what: &dyn fmt::Display) {
    #[cfg(feature = "tracing")]
    if tracing::dispatcher::has_been_set() {
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
