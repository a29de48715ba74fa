//! Tasks whose first poll runs inside the call that spawns them.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use async_task::Runnable;

use crate::context::{self, Turn};
use crate::core::Core;
use crate::spawner::Spawner;
use crate::task::handle::Task;
use crate::task::harness;
use crate::task::header::Header;

impl Spawner {
    /// Makes a task of `future` and polls it here and now. If it finishes, it is done when this returns and has never been in
    /// the queue; else it goes on as any task. asyncio: `create_task(…, eager_start=True)`.
    ///
    /// It is a task from the beginning: [`current_task`](Spawner::current_task) says so, it has inherited task-local values of
    /// its own, panics stay inside it, and it can be cancelled. The caller is current again afterwards. Outside this
    /// executor's turn it is [spawned](Spawner::spawn) as usual: nothing is polled while the executor does not run.
    ///
    /// Worth it where most of them find what they need at once, in a cache say. It gives up what the queue is for: what
    /// the future does before its first wait happens before the caller goes on, and tasks that spawn each other so
    /// recurse on the stack.
    ///
    /// ```
    /// use rondel_executor::{Executor, Spawner};
    ///
    /// let executor = Executor::new();
    /// executor.call_soon(|| {
    ///     let task = Spawner::current().unwrap().spawn_eager(async { "cached" });
    ///     assert!(task.is_finished());
    /// });
    /// executor.run_until_idle();
    /// ```
    #[doc(alias = "eager_task_factory")]
    #[track_caller]
    pub fn spawn_eager<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let site = Location::caller();
        Task::new(harness::spawn_eager(
            self.core(),
            self.local(),
            future,
            site,
        ))
    }
}

/// Runs a task for its first poll inside whatever runs now. Gives the task back outside the executor's turn.
pub(super) fn run_here(
    core: &Arc<Core>,
    runnable: Runnable<Header>,
) -> Result<(), Runnable<Header>> {
    let our_turn = context::with_core(|turn| turn.is_some_and(|turn| Arc::ptr_eq(turn, core)));
    if !our_turn {
        return Err(runnable);
    }
    context::suspend(|| {
        let _turn = Turn::enter(core);
        harness::run(runnable);
    });
    Ok(())
}
