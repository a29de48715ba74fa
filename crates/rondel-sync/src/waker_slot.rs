//! A place for the waker of the one task that waits.

use std::cell::Cell;
use std::task::Waker;

/// Holds at most one waker.
///
/// A waker's clone and drop are foreign code, which may come back into the primitive that owns this
/// slot. Both run here while nothing is borrowed; but the primitive has to look at its state again
/// after [`register`](Self::register), since what it waits for may have happened meanwhile.
#[derive(Default)]
pub(crate) struct WakerSlot(Cell<Option<Waker>>);

impl WakerSlot {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// Makes `waker` the one to be woken; clones it only if it would wake somebody else than the
    /// present one.
    ///
    /// The present waker stays in place until the clone has succeeded: a clone that panics loses
    /// nothing, and what happens during the clone still wakes someone.
    pub(crate) fn register(&self, waker: &Waker) {
        let present = self.0.take();
        let same = present
            .as_ref()
            .is_some_and(|present| present.will_wake(waker));
        self.0.set(present);
        if !same {
            let clone = waker.clone();
            drop(self.0.replace(Some(clone)));
        }
    }

    /// Takes the waker out, to be woken or dropped by the caller once its state is settled.
    pub(crate) fn take(&self) -> Option<Waker> {
        self.0.take()
    }
}
