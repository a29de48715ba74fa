//! Looking over the executor's shoulder: who runs, since when, how long.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::task::account::Took;
use crate::task::id::TaskId;

/// Told of every entry of the ready queue as it begins and ends: for debug modes, watchdogs and statistics.
///
/// The executor has no clock, so the observer brings it: what [`end`](Observer::end) answers is entered in the
/// [account](crate::TaskInfo::account) of the task that ran. An executor without an observer pays nothing for the possibility; with
/// one, two virtual calls an entry. What an entry calls directly, such as an eager task, is part of the entry.
///
/// Set one with [`Spawner::set_observer`](crate::Spawner::set_observer). Called on the executor's thread, with nothing of the
/// executor borrowed. It must not panic: it is called while entries unwind, too.
///
/// ```
/// use rondel_executor::{Executor, Observer, Running, Took};
/// use std::{cell::Cell, rc::Rc, time::Instant};
///
/// struct Watch(Cell<Option<Instant>>);
///
/// impl Observer for Watch {
///     fn begin(&self, _: &Running) {
///         self.0.set(Some(Instant::now()));
///     }
///
///     fn end(&self) -> Option<Took> {
///         let since = self.0.get()?;
///         Some(Took { since, time: since.elapsed() })
///     }
/// }
///
/// let executor = Executor::new();
/// executor.spawner().set_observer(Some(Rc::new(Watch(Cell::default()))));
/// let task = executor.spawn(async { 1 });
/// executor.run_until_idle();
/// assert_eq!(task.info().unwrap().account().unwrap().polls(), 1);
/// ```
pub trait Observer {
    /// `entry` is about to run.
    fn begin(&self, entry: &Running);

    /// What was announced last has run, or has panicked. If it says how long it took, the executor keeps account.
    fn end(&self) -> Option<Took>;

    /// Whether accounts of tasks are to be kept, and who awaits whom: asked once, when the observer is set. Default: yes. It
    /// costs an entry in a table for each task alive.
    fn keeps_accounts(&self) -> bool {
        true
    }
}

/// What is about to run; see [`Observer`].
#[derive(Clone)]
#[non_exhaustive]
pub enum Running {
    /// A poll of a task.
    Task {
        /// Its number.
        id: TaskId,
        /// Where it was spawned.
        site: &'static Location<'static>,
        /// The name it was given, if it was given one.
        name: Option<Arc<str>>,
    },
    /// A callback.
    Callback {
        /// Where it was scheduled.
        site: &'static Location<'static>,
    },
}

impl Running {
    /// Where the task was spawned, or the callback scheduled.
    pub const fn site(&self) -> &'static Location<'static> {
        match self {
            Self::Task { site, .. } | Self::Callback { site } => site,
        }
    }

    /// The task's number, if it is a task.
    pub const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Task { id, .. } => Some(*id),
            Self::Callback { .. } => None,
        }
    }
}

/// `"name" spawned at src/main.rs:10:5`, or `a callback scheduled at src/main.rs:12:5`.
impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task { id, site, name } => {
                match name {
                    Some(name) => write!(f, "{name:?}")?,
                    None => write!(f, "Task-{id}")?,
                }
                write!(f, " spawned at {site}")
            }
            Self::Callback { site } => write!(f, "a callback scheduled at {site}"),
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({self})")
    }
}
