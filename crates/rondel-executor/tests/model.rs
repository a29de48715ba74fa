//! Random programs, run by the executor and by a simple model of it: the same things happen in the same order.
#![cfg(not(rondel_loom))]

mod harness;
#[path = "model/program.rs"]
mod program;
#[path = "model/real.rs"]
mod real;
#[path = "model/reference.rs"]
mod reference;

use proptest::collection::vec;
use proptest::prelude::*;

use program::{Ended, Event, Left, Op, Step, step};
use real::run_real;
use reference::run_model;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(3000)))]

    #[test]
    fn what_happens_is_what_the_model_says(steps in vec(step(), 1..14)) {
        prop_assert_eq!(run_real(&steps), run_model(&steps));
    }
}

#[test]
fn the_model_says_something() {
    let steps = [
        Step::Do(Op::Spawn(
            [
                Op::Guard(Left {
                    turns: 1,
                    gate: Some(0),
                    panics: true,
                }),
                Op::Spawn([Op::Yield, Op::Panic].into()),
                Op::OnDone(1),
                Op::Await(1),
                Op::Wait(1),
            ]
            .into(),
        )),
        Step::Run,
        Step::Do(Op::Cancel(0)),
        Step::Run,
        Step::Do(Op::Open(0)),
    ];
    let expected = [
        Event::Counted(1, 0, 1),
        Event::Polled(0),
        Event::Polled(1),
        Event::Polled(1),
        Event::Dropped(1),
        Event::Done(0, Ended::Panicked),
        Event::Polled(0),
        Event::Joined(0, Ended::Panicked),
        Event::Counted(1, 0, 0),
        Event::Cancelled(0, true),
        Event::Counted(1, 0, 1),
        Event::Dropped(0),
        Event::CleanupBegins(0),
        Event::Counted(2, 1, 0),
        Event::Counted(2, 1, 1),
        Event::LostCleanup(0),
        Event::Counted(0, 0, 0),
    ];
    assert_eq!(run_model(&steps), expected);
    assert_eq!(run_real(&steps), expected);
}
