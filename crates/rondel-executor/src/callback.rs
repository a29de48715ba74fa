//! Callbacks: the other kind of entry in the ready queue, not a task.

pub(crate) mod handle;
pub(crate) mod once;

use std::rc::Rc;

/// Something that can stand in the ready queue and be called at its turn.
///
/// Closures given to [`Spawner::call_soon`](crate::Spawner::call_soon) have an entry of their own. Implement
/// this for what is called again and again, such as a connection whenever its socket is ready, and queue the same `Rc` each
/// time with [`Spawner::push`](crate::Spawner::push): then nothing is allocated at all.
pub trait Callback {
    /// Called once for each time it was queued, on the executor's thread.
    fn call(self: Rc<Self>);

    /// Called instead of [`call`](Callback::call) when the executor closes first: it should let go of what it holds, since
    /// handles to it may live on. Does nothing unless implemented.
    fn discard(&self) {}

    /// Where it comes from, for the report if it panics.
    fn site(&self) -> &'static std::panic::Location<'static>;
}
