//! Snapshots of the task-local values: taking them along by hand.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::cleanup::scope::Cleanup;
use crate::context;
use crate::lost::Lost;
use crate::site::Site;
use crate::task_local::current::inherited;
use crate::task_local::values::{Shared, Slot, Value, Values};

/// The task-local values of one moment. Cheap to take and to clone: they are shared until somebody sets one.
///
/// Tasks and callbacks inherit by themselves; this is for handing values to what is called by other means, a list of
/// listeners for example. asyncio: `copy_context()` and `Context`.
///
/// ```
/// use rondel_executor::{TaskLocal, TaskLocals};
///
/// static NAME: TaskLocal<&str> = TaskLocal::new();
///
/// let then = NAME.sync_scope("then", TaskLocals::current);
/// assert_eq!(NAME.get(), None);
/// assert_eq!(then.run(|| NAME.get()), Some("then"));
/// ```
#[doc(alias = "copy_context")]
#[derive(Clone, Default)]
pub struct TaskLocals(Shared);

impl TaskLocals {
    /// Those that are current.
    #[inline]
    pub fn current() -> Self {
        Self(inherited())
    }

    pub(crate) fn of(values: Shared) -> Self {
        Self(values)
    }

    pub(crate) fn share(&self) -> Shared {
        self.0.clone()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |values| values.0.len())
    }

    /// Calls `f` with these as the current values, and no others. What `f` sets lasts until it returns. A task spawned inside
    /// inherits them. asyncio: `Context.run`, which keeps what is set.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        context::with_slot(&Slot::new(self.0.clone()), f)
    }
}

impl fmt::Debug for TaskLocals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocals")
            .field("len", &self.len())
            .finish()
    }
}

/// Those of the task-local values that may go to other threads; see [`TaskLocal::across_threads`](crate::TaskLocal).
#[derive(Clone, Default)]
pub struct SendTaskLocals(Vec<(usize, Arc<dyn Any + Send + Sync>)>);

impl SendTaskLocals {
    /// Those that are current. Allocates only if there are any.
    pub fn current() -> Self {
        let Some(values) = inherited() else {
            return Self::default();
        };
        let may_go = values.0.iter().filter_map(|(id, value)| match value {
            Value::Anywhere(value) => Some((*id, Arc::clone(value))),
            Value::Here(_) => None,
        });
        Self(may_go.collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `f` with these as the current values, on whatever thread; what `f` sets lasts until it returns.
    pub fn run<R>(self, f: impl FnOnce() -> R) -> R {
        if self.0.is_empty() {
            return f();
        }
        let values = self
            .0
            .into_iter()
            .map(|(id, value)| (id, Value::Anywhere(value)));
        let values = Rc::new(Values(values.collect()));
        context::with_slot(&Slot::new(Some(values)), f)
    }
}

impl fmt::Debug for SendTaskLocals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendTaskLocals")
            .field("len", &self.0.len())
            .finish()
    }
}

/// Calls a callback with the values it inherited. Its panic is caught and reported here, while they are current.
#[cold]
pub(crate) fn call_with(values: Shared, site: Site, callback: impl FnOnce()) {
    let slot = Slot::new(values);
    context::with_slot(&slot, || {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(callback)) {
            let core = context::current_core();
            match core.as_ref().and_then(|core| core.local.get()) {
                Some(local) => local.report(Lost::in_callback(payload, Some(site))),
                None => resume_unwind(payload),
            }
        }
    });
}

/// A cleanup with the values that were current where it was left; another scope may run it.
pub(crate) fn carry(cleanup: Cleanup) -> Cleanup {
    match inherited() {
        None => cleanup,
        values => Box::pin(Carried {
            slot: Slot::new(values),
            cleanup,
        }),
    }
}

struct Carried {
    slot: Slot,
    cleanup: Cleanup,
}

impl Future for Carried {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = Pin::into_inner(self);
        context::with_slot(&this.slot, || this.cleanup.as_mut().poll(cx))
    }
}
