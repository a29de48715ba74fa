//! A look at a task: what its header and its extras say, written down.

use crate::core::Local;
use crate::task::header::{Header, NO_SLOT};
use crate::task::id::TaskId;
use crate::task::info::{Outcome, TaskInfo};
use crate::task_group::board::Board;

impl TaskInfo {
    pub(crate) fn of(header: &Header, local: &Local) -> Self {
        let (waits, waits_on) = header.waits();
        let (name, account, awaited_by, children) = local
            .extras(header, |extras| {
                (
                    extras.name.clone(),
                    extras.account,
                    extras.awaited_by.clone(),
                    Board::children(&extras.groups),
                )
            })
            .unwrap_or_default();
        Self {
            id: TaskId(header.id()),
            name,
            site: header.site,
            waits,
            waits_on,
            waited: header.waited().0,
            slot: Some(header.slot.get()).filter(|slot| *slot != NO_SLOT),
            flags: if header.has(Header::PANICKED) {
                Outcome::Panicked
            } else if header.has(Header::CANCELLED) {
                Outcome::Cancelled
            } else if header.has(Header::FINISHED) {
                Outcome::Finished
            } else {
                Outcome::Pending
            },
            account,
            awaited_by,
            children,
        }
    }
}
