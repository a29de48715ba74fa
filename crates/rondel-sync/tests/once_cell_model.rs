//! Random programs over a once cell agree, step by step, with a model; and, run by wakers and
//! initialisers, leave the cell in order.

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use harness::{Wakes, poll_once};
use hooked_waker::{On, hooked_waker};
use proptest::prelude::*;
use rondel_sync::OnceCell;

const SLOTS: usize = 5;

/// What an initialiser does if it is polled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Wait,
    Succeed,
    Fail,
    Panic,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Polls the slot's future, or a new one.
    Poll {
        slot: usize,
        new_waker: bool,
        act: Act,
    },
    Cancel {
        slot: usize,
    },
    Set,
    Panic,
}

fn op() -> impl Strategy<Value = Op> {
    let act = prop_oneof![
        6 => Just(Act::Wait),
        1 => Just(Act::Succeed),
        3 => Just(Act::Fail),
        1 => Just(Act::Panic),
    ];
    prop_oneof![
        20 => (0..SLOTS, prop::bool::weighted(0.2), act)
            .prop_map(|(slot, new_waker, act)| Op::Poll { slot, new_waker, act }),
        8 => (0..SLOTS).prop_map(|slot| Op::Cancel { slot }),
        1 => Just(Op::Set),
        1 => Just(Op::Panic),
    ]
}

#[derive(Debug, PartialEq)]
struct Failed;

type Getting<'a> = Pin<Box<dyn Future<Output = Result<usize, Failed>> + 'a>>;

/// The value is the number of the one who made it; `running` tells who initialises.
async fn get(
    cell: &OnceCell<usize>,
    maker: usize,
    act: &Cell<Act>,
    running: &Cell<Option<usize>>,
) -> Result<usize, Failed> {
    struct Running<'a>(&'a Cell<Option<usize>>);
    impl Drop for Running<'_> {
        fn drop(&mut self) {
            self.0.set(None);
        }
    }
    let init = async || {
        assert_eq!(running.replace(Some(maker)), None, "two at once");
        let _running = Running(running);
        poll_fn(|_| match act.get() {
            Act::Wait => Poll::Pending,
            Act::Succeed => Poll::Ready(Ok(maker)),
            Act::Fail => Poll::Ready(Err(Failed)),
            Act::Panic => resume_unwind(Box::new("a panic on purpose")),
        })
        .await
    };
    cell.get_or_try_init(init).await.copied()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn random_programs_agree_with_the_model(program in prop::collection::vec(op(), 1..80)) {
        let (cell, wakes) = (OnceCell::new(), Wakes::new());
        let (act, running) = (Cell::new(Act::Wait), Cell::new(None));
        let mut futures: [Option<Getting<'_>>; SLOTS] = Default::default();
        let (mut ids, mut next_id) = ([0_u32; SLOTS], 0);
        // The model: the value, whose turn it is, and who waits.
        let (mut value, mut turn) = (None, None);
        let mut queue: VecDeque<usize> = VecDeque::new();
        for op in program {
            let mut woken = Vec::new();
            let mut turn_ends = false;
            match op {
                Op::Poll { slot, new_waker, act: does } => {
                    act.set(does);
                    let fresh = futures[slot].is_none();
                    if fresh || new_waker {
                        next_id += 1;
                        ids[slot] = next_id;
                    }
                    let mut future = futures[slot]
                        .take()
                        .unwrap_or_else(|| Box::pin(get(&cell, slot, &act, &running)));
                    let waker = wakes.waker(ids[slot]);
                    let polled = catch_unwind(AssertUnwindSafe(|| {
                        future.as_mut().poll(&mut Context::from_waker(&waker))
                    }));
                    let expected = if let Some(value) = value {
                        Ok(Poll::Ready(Ok(value)))
                    } else {
                        if fresh && turn.is_none() {
                            turn = Some(slot);
                        } else if fresh {
                            queue.push_back(slot);
                        }
                        if turn != Some(slot) || does == Act::Wait {
                            Ok(Poll::Pending)
                        } else {
                            match does {
                                Act::Succeed => {
                                    (value, turn) = (Some(slot), None);
                                    woken.extend(queue.drain(..).map(|slot| ids[slot]));
                                    Ok(Poll::Ready(Ok(slot)))
                                }
                                Act::Fail => {
                                    turn_ends = true;
                                    Ok(Poll::Ready(Err(Failed)))
                                }
                                Act::Panic | Act::Wait => {
                                    turn_ends = true;
                                    Err(())
                                }
                            }
                        }
                    };
                    if let Ok(Poll::Pending) = polled {
                        futures[slot] = Some(future);
                    }
                    prop_assert_eq!(polled.map_err(|_| ()), expected);
                }
                Op::Cancel { slot } => {
                    if futures[slot].take().is_some() {
                        queue.retain(|&other| other != slot);
                        turn_ends = turn == Some(slot);
                    }
                }
                Op::Set => {
                    let free = value.is_none() && turn.is_none();
                    prop_assert_eq!(cell.set(99).is_ok(), free);
                    if free {
                        value = Some(99);
                    }
                }
                Op::Panic => {}
            }
            if turn_ends {
                turn = queue.pop_front();
                woken.extend(turn.map(|slot| ids[slot]));
            }
            prop_assert_eq!(wakes.take(), woken, "wrong wakes or order");
            prop_assert_eq!(cell.get().copied(), value);
            prop_assert_eq!(cell.initializing(), turn.is_some());
            prop_assert_eq!(cell.waiting(), queue.len());
            prop_assert!(running.get().is_none() || running.get() == turn);
        }
        drop(futures);
        prop_assert_eq!((cell.initializing(), cell.waiting()), (false, 0));
    }

    #[test]
    fn the_turn_is_never_lost_when_wakers_and_initialisers_run_the_program(
        script in prop::collection::vec(op(), 1..80),
    ) {
        let world = Rc::new(World {
            cell: Rc::new(OnceCell::new()),
            script: RefCell::new(script.into()),
            calm: Cell::new(false),
            running: Cell::new(None),
            futures: Default::default(),
        });
        while let Ok(true) | Err(_) = catch_unwind(AssertUnwindSafe(|| world.step(true))) {}

        // The script is over; wakers do nothing any more, initialisers come to an end.
        let cell = &world.cell;
        let mut left: Vec<_> = world.futures.iter().filter_map(Cell::take).collect();
        // Each of them waits once at most, and takes at most one poll more to learn of a value.
        for _ in 0..2 * SLOTS {
            left.retain_mut(|future| {
                let polled = catch_unwind(AssertUnwindSafe(|| poll_once(Pin::new(future))));
                matches!(polled, Ok(Poll::Pending))
            });
        }
        prop_assert_eq!(left.len(), 0, "they wait for no reason");
        prop_assert_eq!((cell.initializing(), cell.waiting()), (false, 0));
        let made = poll_once(pin!(cell.get_or_init(async || 7)));
        prop_assert_eq!(made, Poll::Ready(cell.get().unwrap()));
        prop_assert_eq!(Rc::strong_count(cell), 1);
    }
}

