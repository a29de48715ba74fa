//! `Event` behaves as asyncio's.

mod harness;

use std::collections::VecDeque;
use std::task::Poll;

use harness::{Task, Wakes};
use proptest::prelude::*;
use rondel_sync::Event;

#[test]
fn waiting_for_a_set_event_does_not_yield() {
    let (wakes, event) = (Wakes::new(), Event::new());
    event.set();
    Task::new(1, &wakes, event.wait()).ready();
    assert!(event.is_set());
    assert!(wakes.take().is_empty());
}

#[test]
fn set_wakes_all_in_order() {
    let (wakes, event) = (Wakes::new(), Event::new());
    let mut tasks: Vec<_> = (0..5)
        .map(|id| Task::waiting(id, &wakes, event.wait()))
        .collect();
    assert_eq!(event.waiting(), 5);
    event.set();
    assert_eq!(wakes.take(), [0, 1, 2, 3, 4]);
    assert_eq!(event.waiting(), 0);
    tasks.iter_mut().for_each(Task::ready);
}

#[test]
fn a_pulse_lets_those_through_who_wait_and_no_others() {
    let (wakes, event) = (Wakes::new(), Event::new());
    let mut present = Task::waiting(1, &wakes, event.wait());
    event.set();
    event.clear();
    let mut late = Task::waiting(2, &wakes, event.wait());
    assert_eq!(wakes.take(), [1]);
    present.ready();
    assert!(!event.is_set());
    assert!(late.is_pending());
}

#[test]
fn setting_twice_wakes_once() {
    let (wakes, event) = (Wakes::new(), Event::new());
    let mut task = Task::waiting(1, &wakes, event.wait());
    event.set();
    event.set();
    assert_eq!(wakes.take(), [1]);
    task.ready();
}

#[test]
fn cancelled_waiters_leave_no_entry() {
    let (wakes, event) = (Wakes::new(), Event::new());
    let mut tasks: Vec<_> = (0..3)
        .map(|id| Task::waiting(id, &wakes, event.wait()))
        .collect();
    drop(tasks.remove(1));
    assert_eq!(event.waiting(), 2);
    event.set();
    assert_eq!(wakes.take(), [0, 2]);
}

#[test]
fn a_future_waits_only_from_its_first_poll() {
    let (wakes, event) = (Wakes::new(), Event::new());
    let mut task = Task::new(1, &wakes, event.wait());
    event.set();
    event.clear();
    assert!(task.is_pending());
}

#[test]
#[should_panic(expected = "`Event::wait` polled after it was ready")]
fn polling_again_after_ready_panics() {
    let (wakes, event) = (Wakes::new(), Event::new());
    event.set();
    let mut task = Task::new(1, &wakes, event.wait());
    task.ready();
    let _ = task.poll();
}

#[derive(Clone, Debug)]
enum Op {
    Set,
    Clear,
    Poll(usize),
    Cancel(usize),
}

const SLOTS: usize = 5;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => Just(Op::Set),
        1 => Just(Op::Clear),
        4 => (0..SLOTS).prop_map(Op::Poll),
        2 => (0..SLOTS).prop_map(Op::Cancel),
    ]
}

#[derive(Default)]
struct Model {
    set: bool,
    waiting: VecDeque<usize>,
    through: Vec<usize>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn random_programs_agree_with_the_model(program in prop::collection::vec(op(), 1..60)) {
        let (wakes, event) = (Wakes::new(), Event::new());
        let mut slots: [Option<Task<_>>; SLOTS] = Default::default();
        let mut model = Model::default();
        for op in program {
            let mut woken = Vec::new();
            match op {
                Op::Set => {
                    event.set();
                    model.set = true;
                    woken.extend(model.waiting.iter().map(|&slot| slot as u32));
                    model.through.extend(model.waiting.drain(..));
                }
                Op::Clear => {
                    event.clear();
                    model.set = false;
                }
                Op::Poll(slot) => {
                    let task = slots[slot]
                        .get_or_insert_with(|| Task::new(slot as u32, &wakes, event.wait()));
                    let waits = model.waiting.contains(&slot);
                    let expected = model.through.contains(&slot) || (model.set && !waits);
                    prop_assert_eq!(task.poll(), if expected { Poll::Ready(()) } else { Poll::Pending });
                    if expected {
                        slots[slot] = None;
                        model.through.retain(|&other| other != slot);
                    } else if !waits {
                        model.waiting.push_back(slot);
                    }
                }
                Op::Cancel(slot) => {
                    slots[slot] = None;
                    model.waiting.retain(|&other| other != slot);
                    model.through.retain(|&other| other != slot);
                }
            }
            prop_assert_eq!(wakes.take(), woken);
            prop_assert_eq!(event.is_set(), model.set);
            prop_assert_eq!(event.waiting(), model.waiting.len());
        }
        slots = Default::default();
        drop(slots);
        prop_assert_eq!(event.waiting(), 0);
    }
}
