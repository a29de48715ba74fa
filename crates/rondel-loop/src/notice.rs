//! What a loop has noticed about the program that runs on it.

use std::fmt;
use std::time::Duration;

use rondel_executor::{ChildInfo, Running, TaskInfo};

use crate::report::write_origin;

/// Something that debug mode has noticed: not a failure, but worth a look.
///
/// Without a [handler](crate::LocalLoop::set_notice_handler) it is one line on standard error, or, with the feature `tracing` and once the
/// program has a subscriber, a warning with the target `rondel`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A task or callback ran for long without giving way; nothing else ran meanwhile. asyncio: "Executing … took … seconds".
    Slow {
        /// Which one.
        entry: Running,
        /// How long it ran.
        took: Duration,
        /// From when on it is noticed; see [`set_slow_callback_duration`](crate::LocalLoop::set_slow_callback_duration).
        limit: Duration,
    },
    /// What was ready had to wait for its turn for long, though no single entry was slow: there are too many of them.
    Crowded {
        /// How long an entry waited.
        waited: Duration,
        /// How many were before it.
        behind: usize,
        /// From when on it is noticed.
        limit: Duration,
    },
    /// The loop took long from one look around to the next, and nobody saw which entry did: the whole process was held up, or the
    /// thread that watches the time was. Now and then, on a machine with too much to do.
    SlowTurn {
        /// How long it took.
        took: Duration,
        /// The entry that ended it, if one did: it may have been that one.
        last: Option<Running>,
        /// From when on it is noticed.
        limit: Duration,
    },
    /// The loop was closed, and this was still open or pending.
    Unclosed {
        /// What it is, in words.
        what: String,
    },
    /// Something was dropped before what it was there for had been done, and nobody will learn of it in another way: a connection with
    /// bytes still to be sent, a child that runs on. asyncio: `ResourceWarning`.
    Dropped {
        /// What it is, and what comes of it, in words.
        what: String,
        /// The task that dropped it, or was dropped with it, if it was one.
        task: Option<TaskInfo>,
        /// In which child of which group of that task: the innermost first.
        groups: Vec<ChildInfo>,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow { entry, took, limit } => write!(
                f,
                "executing {entry} took {:.3} seconds (noticed from {limit:?} on)",
                took.as_secs_f64()
            ),
            Self::Crowded {
                waited,
                behind,
                limit,
            } => write!(
                f,
                "what was ready waited {:.3} seconds for its turn, behind {behind} others (noticed from {limit:?} on)",
                waited.as_secs_f64()
            ),
            Self::SlowTurn { took, last, limit } => {
                write!(
                    f,
                    "a turn of the loop took {:.3} seconds (noticed from {limit:?} on), it was not seen by what",
                    took.as_secs_f64()
                )?;
                match last {
                    Some(last) => write!(f, ", perhaps by {last}"),
                    None => Ok(()),
                }
            }
            Self::Unclosed { what } => write!(f, "the loop was closed with {what}"),
            Self::Dropped { what, task, groups } => {
                f.write_str(what)?;
                write_origin(f, task.as_ref(), groups)
            }
        }
    }
}
