//! Who is told of failures that nobody awaits.

use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use rondel_executor::PanicPayload;

use crate::exception::ExceptionContext;
use crate::state::{ExceptionHandler, LocalLoop, State};

impl LocalLoop {
    /// Sets who is told of failures that nobody awaits; `None`: standard error. A handler that panics is reported there, too.
    /// asyncio: `set_exception_handler`.
    ///
    /// ```
    /// use rondel_loop::{LocalLoop, spawn, yield_now};
    /// use std::{cell::RefCell, rc::Rc};
    ///
    /// rondel_loop::run(async {
    ///     let told = Rc::new(RefCell::new(String::new()));
    ///     let note = Rc::clone(&told);
    ///     LocalLoop::current().unwrap().set_exception_handler(Some(Rc::new(
    ///         move |_, context| *note.borrow_mut() = context.to_string(),
    ///     )));
    ///     spawn(async { panic!("on the stairs") }).detach();
    ///     yield_now().await;
    ///     assert!(told.borrow().contains("on the stairs"));
    /// }).unwrap();
    /// ```
    pub fn set_exception_handler(&self, handler: Option<ExceptionHandler>) {
        let before = self.state().exception_handler.replace(handler);
        drop(before);
    }

    /// The exception handler that is set. asyncio: `get_exception_handler`.
    #[doc(alias = "get_exception_handler")]
    pub fn exception_handler(&self) -> Option<ExceptionHandler> {
        self.state().exception_handler.borrow().clone()
    }

    /// Reports a failure that nobody awaits to the exception handler. asyncio: `call_exception_handler`.
    pub fn call_exception_handler(&self, context: &ExceptionContext) {
        self.state().call_exception_handler(context);
    }
}

impl State {
    /// Runs foreign code outside any entry (a waker, a destructor, a flush): a panic of it is reported, and goes no further.
    #[inline]
    pub(crate) fn guarded(self: &Rc<Self>, f: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
            self.report_panic(payload);
        }
    }

    #[cold]
    fn report_panic(self: &Rc<Self>, payload: Box<dyn Any + Send>) {
        self.call_exception_handler(&ExceptionContext {
            panic: Some(PanicPayload::new(payload)),
            ..ExceptionContext::new("something that the loop called on the side panicked")
        });
    }

    /// Calls the loop's exception handler. One that panics is not asked again about its own panic: both go to standard
    /// error, and the loop goes on.
    pub(crate) fn call_exception_handler(self: &Rc<Self>, context: &ExceptionContext) {
        let handler = self.exception_handler.borrow().clone();
        let Some(handler) = handler else {
            return context.report();
        };
        let local = LocalLoop::of(self);
        let called = catch_unwind(AssertUnwindSafe(|| handler(&local, context)));
        if let Err(payload) = called {
            let payload = PanicPayload::new(payload);
            // Nowhere to report a failing standard error to.
            let _ = writeln!(
                std::io::stderr(),
                "the exception handler panicked: {payload}\n  while it was told: {context}"
            );
        }
    }
}
