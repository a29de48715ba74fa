//! Writing down who the children of a group are, for those who look at the task that they are parts of.

use std::rc::Rc;

use super::board::Board;
use super::info::{About, ChildInfo};
use crate::context;
use crate::core::Local;
use crate::crowd::Crowd;
use crate::task::header::Header;

/// At most so many children of a group are written down: it is done again at each of its polls.
const AT_MOST: usize = 64;

/// Writes them down in the running task, if accounts are kept.
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
