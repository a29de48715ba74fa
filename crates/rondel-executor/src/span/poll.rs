//! Polling a task inside its spans.

use std::ptr;
use std::sync::Arc;
#[cfg(feature = "tokio-console")]
use std::task::Waker;
use std::task::{Context, Poll};

#[cfg(feature = "tokio-console")]
use super::console::{ConsoleSpan, Lent};
use super::kept::{Kept, contained, enter, exit};
use super::{Spans, Stage};
use crate::core::Local;
use crate::task::header::Header;
use crate::task::info::TaskInfo;

/// Polls a task inside its spans. `size` is that of its future.
#[inline]
pub(crate) fn poll_inside<T>(
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
                console.leave(self.header.waits());
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
            let spans = begin(header, local, size, cause, cx)?;
            Some(Arc::new(Stage::Begun(spans)))
        }
    }
}

/// A task's spans; `None` if nobody wants them.
fn begin(
    header: &Header,
    local: &Local,
    size: usize,
    cause: &Kept,
    cx: &Context<'_>,
) -> Option<Spans> {
    let info = TaskInfo::of(header, local);
    let kind = Kind::of(header, local);
    let parent = cause.as_parent();
    let is_root = parent.is_none();
    let task = Kept::of(|| {
        tracing::debug_span!(
            target: "rondel::task",
            parent: parent,
            "task",
            id = header.id(),
            name = info.name(),
            kind = kind.name(),
            spawned_at = %header.site,
        )
    });
    if is_root && !cause.is_none() {
        contained(|| {
            task.follows_from(&**cause);
        });
    }
    #[cfg(feature = "tokio-console")]
    {
        let console = ConsoleSpan::begin(&info, kind.in_words_of_tokio(), size, cx.waker());
        let wanted = console.is_some() || !task.is_disabled();
        wanted.then_some(Spans { task, console })
    }
    #[cfg(not(feature = "tokio-console"))]
    {
        let _ = (size, cx);
        (!task.is_disabled()).then_some(Spans { task })
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

    /// A task that stays on its thread, and one that a thread blocks on.
    #[cfg(feature = "tokio-console")]
    const fn in_words_of_tokio(self) -> &'static str {
        match self {
            Self::Main => "block_on",
            Self::Spawned => "local",
            Self::Cleanup => "cleanup",
        }
    }
}
