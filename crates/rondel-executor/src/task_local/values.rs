//! Where task-local values are kept, and how they are found, replaced and inherited.
//!
//! Current is, in this order: the slot entered last on this thread (a scope outside of tasks, a callback with inherited
//! values), else the table of the task that is being polled. Nothing in here is borrowed while foreign code runs: values
//! go in and out as shares.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::context::{self, Place};
use crate::core::Local;
use crate::task::header::Header;

/// One value, shared by all who inherited it.
#[derive(Clone)]
pub(crate) enum Value {
    Here(Rc<dyn Any>),
    /// May go along to other threads.
    Anywhere(Arc<dyn Any + Send + Sync>),
}

impl Value {
    pub(crate) fn get<T: 'static>(&self) -> &T {
        let value = match self {
            Self::Here(value) => value.downcast_ref(),
            Self::Anywhere(value) => value.downcast_ref(),
        };
        value.expect("a key has one type, and its number is its own")
    }
}

/// The values of a task, by key: few, so a list is looked through. Never empty where it is kept.
#[derive(Clone, Default)]
pub(crate) struct Values(pub(crate) Vec<(usize, Value)>);

impl Values {
    fn get(&self, id: usize) -> Option<Value> {
        self.0
            .iter()
            .find(|(key, _)| *key == id)
            .map(|(_, value)| value.clone())
    }

    fn replace(&mut self, id: usize, value: Option<Value>) -> Option<Value> {
        let place = self.0.iter().position(|(key, _)| *key == id);
        match (place, value) {
            (Some(place), Some(value)) => Some(std::mem::replace(&mut self.0[place].1, value)),
            (Some(place), None) => Some(self.0.swap_remove(place).1),
            (None, Some(value)) => {
                self.0.push((id, value));
                None
            }
            (None, None) => None,
        }
    }
}

/// A snapshot, `None` for no values.
pub(crate) type Shared = Option<Rc<Values>>;

/// Replaces one value in a snapshot. Who else has a share of it keeps what was.
fn replace_in(values: &mut Shared, id: usize, value: Option<Value>) -> Option<Value> {
    if values.is_none() && value.is_none() {
        return None;
    }
    // Copies the list if others share it: counts go up and down, but no value is dropped.
    let list = Rc::make_mut(values.get_or_insert_default());
    let before = list.replace(id, value);
    if list.0.is_empty() {
        *values = None;
    }
    before
}

/// Values that are current in place of a task's.
#[derive(Default)]
pub(crate) struct Slot(pub(crate) RefCell<Shared>);

impl Slot {
    pub(crate) fn new(values: Shared) -> Self {
        Self(RefCell::new(values))
    }
}

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

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _)| key))
            .finish()
    }
}
