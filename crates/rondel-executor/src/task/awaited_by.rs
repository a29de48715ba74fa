//! Who awaits a task.

use crate::context;
use crate::core::Local;
use crate::task::handle::Task;
use crate::task::header::Header;
use crate::task::id::TaskId;

/// Notes that the task being polled awaits this one, if accounts are kept.
#[cold]
pub(super) fn note(header: &Header, local: &Local) {
    if local.accounts.get() {
        let by = context::with_task(|task| task.map(|task| TaskId(task.id())));
        if let Some(by) = by {
            add(header, local, by);
        }
    }
}

fn add(header: &Header, local: &Local, by: TaskId) {
    if header.has(Header::FINISHED) {
        return;
    }
    local.with_extras(header, |extras| {
        if !extras.awaited_by.contains(&by) {
            extras.awaited_by.push(by);
        }
    });
}

impl<T> Task<T> {
    /// Notes for reports that the task `by` awaits this one: for combinators that wait for tasks in ways of their own. It
    /// stands in [`TaskInfo::awaited_by`](crate::TaskInfo::awaited_by) until it is taken back or this task is done. asyncio:
    /// `future_add_to_awaited_by`.
    ///
    /// Whoever awaits the handle itself needs none of this.
    ///
    /// ```
    /// use rondel_executor::Executor;
    /// use std::future::pending;
    ///
    /// let executor = Executor::new();
    /// let job = executor.spawn(pending::<()>());
    /// let boss = executor.spawn(pending::<()>());
    /// job.add_awaited_by(boss.id());
    /// assert_eq!(job.info().unwrap().awaited_by(), [boss.id()]);
    /// job.discard_awaited_by(boss.id());
    /// assert!(job.info().unwrap().awaited_by().is_empty());
    /// ```
    #[doc(alias = "future_add_to_awaited_by")]
    pub fn add_awaited_by(&self, by: TaskId) {
        if let Some((header, local)) = self.reach() {
            add(header, local, by);
        }
    }

    /// Takes back what [`add_awaited_by`](Task::add_awaited_by) noted. asyncio: `future_discard_from_awaited_by`.
    #[doc(alias = "future_discard_from_awaited_by")]
    pub fn discard_awaited_by(&self, by: TaskId) {
        if let Some((header, local)) = self.reach() {
            local.extras(header, |extras| {
                extras.awaited_by.retain(|known| *known != by)
            });
        }
    }
}
