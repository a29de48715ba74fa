//! What is running on this thread right now: the executor, the task, the scope that takes what is left behind.
//!
//! Set for the time of a turn and of a poll, and restored after, so that turns of different executors may nest. Plain
//! pointers in constant thread-locals without destructors: each is valid because the guard that set it also borrows what
//! it points to, and clears it before that borrow ends. The guards live in frames of this crate and are never handed out,
//! so none can be forgotten, or dropped out of order.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

use crate::cleanup::Scope;
use crate::core::{Core, Local};
use crate::task::header::Header;
use crate::wait::Waits;

struct Context {
    core: Cell<*const Arc<Core>>,
    task: Cell<*const Header>,
    scope: Cell<*const Scope>,
}

thread_local! {
    static CONTEXT: Context = const {
        Context {
            core: Cell::new(ptr::null()),
            task: Cell::new(ptr::null()),
            scope: Cell::new(ptr::null()),
        }
    };
}

/// A turn under way: the executor is current until this is dropped.
pub(crate) struct Turn<'a> {
    core: *const Arc<Core>,
    task: *const Header,
    scope: *const Scope,
    _borrowed: std::marker::PhantomData<&'a Arc<Core>>,
}

impl<'a> Turn<'a> {
    pub(crate) fn enter(core: &'a Arc<Core>) -> Self {
        CONTEXT.with(|context| Self {
            core: context.core.replace(core),
            task: context.task.replace(ptr::null()),
            scope: context.scope.replace(ptr::null()),
            _borrowed: std::marker::PhantomData,
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        CONTEXT.with(|context| {
            context.core.set(self.core);
            context.task.set(self.task);
            context.scope.set(self.scope);
        });
    }
}

/// Runs `f` on the executor whose turn it is on this thread, if there is one.
#[inline]
pub(crate) fn with_core<R>(f: impl FnOnce(Option<&Arc<Core>>) -> R) -> R {
    let core = CONTEXT.with(|context| context.core.get());
    // SAFETY: non-null only while a `Turn` that borrows the `Arc` is alive on this very thread. That turn cannot end
    // before `f` does: it is further up the stack.
    f(unsafe { core.as_ref() })
}

/// The same with its local half, whose home this thread is.
#[inline]
pub(crate) fn with_local<R>(f: impl FnOnce(Option<(&Arc<Core>, &Local)>) -> R) -> R {
    with_core(|core| {
        f(core.map(|core| {
            // SAFETY: executors take their turns at home: those who enter one have the local half in their hands.
            (core, unsafe { core.local.get_at_home() })
        }))
    })
}

/// The executor whose turn it is on this thread.
pub(crate) fn current_core() -> Option<Arc<Core>> {
    with_core(|core| core.cloned())
}

/// Names the task that is about to be polled; [`Polling::begin`] picks it up inside.
#[inline]
pub(crate) fn announce(task: *const Header) {
    CONTEXT.with(|context| context.task.set(task));
}

/// Nothing is being polled any more, whether or not the harness got to run.
#[inline]
pub(crate) fn retire() {
    // The scope needs no care: `with_scope` restores it, also when unwinding.
    CONTEXT.with(|context| context.task.set(ptr::null()));
}

/// Whether no task is being polled, nor announced.
pub(crate) fn is_between_polls() -> bool {
    CONTEXT.with(|context| context.task.get().is_null())
}

/// A poll under way. The task stays current until this is dropped, which must happen inside the poll: after it the
/// task's memory may go.
pub(crate) struct Polling<'a> {
    header: &'a Header,
}

impl<'a> Polling<'a> {
    /// Makes the announced task the one being polled.
    ///
    /// # Safety
    /// A task must have been announced, and must stay alive for `'a`.
    #[inline]
    pub(crate) unsafe fn begin() -> Self {
        let task = CONTEXT.with(|context| context.task.get());
        debug_assert!(!task.is_null(), "a task is polled only by its executor");
        // SAFETY: the caller vouches for it.
        let header = unsafe { &*task };
        Self { header }
    }

    /// The same for a header that somebody else keeps.
    pub(crate) fn of(header: &'a Header) -> Self {
        announce(header);
        Self { header }
    }

    #[inline]
    pub(crate) fn header(&self) -> &'a Header {
        self.header
    }
}

impl Drop for Polling<'_> {
    #[inline]
    fn drop(&mut self) {
        retire();
    }
}

/// Runs `f` on the header of the task being polled, if one is.
#[inline]
pub(crate) fn with_task<R>(f: impl FnOnce(Option<&Header>) -> R) -> R {
    let task = CONTEXT.with(|context| context.task.get());
    // SAFETY: non-null only between `announce` and `retire`, while the task is being polled and so alive; `f` cannot
    // keep the reference.
    f(unsafe { task.as_ref() })
}

impl Waits {
    /// Labels the task that is being polled, if one is. `detail` tells apart things of the same kind.
    #[inline]
    pub fn label(self, detail: u32) {
        with_task(|task| {
            if let Some(header) = task {
                header.label(self, detail);
            }
        });
    }
}

/// Runs `f` with `scope` as the one that takes what is left behind.
pub(crate) fn with_scope<R>(scope: &Scope, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Scope);
    impl Drop for Restore {
        fn drop(&mut self) {
            CONTEXT.with(|context| context.scope.set(self.0));
        }
    }
    let _restore = Restore(CONTEXT.with(|context| context.scope.replace(scope)));
    f()
}

/// The scope entered last on this thread.
pub(crate) fn entered_scope() -> Option<Scope> {
    let scope = CONTEXT.with(|context| context.scope.get());
    // SAFETY: non-null only inside `with_scope`, which borrows the scope.
    unsafe { scope.as_ref() }.cloned()
}
