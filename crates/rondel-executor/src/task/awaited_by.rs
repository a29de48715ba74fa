//! Who awaits a task.

use crate::context;
use crate::core::Local;
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

/// Notes that `by` awaits a task, until it is taken back or the task has finished.
pub(super) fn add(header: &Header, local: &Local, by: TaskId) {
    if header.has(Header::FINISHED) {
        return;
    }
    local.with_extras(header, |extras| {
        if !extras.awaited_by.contains(&by) {
            extras.awaited_by.push(by);
        }
    });
}

pub(super) fn discard(header: &Header, local: &Local, by: TaskId) {
    local.extras(header, |extras| {
        extras.awaited_by.retain(|known| *known != by)
    });
}
