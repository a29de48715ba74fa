//! Task-local values where the loop calls or runs things itself.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use rondel_executor::{PanicPayload, TaskLocals};

use crate::current;
use crate::exception::ExceptionContext;

/// Calls a callback with the values it has inherited. Its panic is reported in here, while they are current.
pub(crate) fn call(locals: &TaskLocals, site: &'static Location<'static>, callback: impl FnOnce()) {
    if locals.is_empty() {
        return callback();
    }
    locals.run(|| {
        let Err(payload) = catch_unwind(AssertUnwindSafe(callback)) else {
            return;
        };
        match current::get("callback") {
            Ok(local) => local.call_exception_handler(&ExceptionContext {
                panic: Some(PanicPayload::new(payload)),
                callback: Some(site),
                ..ExceptionContext::new("a callback panicked")
            }),
            Err(_) => resume_unwind(payload),
        }
    });
}

/// A callback that is called again and again, with the values that are current now.
pub(crate) fn inheriting(
    site: &'static Location<'static>,
    mut callback: impl FnMut() + 'static,
) -> impl FnMut() + 'static {
    let locals = TaskLocals::current();
    move || call(&locals, site, &mut callback)
}

/// Runs `f`, a loop, without the caller's values: what the loop does between its entries is none of the caller's.
pub(crate) fn apart<R>(f: impl FnOnce() -> R) -> R {
    if TaskLocals::current().is_empty() {
        f()
    } else {
        TaskLocals::default().run(f)
    }
}

/// The values that the main futures of a runner hand on to each other. asyncio: `Runner` runs all of them in one context.
#[derive(Debug, Default)]
pub(crate) struct Kept(RefCell<Option<TaskLocals>>);

impl Kept {
    /// What the next main future begins with: what the last one left; the first inherits the caller's.
    pub(crate) fn next(&self) -> TaskLocals {
        let kept = self.0.borrow().clone();
        kept.unwrap_or_else(TaskLocals::current)
    }

    /// Has `main` leave its values here.
    pub(crate) fn keeping<F>(&self, main: F) -> Keeping<'_, F> {
        Keeping { main, kept: self }
    }
}

pin_project! {
    pub(crate) struct Keeping<'k, F> {
        #[pin]
        main: F,
        kept: &'k Kept,
    }
}

impl<F: Future> Future for Keeping<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// After every poll, since nobody says which is the last; also one that panics.
        struct Keep<'k>(&'k Kept);
        impl Drop for Keep<'_> {
            fn drop(&mut self) {
                let before = self.0.0.replace(Some(TaskLocals::current()));
                // Last shares of values may go with it: foreign code.
                drop(before);
            }
        }
        let this = self.project();
        let _keep = Keep(this.kept);
        this.main.poll(cx)
    }
}
