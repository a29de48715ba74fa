//! What task-local values are kept in: shares of a list, which is copied when one of its owners writes to it.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

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
    pub(super) fn get(&self, id: usize) -> Option<Value> {
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
pub(super) fn replace_in(values: &mut Shared, id: usize, value: Option<Value>) -> Option<Value> {
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

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _)| key))
            .finish()
    }
}
