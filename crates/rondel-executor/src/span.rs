//! Spans of `tracing`: one for each task, entered while it is polled, and one for each callback while it runs.
//!
//! ```text
//!   spawned ── Stage::Spawned: what was current there ──> first poll ── Stage::Begun: entered at every poll ──> done: closed
//! ```
//!
//! A span begins with the first poll and not with the spawning, since a task is named in between, and most subscribers read the
//! fields of a span once.
//!
//! A subscriber is foreign code: nothing is borrowed while it runs, and a panic of it ends here. It must not unwind through a
//! poll, where async-task would drop a task that its executor still counts on, nor out of a waker.

mod callback;
mod child;
#[cfg(feature = "tokio-console")]
mod console;
mod kept;
pub(crate) mod poll;

use std::cell::Cell;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};

pub(crate) use callback::callback;
pub(crate) use child::ChildSpan;
#[cfg(feature = "tokio-console")]
use console::ConsoleSpan;
use kept::{Kept, contained};

/// A task's spans, if somebody wants them. Touched on the home thread alone, but for being dropped; one word, and empty without a
/// subscriber.
pub(crate) struct TaskSpan(Cell<Option<Arc<Stage>>>);

enum Stage {
    /// Not polled yet. With what was current where it was spawned.
    Spawned(Kept),
    Begun(Spans),
}

struct Spans {
    task: Kept,
    #[cfg(feature = "tokio-console")]
    console: Option<ConsoleSpan>,
}

impl TaskSpan {
    /// Made where the task is spawned.
    #[inline]
    pub(crate) fn new() -> Self {
        // The most verbose level that anybody asks for: one load, and all there is to it without a subscriber.
        if LevelFilter::current() < Level::DEBUG {
            return Self(Cell::new(None));
        }
        Self::caused_here()
    }

    #[cold]
    fn caused_here() -> Self {
        let cause = Kept::of(Span::current);
        Self(Cell::new(Some(Arc::new(Stage::Spawned(cause)))))
    }

    /// The task has another name from now on.
    pub(crate) fn rename(&self, name: &str) {
        let Some(stage) = self.get() else { return };
        if let Stage::Begun(spans) = &*stage {
            contained(|| {
                spans.task.record("name", name);
            });
        }
    }

    fn get(&self) -> Option<Arc<Stage>> {
        let stage = self.0.take();
        self.0.set(stage.clone());
        stage
    }

    fn close(&self) {
        let stage = self.0.take();
        drop(stage);
    }
}
