//! Programs, what happens in them, and random ones.

use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

/// What a task does, one after the other. Handles stand in one table for all, in the order of spawning; an index means
/// the handle there, if it is still there.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Yield,
    Wait(usize),
    Open(usize),
    Spawn(Rc<[Self]>),
    Cancel(usize),
    Await(usize),
    DropHandle(usize),
    OnDone(usize),
    Leave(Left),
    /// Leaves it when the task's frame is dropped.
    Guard(Left),
    CallSoon(Option<Left>),
    Panic,
}

/// A cleanup: so many turns, perhaps a wait, perhaps a panic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) turns: usize,
    pub(crate) gate: Option<usize>,
    pub(crate) panics: bool,
}

pub(crate) const GATES: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Polled(usize),
    /// A task's frame is gone.
    Dropped(usize),
    Cancelled(usize, bool),
    Joined(usize, Ended),
    Done(usize, Ended),
    Called(usize),
    CleanupBegins(usize),
    CleanupEnds(usize),
    LostTask(usize),
    LostCleanup(usize),
    /// Between turns: tasks alive, cleanups among them, entries ready.
    Counted(usize, usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Finished,
    Cancelled,
    Panicked,
}

/// What the owner does between turns.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Run,
    Do(Op),
}

fn left() -> impl Strategy<Value = Left> {
    (
        0..3_usize,
        proptest::option::weighted(0.2, 0..GATES),
        proptest::bool::weighted(0.15),
    )
        .prop_map(|(turns, gate, panics)| Left {
            turns,
            gate,
            panics,
        })
}

fn op() -> impl Strategy<Value = Op> {
    let leaf = prop_oneof![
        4 => Just(Op::Yield),
        3 => (0..GATES).prop_map(Op::Wait),
        3 => (0..GATES).prop_map(Op::Open),
        3 => (0..8_usize).prop_map(Op::Cancel),
        3 => (0..8_usize).prop_map(Op::Await),
        1 => (0..8_usize).prop_map(Op::DropHandle),
        2 => (0..8_usize).prop_map(Op::OnDone),
        2 => left().prop_map(Op::Leave),
        2 => left().prop_map(Op::Guard),
        2 => proptest::option::weighted(0.3, left()).prop_map(Op::CallSoon),
        1 => Just(Op::Panic),
    ];
    leaf.prop_recursive(3, 40, 6, |inner| {
        vec(inner, 0..6).prop_map(|script| Op::Spawn(script.into()))
    })
}

fn script() -> impl Strategy<Value = Op> {
    vec(op(), 0..8).prop_map(|script| Op::Spawn(script.into()))
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Run),
        3 => script().prop_map(Step::Do),
        2 => (0..GATES).prop_map(|gate| Step::Do(Op::Open(gate))),
        2 => (0..8_usize).prop_map(|index| Step::Do(Op::Cancel(index))),
        1 => (0..8_usize).prop_map(|index| Step::Do(Op::DropHandle(index))),
        1 => (0..8_usize).prop_map(|index| Step::Do(Op::OnDone(index))),
        1 => proptest::option::weighted(0.5, left()).prop_map(|left| Step::Do(Op::CallSoon(left))),
    ]
}
