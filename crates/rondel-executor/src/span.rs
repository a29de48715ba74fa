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

use std::cell::Cell;
use std::mem;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
#[cfg(feature = "tokio-console")]
use std::task::Waker;
use std::task::{Context, Poll};

use tracing::level_filters::LevelFilter;
use tracing::span::Id;
use tracing::{Level, Span};

pub(crate) use callback::callback;
pub(crate) use child::ChildSpan;
#[cfg(feature = "tokio-console")]
use console::{ConsoleSpan, Lent};

use crate::core::Local;
use crate::task::header::Header;
use crate::task::info::TaskInfo;

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

/// Polls a task inside its spans. `size` is that of its future.
#[inline]
pub(crate) fn polling<T>(
    header: &Header,
    local: &Local,
    size: usize,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let entered = match header.span.0.take() {
        None => None,
        Some(stage) => Entered::of(stage, header, local, size, cx),
    };
    // One call for all, so that it can be inlined.
    #[cfg(feature = "tokio-console")]
    let cx = {
        let told = entered.as_ref().and_then(Entered::waker);
        &mut Context::from_waker(told.unwrap_or_else(|| cx.waker()))
    };
    let polled = poll(cx);
    if let Some(entered) = entered {
        entered.leave(polled.is_ready());
    }
    polled
}

/// A task's spans while it is polled.
struct Entered<'a> {
    header: &'a Header,
    spans: Arc<Stage>,
    #[cfg(feature = "tokio-console")]
    waker: Option<Lent>,
}

impl<'a> Entered<'a> {
    #[cold]
    fn of(
        stage: Arc<Stage>,
        header: &'a Header,
        local: &Local,
        size: usize,
        cx: &Context<'_>,
    ) -> Option<Self> {
        let stage = begun(stage, header, local, size, cx)?;
        header.span.0.set(Some(Arc::clone(&stage)));
        let Stage::Begun(spans) = &*stage else {
            return None;
        };
        #[cfg(feature = "tokio-console")]
        let waker = spans.console.as_ref().map(ConsoleSpan::enter);
        enter(&spans.task);
        Some(Self {
            header,
            #[cfg(feature = "tokio-console")]
            waker,
            spans: stage,
        })
    }

    #[cfg(feature = "tokio-console")]
    fn waker(&self) -> Option<&Waker> {
        self.waker.as_deref()
    }

    #[cold]
    fn leave(self, done: bool) {
        let header = self.header;
        drop(self);
        if done {
            header.span.close();
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Stage::Begun(spans) = &*self.spans {
            exit(&spans.task);
            #[cfg(feature = "tokio-console")]
            if let Some(console) = &spans.console {
                console.leave(self.header);
            }
        }
    }
}

/// The spans of a task that is about to be polled; `None` if nobody wants them. What was current at the spawning is let go of.
fn begun(
    stage: Arc<Stage>,
    header: &Header,
    local: &Local,
    size: usize,
    cx: &Context<'_>,
) -> Option<Arc<Stage>> {
    match &*stage {
        Stage::Begun(_) => Some(stage),
        Stage::Spawned(cause) => {
            let spans = Spans::begin(header, local, size, cause, cx)?;
            Some(Arc::new(Stage::Begun(spans)))
        }
    }
}

impl Spans {
    /// `None` if nobody wants this task's.
    fn begin(
        header: &Header,
        local: &Local,
        size: usize,
        cause: &Kept,
        cx: &Context<'_>,
    ) -> Option<Self> {
        let name = TaskInfo::of(header, local).name();
        let kind = Kind::of(header, local);
        let parent = cause.as_parent();
        let is_root = parent.is_none();
        let task = Kept::of(|| {
            tracing::debug_span!(
                target: "rondel::task",
                parent: parent,
                "task",
                id = header.id(),
                name,
                kind = kind.name(),
                spawned_at = %header.site,
            )
        });
        if is_root && !cause.is_none() {
            contained(|| {
                task.follows_from(&cause.0);
            });
        }
        #[cfg(feature = "tokio-console")]
        {
            let console = ConsoleSpan::begin(header, &name, kind, size, cx.waker());
            let wanted = console.is_some() || !task.is_disabled();
            wanted.then_some(Self { task, console })
        }
        #[cfg(not(feature = "tokio-console"))]
        {
            let _ = (size, cx);
            (!task.is_disabled()).then_some(Self { task })
        }
    }
}

/// What kind of task it is.
#[derive(Clone, Copy)]
enum Kind {
    Main,
    Spawned,
    Cleanup,
}

impl Kind {
    fn of(header: &Header, local: &Local) -> Self {
        let main = local.main.borrow();
        if main
            .as_ref()
            .is_some_and(|main| ptr::eq(&raw const main.header, header))
        {
            Self::Main
        } else if header.has(Header::SHIELDED) {
            Self::Cleanup
        } else {
            Self::Spawned
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Spawned => "task",
            Self::Cleanup => "cleanup",
        }
    }
}

/// A span that is kept, and closed with this.
struct Kept(Span);

impl Kept {
    fn of(make: impl FnOnce() -> Span) -> Self {
        Self(contained(make).unwrap_or_else(Span::none))
    }

    /// The parent of a task that was spawned inside this span, if it is to be one. A connection's is: it has no parent itself. With
    /// others, tasks that spawn each other would have more and more ancestors, none of which would be closed.
    fn as_parent(&self) -> Option<Id> {
        let metadata = self.0.metadata()?;
        if metadata.target() == "rondel::connection" {
            self.0.id()
        } else {
            None
        }
    }
}

impl Deref for Kept {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let span = mem::replace(&mut self.0, Span::none());
        contained(|| drop(span));
    }
}

/// A span that has been entered, and is left again with this, however that comes.
struct Inside<'s>(&'s Span);

impl<'s> Inside<'s> {
    fn of(span: &'s Span) -> Self {
        enter(span);
        Self(span)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        exit(self.0);
    }
}

fn enter(span: &Span) {
    contained(|| span.with_subscriber(|(id, subscriber)| subscriber.enter(id)));
}

fn exit(span: &Span) {
    contained(|| span.with_subscriber(|(id, subscriber)| subscriber.exit(id)));
}

/// Runs code of a subscriber. Its panic has been told by the panic hook, and goes no further.
fn contained<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}
