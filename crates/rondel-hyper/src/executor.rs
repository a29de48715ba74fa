//! [`LoopExecutor`] and [`RemoteExecutor`]: where hyper's own tasks run.

use std::future::Future;

use hyper::rt::Executor;
use rondel_loop::LoopHandle;

/// hyper's tasks run on the loop that runs on the calling thread. They need not be `Send`.
///
/// HTTP/2 has a task for each stream, and one for each connection of a client. A panic in one of them is reported to the loop's
/// exception handler, and the others go on.
///
/// # Panics
/// `execute`, if no loop is running on this thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopExecutor;

impl<F: Future + 'static> Executor<F> for LoopExecutor {
    fn execute(&self, future: F) {
        // Nobody waits for it; the loop does, at its end.
        drop(rondel_loop::spawn(future));
    }
}

/// hyper's tasks run on the loop of a handle, whichever thread they come from. They have to be `Send`.
///
/// After the loop has closed, they are dropped.
#[derive(Clone, Debug)]
pub struct RemoteExecutor(LoopHandle);

impl RemoteExecutor {
    /// For the loop of `handle`.
    pub const fn new(handle: LoopHandle) -> Self {
        Self(handle)
    }
}

impl<F> Executor<F> for RemoteExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn(future));
    }
}
