//! `Notify`: one, all, stored notifications, cancellation; and random programs against a model.

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Context;

use harness::{Task, Wakes, poll_once};
use hooked_waker::{On, hooked_waker};
use proptest::prelude::*;
use rondel_sync::Notify;

#[test]
fn one_notification_wakes_the_one_who_has_waited_longest() {
    let (wakes, notify) = (Wakes::new(), Notify::new());
    let mut tasks: Vec<_> = (0..3)
        .map(|id| Task::waiting(id, &wakes, notify.notified()))
        .collect();
    assert_eq!(notify.waiting(), 3);
    notify.notify_one();
    assert_eq!(wakes.take(), [0]);
    assert!(tasks[1].is_pending());
    tasks[0].ready();
    notify.notify_one();
    notify.notify_one();
    assert_eq!(wakes.take(), [1, 2]);
    tasks[2].ready();
    tasks[1].ready();
}

#[test]
fn a_notification_that_finds_nobody_is_stored_once() {
    let (wakes, notify) = (Wakes::new(), Notify::new());
    notify.notify_one();
    notify.notify_one();
    Task::new(1, &wakes, notify.notified()).ready();
    let mut second = Task::waiting(2, &wakes, notify.notified());
    notify.notify_one();
    second.ready();
    let _third = Task::waiting(3, &wakes, notify.notified());
}

#[test]
fn one_who_comes_between_the_wake_and_the_run_does_not_get_the_notification() {
    let (wakes, notify) = (Wakes::new(), Notify::new());
    let mut patient = Task::waiting(1, &wakes, notify.notified());
    notify.notify_one();
    let _greedy = Task::waiting(2, &wakes, notify.notified());
    patient.ready();
}

#[test]
fn all_who_wait_are_notified_in_order_and_nothing_is_stored() {
    let (wakes, notify) = (Wakes::new(), Notify::new());
    let mut tasks: Vec<_> = (0..3)
        .map(|id| Task::waiting(id, &wakes, notify.notified()))
        .collect();
    notify.notify_waiters();
    assert_eq!(wakes.take(), [0, 1, 2]);
    tasks.iter_mut().for_each(Task::ready);
    let _later = Task::waiting(3, &wakes, notify.notified());
}

#[test]
fn a_future_not_polled_yet_does_not_miss_the_notification_of_all() {
    let (wakes, notify) = (Wakes::new(), Notify::new());
    let mut early = Task::new(1, &wakes, notify.notified());
    notify.notify_one();
    notify.notify_waiters();
    early.ready();
    // It had not used up what was stored.
    Task::new(2, &wakes, notify.notified()).ready();
}

#[test]
fn a_notification_handed_to_a_task_that_is_dropped_goes_to_the_next_or_is_stored() {
    let (wakes, notify) = (Wakes::new(), Notify::new());
    let first = Task::waiting(1, &wakes, notify.notified());
    let second = Task::waiting(2, &wakes, notify.notified());
    notify.notify_one();
    drop(first);
    assert_eq!(wakes.take(), [1, 2]);
    drop(second);
    assert_eq!(
        format!("{notify:?}"),
        "Notify { stored: true, waiting: 0, .. }"
    );
    Task::new(3, &wakes, notify.notified()).ready();
}

#[test]
fn a_notification_of_all_is_not_passed_on() {
    let (wakes, notify) = (Wakes::new(), Notify::new());
    let first = Task::waiting(1, &wakes, notify.notified());
    notify.notify_waiters();
    let _second = Task::waiting(2, &wakes, notify.notified());
    drop(first);
    assert_eq!(wakes.take(), [1]);
    let _third = Task::waiting(3, &wakes, notify.notified());
}

#[test]
#[should_panic(expected = "`Notify::notified` polled after it was ready")]
fn polling_again_after_ready_panics() {
    let (wakes, notify) = (Wakes::new(), Notify::new());
    notify.notify_one();
    let mut task = Task::new(0, &wakes, notify.notified());
    task.ready();
    let _ = task.poll();
}

