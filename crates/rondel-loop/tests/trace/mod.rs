//! What happened, in order: the vocabulary of most tests here.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// A list that closures and tasks append to. Clones are the same list.
pub(crate) struct Trace<T>(Rc<RefCell<Vec<T>>>);

impl<T> Trace<T> {
    pub(crate) fn new() -> Self {
        Self(Rc::default())
    }

    pub(crate) fn note(&self, what: T) {
        self.0.borrow_mut().push(what);
    }

    /// What has been noted since the last time.
    pub(crate) fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

impl<T> Clone for Trace<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Trace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
