//! Who is told what a loop has noticed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::exception::ExceptionContext;
use crate::notice::Notice;
use crate::report::{Level, report};
use crate::state::{LocalLoop, NoticeHandler, State};

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