#[test]
fn a_notification_while_the_waker_is_cloned_is_not_missed() {
    for all in [true, false] {
        let notify = Rc::new(Notify::new());
        let waker = hooked_waker({
            let notify = Rc::clone(&notify);
            move |on| match on {
                On::Clone if all => notify.notify_waiters(),
                On::Clone => notify.notify_one(),
                On::Wake | On::Drop => {}
            }
        });
        let notified = pin!(notify.notified());
        assert!(notified.poll(&mut Context::from_waker(&waker)).is_ready());
    }
}

#[test]
fn one_who_comes_while_others_of_a_round_are_woken_finds_what_was_stored_meanwhile() {
    let notify = Rc::new(Notify::new());
    let late: Rc<RefCell<Option<Waiting<'static>>>> = Rc::default();
    let storing = hooked_waker({
        let notify = Rc::clone(&notify);
        move |on| {
            if on == On::Wake {
                notify.notify_one();
            }
        }
    });
    let coming = hooked_waker({
        let (notify, late) = (Rc::clone(&notify), Rc::clone(&late));
        move |on| {
            if on == On::Wake {
                let notify = Rc::clone(&notify);
                let mut future: Waiting<'static> = Box::pin(async move { notify.notified().await });
                let _ = poll_once(Pin::new(&mut future));
                *late.borrow_mut() = Some(future);
            }
        }
    });
    let (mut first, mut second) = (pin!(notify.notified()), pin!(notify.notified()));
    let polled = first.as_mut().poll(&mut Context::from_waker(&storing));
    assert!(polled.is_pending());
    let polled = second.as_mut().poll(&mut Context::from_waker(&coming));
    assert!(polled.is_pending());
    notify.notify_waiters();
    assert_eq!((notify.stored(), notify.waiting()), (false, 0));
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Create {
        slot: usize,
    },
    /// Polls the slot's future, or a new one.
    Poll {
        slot: usize,
        new_waker: bool,
    },
    Cancel {
        slot: usize,
    },
    One,
    All,
    Panic,
}

const SLOTS: usize = 5;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..SLOTS).prop_map(|slot| Op::Create { slot }),
        8 => (0..SLOTS, prop::bool::weighted(0.2))
            .prop_map(|(slot, new_waker)| Op::Poll { slot, new_waker }),
        4 => (0..SLOTS).prop_map(|slot| Op::Cancel { slot }),
        4 => Just(Op::One),
        2 => Just(Op::All),
        1 => Just(Op::Panic),
    ]
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Stage {
    Created,
    Waiting,
    GotOne,
    GotAll,
}

