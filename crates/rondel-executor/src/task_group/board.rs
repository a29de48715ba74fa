//! The children of groups, as seen from outside the task that they are parts of.

use std::rc::Weak;

use super::info::ChildInfo;

/// The children of one group, as they were when it was polled last.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    /// Dies with the group.
    pub(super) alive: Weak<()>,
    pub(super) children: Vec<ChildInfo>,
}

impl Board {
    /// The children on these boards, of groups that are there.
    pub(crate) fn children(boards: &[Self]) -> Vec<ChildInfo> {
        let alive = boards.iter().filter(|board| board.alive.strong_count() > 0);
        alive.flat_map(|board| board.children.clone()).collect()
    }
}
