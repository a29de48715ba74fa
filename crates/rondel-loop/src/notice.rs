//! What a loop has noticed about the program that runs on it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use rondel_executor::Running;

use crate::exception::ExceptionContext;
use crate::local::LocalLoop;
use crate::report::{Level, report};
use crate::state::State;

/// Something that debug mode has noticed: not a failure, but worth a look.
///
/// Without a [handler](LocalLoop::set_notice_handler) it is one line on standard error, or, with the feature `tracing` and once the
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
        /// From when on it is noticed; see [`LocalLoop::set_slow_callback_duration`].
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
    /// The loop was closed, and this was still open or pending.
    Unclosed {
        /// What it is, in words.
        what: String,
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
            Self::Unclosed { what } => write!(f, "the loop was closed with {what}"),
        }
    }
}

/// Is told of every [`Notice`], on the loop's thread.
pub type NoticeHandler = Rc<dyn Fn(&LocalLoop, &Notice)>;

impl LocalLoop {
    /// Sets who is told what [debug mode](LocalLoop::set_debug) notices; `None`: standard error, a line each. Gives the one
    /// before. A handler that panics is reported to the exception handler.
    ///
    /// ```
    /// use rondel_loop::{LocalLoop, Notice, spawn};
    /// use std::{cell::Cell, rc::Rc, time::Duration};
    ///
    /// rondel_loop::run(async {
    ///     let lp = LocalLoop::current().unwrap();
    ///     let slow = Rc::new(Cell::new(0));
    ///     let count = Rc::clone(&slow);
    ///     lp.set_notice_handler(Some(Rc::new(move |_, notice| {
    ///         if let Notice::Slow { .. } = notice {
    ///             count.set(count.get() + 1);
    ///         }
    ///     })));
    ///     lp.set_slow_callback_duration(Duration::ZERO);
    ///     lp.set_debug(true);
    ///     spawn(async {}).await.unwrap();
    ///     lp.set_debug(false);
    ///     assert!(slow.get() > 0);
    /// }).unwrap();
    /// ```
    pub fn set_notice_handler(&self, handler: Option<NoticeHandler>) -> Option<NoticeHandler> {
        self.state().notice_handler.replace(handler)
    }
}

impl State {
    /// Tells of something noticed. A handler that panics does not take the loop with it.
    #[cold]
    pub(crate) fn notice(self: &Rc<Self>, notice: &Notice) {
        let handler = self.notice_handler.borrow().clone();
        let Some(handler) = handler else {
            return report(Level::Warning, notice);
        };
        let local = LocalLoop::of(self);
        let told = catch_unwind(AssertUnwindSafe(|| handler(&local, notice)));
        if let Err(payload) = told {
            self.call_exception_handler(&ExceptionContext {
                panic: Some(rondel_executor::PanicPayload::new(payload)),
                ..ExceptionContext::new("the handler of notices panicked")
            });
        }
    }
}