type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn random_programs_agree_with_the_model(program in prop::collection::vec(op(), 1..80)) {
        let (notify, wakes) = (Notify::new(), Wakes::new());
        let mut futures: [Option<Waiting<'_>>; SLOTS] = Default::default();
        let (mut ids, mut next_id) = ([0_u32; SLOTS], 0);
        let mut stages = [Stage::Created; SLOTS];
        let (mut queue, mut stored) = (VecDeque::new(), false);
        for op in program {
            let mut woken = Vec::new();
            let mut notify_one = false;
            match op {
                Op::Create { slot } => {
                    if futures[slot].is_none() {
                        futures[slot] = Some(Box::pin(notify.notified()));
                        stages[slot] = Stage::Created;
                    }
                }
                Op::Poll { slot, new_waker } => {
                    let mut future = futures[slot].take().unwrap_or_else(|| {
                        stages[slot] = Stage::Created;
                        Box::pin(notify.notified())
                    });
                    if stages[slot] == Stage::Created || new_waker {
                        next_id += 1;
                        ids[slot] = next_id;
                    }
                    let waker = wakes.waker(ids[slot]);
                    let ready = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                    let expected = match stages[slot] {
                        Stage::Created if stored => std::mem::take(&mut stored),
                        Stage::Created => {
                            stages[slot] = Stage::Waiting;
                            queue.push_back(slot);
                            false
                        }
                        Stage::Waiting => false,
                        Stage::GotOne | Stage::GotAll => true,
                    };
                    prop_assert_eq!(ready, expected);
                    if !ready {
                        futures[slot] = Some(future);
                    }
                }
                Op::Cancel { slot } => {
                    if futures[slot].take().is_some() {
                        queue.retain(|&other| other != slot);
                        notify_one = stages[slot] == Stage::GotOne;
                    }
                }
                Op::One => {
                    notify.notify_one();
                    notify_one = true;
                }
                Op::All => {
                    notify.notify_waiters();
                    woken.extend(queue.drain(..).map(|slot: usize| ids[slot]));
                    for (stage, future) in stages.iter_mut().zip(&futures) {
                        if future.is_some() && *stage != Stage::GotOne {
                            *stage = Stage::GotAll;
                        }
                    }
                }
                Op::Panic => {}
            }
            if notify_one {
                match queue.pop_front() {
                    Some(slot) => {
                        stages[slot] = Stage::GotOne;
                        woken.push(ids[slot]);
                    }
                    None => stored = true,
                }
            }
            prop_assert_eq!(wakes.take(), woken, "wrong wakes or order");
            prop_assert_eq!(notify.waiting(), queue.len());
            prop_assert_eq!(notify.stored(), stored);
        }
        drop(futures);
        prop_assert_eq!(notify.waiting(), 0, "a waiter was left behind");
    }

    #[test]
    fn nobody_waits_for_what_is_stored_when_wakers_run_the_program(
        script in prop::collection::vec(op(), 1..80),
    ) {
        let world = Rc::new(World {
            notify: Rc::new(Notify::new()),
            script: RefCell::new(script.into()),
            futures: Default::default(),
        });
        while let Ok(true) | Err(_) = catch_unwind(AssertUnwindSafe(|| world.step(true))) {}

        let notify = &world.notify;
        prop_assert!(!notify.stored() || notify.waiting() == 0, "a lost notification");
        // The script is over, wakers do nothing any more. Each who waits gets one notification.
        for future in &world.futures {
            drop(future.take());
        }
        prop_assert_eq!(notify.waiting(), 0);
        let _ = poll_once(pin!(notify.notified()));
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(notify.notified())).collect();
        for notified in &mut waiting {
            prop_assert!(poll_once(notified.as_mut()).is_pending());
        }
        for notified in &mut waiting {
            notify.notify_one();
            prop_assert!(poll_once(notified.as_mut()).is_ready());
        }
        drop(waiting);
        prop_assert_eq!(Rc::strong_count(notify), 1);
    }
}

/// Whether a notification is stored, as its `Debug` says.
trait Stored {
    fn stored(&self) -> bool;
}

impl Stored for Notify {
    fn stored(&self) -> bool {
        format!("{self:?}").contains("stored: true")
    }
}

/// A program of which each call of a waker's code runs the next step.
struct World {
    notify: Rc<Notify>,
    script: RefCell<VecDeque<Op>>,
    // Taken out while polled, so that a nested step finds the slot empty.
    futures: [Cell<Option<Waiting<'static>>>; SLOTS],
}

impl World {
    fn step(self: &Rc<Self>, may_panic: bool) -> bool {
        let Some(op) = self.script.borrow_mut().pop_front() else {
            return false;
        };
        match op {
            Op::Create { .. } => {}
            Op::Poll { slot, .. } => {
                let mut future = self.futures[slot].take().unwrap_or_else(|| {
                    let notify = Rc::clone(&self.notify);
                    Box::pin(async move { notify.notified().await })
                });
                let world = Rc::downgrade(self);
                let waker = hooked_waker(move |on| {
                    if let Some(world) = world.upgrade() {
                        // A drop that panics while something unwinds would abort; that is the
                        // waker's fault.
                        world.step(on != On::Drop && !std::thread::panicking());
                    }
                });
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                if polled.is_pending() {
                    drop(self.futures[slot].replace(Some(future)));
                }
            }
            Op::Cancel { slot } => drop(self.futures[slot].take()),
            Op::One => self.notify.notify_one(),
            Op::All => self.notify.notify_waiters(),
            // Without the panic hook, which would print it.
            Op::Panic if may_panic => resume_unwind(Box::new("a panic on purpose")),
            Op::Panic => {}
        }
        true
    }
}
