//! Which children of which groups something happens in: for reports of what nobody takes.
//!
//! While a child is polled, the way from it to its task is known: groups nest as their polls do. A panic leaves that way, by
//! unwinding: so each group that it goes on from notes the chain in the task, for the one around it or for the task's end.

use std::any::{Any, TypeId};

use super::info::{About, ChildInfo};
use crate::context::{self, Who};
use crate::crowd::{Crowd, Place};

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

/// A panic on its way out of a group, and where it came from.
pub(crate) struct Origin {
    thrown: Thrown,
    chain: Vec<ChildInfo>,
}

/// What tells one panic from another. Its address is used again once it is gone, if somebody on the way has caught it.
#[derive(PartialEq, Eq)]
struct Thrown {
    address: usize,
    kind: TypeId,
    message: Option<String>,
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

impl Origin {
    /// The chain of a panic, if it is the one noted.
    pub(crate) fn of(self, payload: &(dyn Any + Send)) -> Vec<ChildInfo> {
        if self.thrown == Thrown::of(payload) {
            self.chain
        } else {
            Vec::new()
        }
    }
}

impl Thrown {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            address: (&raw const *payload).cast::<()>().addr(),
            kind: payload.type_id(),
            message: text.map(ToOwned::to_owned),
        }
    }
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
