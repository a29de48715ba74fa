//! The children of groups, as seen from outside the task that they are parts of.

use std::rc::{Rc, Weak};

use super::info::{About, ChildInfo};
use crate::context;
use crate::core::Local;
use crate::crowd::Crowd;
use crate::task::header::Header;

/// At most so many children of a group are written down: it is done again at each of its polls.
const AT_MOST: usize = 64;

/// The children of one group, as they were when it was polled last.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    /// Dies with the group.
    alive: Weak<()>,
    children: Vec<ChildInfo>,
}

impl Board {
    /// The children on these boards, of groups that are there.
    pub(crate) fn children(boards: &[Self]) -> Vec<ChildInfo> {
        let alive = boards.iter().filter(|board| board.alive.strong_count() > 0);
        alive.flat_map(|board| board.children.clone()).collect()
    }
}

/// Writes down who the children are, in the running task, if accounts are kept.
#[inline]
pub(super) fn post<T>(alive: &mut Option<Rc<()>>, crowd: &Crowd<T, About>, task: &Header) {
    if let Some(local) = task.home.local.get()
        && local.accounts.get()
    {
        write_down(alive, crowd, local, task);
    }
}

#[cold]
fn write_down<T>(
    alive: &mut Option<Rc<()>>,
    crowd: &Crowd<T, About>,
    local: &Local,
    task: &Header,
) {
    let members = crowd.members();
    let around = context::member_number();
    let children = members
        .iter()
        .filter_map(|member| ChildInfo::of(member.about()))
        .take(AT_MOST)
        .map(|child| child.inside(around))
        .collect();
    let alive = Rc::downgrade(alive.get_or_insert_default());
    local.with_extras(task, |extras| {
        extras
            .groups
            .retain(|board| board.alive.strong_count() > 0 && !board.alive.ptr_eq(&alive));
        extras.groups.push(Board { alive, children });
    });
}
