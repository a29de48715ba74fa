//! What ran while time went on: a look over the executor's shoulder that costs next to nothing.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::observer::Running;

/// Tells which entry ran when a counter moved that somebody else moves, a thread now and then: for who looks for entries that take
/// long, and does not care for the others.
///
/// An [`Observer`](crate::Observer) is told of each entry before it runs and after; this costs one look at the counter an entry
/// instead. What it tells is exact: the counter moved while this entry ran, or before it since the one that was told of last, while
/// none ran. Set one with [`Spawner::set_pulse`](crate::Spawner::set_pulse).
///
/// ```
/// use rondel_executor::{Executor, Pulse};
/// use std::{cell::RefCell, rc::Rc, sync::Arc, sync::atomic::{AtomicU32, Ordering}};
///
/// let executor = Executor::new();
/// let beat = Arc::new(AtomicU32::new(0));
/// let told = Rc::new(RefCell::new(Vec::new()));
/// let note = Rc::clone(&told);
/// let pulse = Pulse::new(Arc::clone(&beat), move |ran| note.borrow_mut().push(ran.to_string()));
/// executor.spawner().set_pulse(Some(pulse));
/// executor.spawn(async {}).detach();
/// // Stands for a thread that comes by while this runs.
/// executor.spawn(async move { beat.fetch_add(1, Ordering::Relaxed); }).named("slow").detach();
/// executor.spawn(async {}).detach();
/// executor.run_until_idle();
/// assert_eq!(told.borrow().len(), 1);
/// assert!(told.borrow()[0].starts_with("\"slow\" spawned at "));
/// ```
#[derive(Clone)]
pub struct Pulse(Rc<Inner>);

struct Inner {
    beat: Arc<AtomicU32>,
    seen: Cell<u32>,
    told: Box<dyn Fn(&Running)>,
}

impl Pulse {
    /// Has `told` called after an entry during which `beat` has changed: on the executor's thread, with nothing of the executor
    /// borrowed. It must not panic.
    pub fn new(beat: Arc<AtomicU32>, told: impl Fn(&Running) + 'static) -> Self {
        Self(Rc::new(Inner {
            seen: Cell::new(beat.load(Ordering::Relaxed)),
            beat,
            told: Box::new(told),
        }))
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse")
            .field("seen", &self.0.seen)
            .finish_non_exhaustive()
    }
}

impl Pulse {
    /// The counter, and what it stood at when it was looked at last.
    #[inline]
    pub(crate) fn counter(&self) -> (&AtomicU32, u32) {
        (&self.0.beat, self.0.seen.get())
    }

    /// The counter stands at `now`, and this has run.
    pub(crate) fn tell(&self, now: u32, ran: &Running) {
        self.0.seen.set(now);
        (self.0.told)(ran);
    }
}
