//! Wakes of tasks whose executor is closed: whoever wakes holds on to what is gone.
//!
//! ```text
//!   poll ── a waker on its stack ──clone──> LateWaker ──wake──> the task's own waker, while the executor is open
//!                                             │                 the report, once it is closed
//!                                             └── Fate: ended by itself, or told of once, it has no more to say
//! ```

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use crate::task::id::TaskId;

/// A task was woken though its executor is closed, and it with it; see [`Spawner::set_late_wake_handler`](crate::Spawner::set_late_wake_handler).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LateWake {
    /// The task's number.
    pub task: TaskId,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// The name that it had when it first waited, if it had one.
    pub name: Option<Arc<str>>,
}

/// `"name" spawned at src/main.rs:10:5`.
impl fmt::Display for LateWake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name:?}")?,
            None => write!(f, "Task-{}", self.task)?,
        }
        write!(f, " spawned at {}", self.site)
    }
}

/// Is told of wakes that come too late, on the thread that they come from.
pub type LateWakeHandler = Arc<dyn Fn(&LateWake) + Send + Sync>;

/// One executor's, shared with every waker that was cloned while it was there.
pub(crate) struct Watch {
    closed: AtomicBool,
    handler: LateWakeHandler,
}

impl Watch {
    pub(crate) fn new(handler: LateWakeHandler) -> Self {
        Self {
            closed: AtomicBool::new(false),
            handler,
        }
    }

    /// The executor is closed, and its tasks are gone.
    pub(crate) fn close(&self) {
        // Release: who sees it sees which tasks had ended before.
        self.closed.store(true, Ordering::Release);
    }
}

/// What became of a task.
struct Fate {
    about: LateWake,
    watch: Arc<Watch>,
    /// It ended while its executor was open, or has been told of: nothing (more) to tell.
    settled: AtomicBool,
}

impl Fate {
    /// The task has ended.
    fn end(&self) {
        // Relaxed: `Watch::close` publishes it.
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Whether a wake comes too late. If so, it has been told of.
    fn is_late(&self) -> bool {
        if !self.watch.closed.load(Ordering::Acquire) {
            return false;
        }
        if !self.settled.swap(true, Ordering::Relaxed) {
            (self.watch.handler)(&self.about);
        }
        true
    }
}

/// A task's waker that knows whether it comes too late. One a task, which keeps it until it ends.
pub(crate) struct LateWaker {
    inner: Waker,
    fate: Fate,
}

impl LateWaker {
    /// `inner` is the task's own.
    pub(crate) fn new(inner: Waker, about: LateWake, watch: Arc<Watch>) -> Self {
        let fate = Fate {
            about,
            watch,
            settled: AtomicBool::new(false),
        };
        Self { inner, fate }
    }

    /// Whether it is this one that is told of a late wake.
    pub(crate) fn is_watched_by(&self, watch: &Arc<Watch>) -> bool {
        Arc::ptr_eq(watch, &self.fate.watch)
    }

    /// The task has ended.
    pub(crate) fn end(&self) {
        self.fate.end();
    }
}

impl Wake for LateWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.fate.is_late() {
            self.inner.wake_by_ref();
        }
    }
}
