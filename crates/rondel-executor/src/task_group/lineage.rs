//! Which children of which groups something happens in: for reports of what nobody takes.
//!
//! While a child is polled, the way from it to its task is known: groups nest as their polls do. A panic leaves that way, by
//! unwinding: so each group that it goes on from notes the chain in the task, for the one around it or for the task's end.

use std::any::Any;

use super::info::{About, ChildInfo};
use super::origin::{Origin, Thrown};
use crate::context::{self, Who};
use crate::crowd::{Crowd, Place};
use crate::lost::{Lost, LostKind};
use crate::spawner::Spawner;
use crate::task::join_error::PanicPayload;

/// Whoever of a group has the turn, while turns are given.
pub(super) struct Turns<'a, P>(pub(super) &'a Crowd<P, About>);

impl<P> Who for Turns<'_, P> {
    fn who(&self) -> Option<ChildInfo> {
        self.0.turn()?.who()
    }

    fn number(&self) -> u64 {
        self.0.turn().map_or(0, |place| place.number())
    }
}

/// One that is polled out of turn.
impl<P> Who for Place<P, About> {
    fn who(&self) -> Option<ChildInfo> {
        ChildInfo::of(self.about())
    }

    fn number(&self) -> u64 {
        self.about().number()
    }
}

/// One that has left.
impl Who for Option<ChildInfo> {
    fn who(&self) -> Option<ChildInfo> {
        self.clone()
    }

    fn number(&self) -> u64 {
        self.as_ref().map_or(0, ChildInfo::number)
    }
}

/// The way that a panic has come, caught just now in `child`.
#[cold]
pub(super) fn chain_of(payload: &(dyn Any + Send), child: Option<ChildInfo>) -> Vec<ChildInfo> {
    let here: Vec<_> = child.into_iter().chain(context::members()).collect();
    let noted = take();
    match noted {
        // By a group inside the child.
        Some(noted) if noted.thrown == Thrown::of(payload) && is_inside(&noted.chain, &here) => {
            noted.chain
        }
        _ => here,
    }
}

/// Notes where a panic comes from that is about to go on in whoever polls the group.
#[cold]
pub(super) fn note(payload: &(dyn Any + Send), chain: Vec<ChildInfo>) {
    let thrown = Thrown::of(payload);
    with_place(|place| *place = Some(Origin { thrown, chain }));
}

fn take() -> Option<Origin> {
    with_place(Option::take).flatten()
}

/// Runs `f` on the place for it in the running task.
fn with_place<R>(f: impl FnOnce(&mut Option<Origin>) -> R) -> Option<R> {
    context::with_task(|task| {
        let header = task?;
        let local = header.home.local.get()?;
        Some(local.with_extras(header, |extras| f(&mut extras.origin)))
    })
}

/// Whether a chain ends as another one, of something around it, does.
fn is_inside(inner: &[ChildInfo], outer: &[ChildInfo]) -> bool {
    let more = inner.len().checked_sub(outer.len());
    more.is_some_and(|more| {
        let around = inner[more..].iter().zip(outer);
        around
            .into_iter()
            .all(|(one, other)| one.is_named_as(other))
    })
}

/// Reports a panic of a group's child that has no awaiter, to the executor whose turn it is.
pub(super) fn report_panic(payload: Box<dyn Any + Send>, groups: Vec<ChildInfo>) {
    let kind = LostKind::TaskPanicked(PanicPayload::new(payload));
    let lost = Lost {
        groups,
        ..Lost::in_task(kind, Spawner::current_task())
    };
    match Spawner::current() {
        Some(spawner) => spawner.report(lost),
        None => lost.write_to_stderr(),
    }
}
