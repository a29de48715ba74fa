//! Scheduling closures: each takes along the task-local values that are current.

use std::panic::Location;
use std::rc::Rc;

use crate::callback::Callback;
use crate::callback::handle::Handle;
use crate::callback::once::Once;
use crate::core::Local;
use crate::task_local::current::{inherited, may_inherit};
use crate::task_local::snapshot::call_with;

/// Makes an entry of a closure.
#[inline]
pub(crate) fn schedule(
    local: &Local,
    site: &'static Location<'static>,
    callback: impl FnOnce() + 'static,
) -> Handle {
    if may_inherit() {
        schedule_inheriting(local, site, callback)
    } else {
        schedule_as_is(local, site, callback)
    }
}

#[cold]
fn schedule_inheriting(
    local: &Local,
    site: &'static Location<'static>,
    callback: impl FnOnce() + 'static,
) -> Handle {
    match inherited() {
        None => schedule_as_is(local, site, callback),
        values => schedule_as_is(local, site, move || call_with(values, site, callback)),
    }
}

#[inline]
fn schedule_as_is(
    local: &Local,
    site: &'static Location<'static>,
    callback: impl FnOnce() + 'static,
) -> Handle {
    let once = Once::new(&local.spare, site, callback);
    let handle = Handle::of(&once);
    if local.closed.get() {
        once.cancel();
    } else {
        local.push_once(once);
    }
    handle
}

impl Handle {
    /// A callback that is scheduled by other means, a timer for example, and the handle that cancels it.
    ///
    /// ```
    /// use rondel_executor::{Executor, Handle};
    ///
    /// let executor = Executor::new();
    /// let (callback, handle) = Handle::schedule_later(|| println!("now"));
    /// executor.spawner().push(callback);
    /// executor.run_until_idle();
    /// assert!(!handle.is_pending() && !handle.cancelled());
    /// ```
    #[track_caller]
    pub fn schedule_later(closure: impl FnOnce() + 'static) -> (Rc<dyn Callback>, Self) {
        let site = Location::caller();
        let once = match inherited() {
            None => Once::allocate(site, closure),
            values => Once::allocate(site, move || call_with(values, site, closure)),
        };
        let handle = Self::of(&once);
        (once.into_callback(), handle)
    }
}