/// A program of which each call of a waker's or of an initialiser's code runs the next step.
struct World {
    cell: Rc<OnceCell<usize>>,
    script: RefCell<VecDeque<Op>>,
    // Initialisers must not panic: something may be unwinding.
    calm: Cell<bool>,
    running: Cell<Option<usize>>,
    // Taken out while polled, so that a nested step finds the slot empty.
    futures: [Cell<Option<Getting<'static>>>; SLOTS],
}

impl World {
    fn get(self: &Rc<Self>, slot: usize, act: Act) -> Getting<'static> {
        let (cell, world) = (Rc::clone(&self.cell), Rc::downgrade(self));
        Box::pin(async move {
            let init = async || {
                let running = world.upgrade().expect("it outlives its futures");
                assert_eq!(running.running.replace(Some(slot)), None, "two at once");
                let _running = Running(running);
                let mut waits = act == Act::Wait;
                poll_fn(|cx| {
                    let world = world.upgrade().expect("it outlives its futures");
                    world.step(false);
                    match act {
                        // Once, or until the end of the script.
                        Act::Wait if std::mem::take(&mut waits) => {
                            cx.waker().wake_by_ref();
                            Poll::Pending
                        }
                        Act::Wait if !world.script.borrow().is_empty() => Poll::Ready(Err(Failed)),
                        Act::Wait | Act::Succeed => Poll::Ready(Ok(slot)),
                        Act::Fail => Poll::Ready(Err(Failed)),
                        // It may have been begun where it might have panicked, and be polled where it must not.
                        Act::Panic if world.calm.get() || std::thread::panicking() => {
                            Poll::Ready(Err(Failed))
                        }
                        Act::Panic => resume_unwind(Box::new("a panic on purpose")),
                    }
                })
                .await
            };
            cell.get_or_try_init(init).await.copied()
        })
    }

    fn step(self: &Rc<Self>, may_panic: bool) -> bool {
        let Some(op) = self.script.borrow_mut().pop_front() else {
            return false;
        };
        match op {
            Op::Poll { slot, act, .. } => {
                let act = match act {
                    Act::Panic if !may_panic => Act::Fail,
                    act => act,
                };
                let mut future = self.futures[slot]
                    .take()
                    .unwrap_or_else(|| self.get(slot, act));
                let world = Rc::downgrade(self);
                let waker = hooked_waker(move |on| {
                    if let Some(world) = world.upgrade() {
                        // A drop that panics while something unwinds would abort; that is the
                        // waker's fault.
                        world.step(on != On::Drop && !std::thread::panicking());
                    }
                });
                let polled = {
                    let _calm = Calm::within(self, !may_panic);
                    future.as_mut().poll(&mut Context::from_waker(&waker))
                };
                if polled.is_pending() {
                    drop(self.futures[slot].replace(Some(future)));
                }
            }
            Op::Cancel { slot } => drop(self.futures[slot].take()),
            Op::Set => drop(self.cell.set(99).is_ok()),
            // Without the panic hook, which would print it.
            Op::Panic if may_panic => resume_unwind(Box::new("a panic on purpose")),
            Op::Panic => {}
        }
        true
    }
}

/// No initialiser panics meanwhile.
struct Calm(Rc<World>, bool);

impl Calm {
    fn within(world: &Rc<World>, calm: bool) -> Self {
        Self(Rc::clone(world), world.calm.replace(calm))
    }
}

impl Drop for Calm {
    fn drop(&mut self) {
        self.0.calm.set(self.1);
    }
}

struct Running(Rc<World>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(None);
    }
}
