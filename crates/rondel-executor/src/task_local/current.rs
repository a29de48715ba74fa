//! Which task-local values are current, and how they are found, replaced and inherited.
//!
//! Current is, in this order: the slot entered last on this thread (a scope outside of tasks, a callback with inherited
//! values), else the table of the task that is being polled. Nothing in here is borrowed while foreign code runs: values
//! go in and out as shares.

use super::values::{Shared, Slot, Value, replace_in};
use crate::context::{self, Place};
use crate::core::Local;
use crate::task::header::Header;

/// Whether there may be values to inherit: all that starting something costs those who use none.
#[inline]
pub(crate) fn may_inherit() -> bool {
    context::with_place(|place| match place {
        Place::Nowhere => false,
        Place::Task(header) => header.may_have_locals(),
        Place::Slot(_) => true,
    })
}

/// A share of the values that are current: what is started now inherits them.
pub(crate) fn inherited() -> Shared {
    context::with_place(|place| match place {
        Place::Nowhere => None,
        Place::Slot(slot) => slot.0.borrow().clone(),
        Place::Task(header) => {
            if !header.may_have_locals() {
                return None;
            }
            let local = header.home.local.get()?;
            local
                .extras(header, |extras| extras.locals.clone())
                .flatten()
        }
    })
}

/// Has a new task inherit the values that are current.
#[cold]
pub(crate) fn bequeath(header: &Header, local: &Local) {
    if let Some(values) = inherited() {
        header.note_locals();
        local.with_extras(header, |extras| extras.locals = Some(values));
    }
}

/// The current value of a key.
pub(crate) fn lookup(id: usize) -> Option<Value> {
    inherited().and_then(|values| values.get(id))
}

/// Sets or takes away the current value of a key; gives the one before, or `value` back where there is no place for it.
pub(crate) fn replace(id: usize, value: Option<Value>) -> Result<Option<Value>, Option<Value>> {
    context::with_place(|place| match place {
        Place::Slot(slot) => Ok(replace_in(&mut slot.0.borrow_mut(), id, value)),
        Place::Task(header) => match header.home.local.get() {
            Some(local) => {
                header.note_locals();
                Ok(local.with_extras(header, |extras| replace_in(&mut extras.locals, id, value)))
            }
            None => Err(value),
        },
        Place::Nowhere => Err(value),
    })
}

/// Runs `f` with `value` as the current one of a key. Afterwards the one from before is current again, and `value` is what it
/// has become inside.
pub(crate) fn enter<R>(id: usize, value: &mut Option<Value>, f: impl FnOnce() -> R) -> R {
    struct PutBack<'a> {
        id: usize,
        outside: Option<Value>,
        inside: &'a mut Option<Value>,
    }
    impl Drop for PutBack<'_> {
        fn drop(&mut self) {
            // The place is the same as on entry: whatever was entered in between has been left.
            if let Ok(inside) = replace(self.id, self.outside.take()) {
                *self.inside = inside;
            }
        }
    }
    match replace(id, value.take()) {
        Ok(outside) => {
            let _put_back = PutBack {
                id,
                outside,
                inside: value,
            };
            f()
        }
        Err(held) => {
            let mut values = None;
            let _nothing = replace_in(&mut values, id, held);
            let slot = Slot::new(values);
            context::with_slot(&slot, || enter_slot(id, value, f))
        }
    }
}

/// Runs `f` in the slot that has just been entered, and takes the value out again, also when unwinding.
fn enter_slot<R>(id: usize, value: &mut Option<Value>, f: impl FnOnce() -> R) -> R {
    struct TakeOut<'a>(usize, &'a mut Option<Value>);
    impl Drop for TakeOut<'_> {
        fn drop(&mut self) {
            if let Ok(inside) = replace(self.0, None) {
                *self.1 = inside;
            }
        }
    }
    let _take_out = TakeOut(id, value);
    f()
}

/// Runs `f`, one of our own reports, with the values of a task that need not be running.
pub(crate) fn within<R>(header: &Header, local: &Local, f: impl FnOnce() -> R) -> R {
    let values = local
        .extras(header, |extras| extras.locals.clone())
        .flatten();
    if values.is_none() {
        return f();
    }
    context::with_slot(&Slot::new(values), f)
}
