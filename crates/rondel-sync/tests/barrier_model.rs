//! Random programs over a barrier agree, step by step, with a model that keeps a list for each
//! group of tasks; and, run by wakers, leave the barrier in order.

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use harness::{Wakes, poll_once};
use hooked_waker::{On, hooked_waker};
use proptest::prelude::*;
use rondel_sync::Barrier;
use rondel_sync::barrier::BrokenBarrier;

const SLOTS: usize = 7;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Polls the slot's future, or a new one.
    Poll {
        slot: usize,
        new_waker: bool,
    },
    Cancel {
        slot: usize,
    },
    Reset,
    Abort,
    Panic,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0..SLOTS, prop::bool::weighted(0.2))
            .prop_map(|(slot, new_waker)| Op::Poll { slot, new_waker }),
        5 => (0..SLOTS).prop_map(|slot| Op::Cancel { slot }),
        2 => Just(Op::Reset),
        1 => Just(Op::Abort),
        1 => Just(Op::Panic),
    ]
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<usize, BrokenBarrier>> + 'a>>;

/// What the model knows of a task: asyncio's rules, told about lists of slots.
struct Model {
    parties: usize,
    broken: bool,
    /// Has the round that is being left been spoilt by a reset?
    spoilt: bool,
    arrived: Vec<usize>,
    /// Released, with index.
    leaving: Vec<(usize, usize)>,
    late: VecDeque<usize>,
    woken: Vec<usize>,
}

impl Model {
    fn arrive(&mut self, slot: usize) {
        if self.leaving.is_empty() {
            self.arrived.push(slot);
            self.trip();
        } else {
            self.late.push_back(slot);
        }
    }

    fn trip(&mut self) {
        if self.arrived.len() == self.parties {
            self.spoilt = false;
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        let arrived = std::mem::take(&mut self.arrived);
        self.woken.extend(&arrived);
        let next = arrived.into_iter().enumerate();
        self.leaving.extend(next.map(|(index, slot)| (slot, index)));
    }

    /// Takes the slot out of wherever it is; what it had got if it was released.
    fn remove(&mut self, slot: usize) -> Option<Result<usize, BrokenBarrier>> {
        self.arrived.retain(|&other| other != slot);
        self.late.retain(|&other| other != slot);
        let at = self.leaving.iter().position(|&(other, _)| other == slot)?;
        let (_, index) = self.leaving.remove(at);
        let outcome = if self.broken || self.spoilt {
            Err(BrokenBarrier)
        } else {
            Ok(index)
        };
        if self.leaving.is_empty() && !self.broken {
            self.spoilt = false;
            while self.arrived.len() < self.parties && self.leaving.is_empty() {
                let Some(next) = self.late.pop_front() else {
                    break;
                };
                self.arrived.push(next);
                self.trip();
            }
        }
        Some(outcome)
    }

    fn reset(&mut self) {
        self.broken = false;
        self.let_go();
        self.spoilt = !self.leaving.is_empty();
    }

    fn abort(&mut self) {
        self.broken = true;
        self.let_go();
        self.arrived.extend(self.late.drain(..));
        self.let_go();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn random_programs_agree_with_the_model(
        parties in 1..5usize,
        program in prop::collection::vec(op(), 1..100),
    ) {
        let (barrier, wakes) = (Barrier::new(parties), Wakes::new());
        let mut model = Model {
            parties,
            broken: false,
            spoilt: false,
            arrived: Vec::new(),
            leaving: Vec::new(),
            late: VecDeque::new(),
            woken: Vec::new(),
        };
        let mut slots: [Option<Waiting<'_>>; SLOTS] = Default::default();
        let mut ids = [0_u32; SLOTS];
        let mut next_id = 0;
        for op in program {
            // One who arrives last is not woken: it is running.
            let mut running = None;
            match op {
                Op::Poll { slot, new_waker } => {
                    running = Some(slot);
                    let fresh = slots[slot].is_none();
                    if fresh || new_waker {
                        next_id += 1;
                        ids[slot] = next_id;
                    }
                    let mut future =
                        slots[slot].take().unwrap_or_else(|| Box::pin(barrier.wait()));
                    let waker = wakes.waker(ids[slot]);
                    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                    let expected = if fresh && model.broken {
                        Some(Err(BrokenBarrier))
                    } else {
                        if fresh {
                            model.arrive(slot);
                        }
                        if model.leaving.iter().any(|&(other, _)| other == slot) {
                            model.remove(slot)
                        } else {
                            None
                        }
                    };
                    match polled {
                        Poll::Ready(outcome) => prop_assert_eq!(Some(outcome), expected),
                        Poll::Pending => {
                            prop_assert_eq!(None, expected, "{} waits for no reason", slot);
                            slots[slot] = Some(future);
                        }
                    }
                }
                Op::Cancel { slot } => {
                    if slots[slot].take().is_some() {
                        model.remove(slot);
                    }
                }
                Op::Reset => {
                    barrier.reset();
                    model.reset();
                }
                Op::Abort => {
                    barrier.abort();
                    model.abort();
                }
                Op::Panic => {}
            }
            let woken: Vec<u32> = std::mem::take(&mut model.woken)
                .into_iter()
                .filter(|&slot| Some(slot) != running)
                .map(|slot| ids[slot])
                .collect();
            prop_assert_eq!(wakes.take(), woken, "wrong wakes or order");
            prop_assert_eq!(barrier.broken(), model.broken);
            prop_assert_eq!(barrier.n_waiting(), model.arrived.len());
        }
        drop(slots);
        prop_assert_eq!(barrier.n_waiting(), 0, "an arrival was left behind");
    }

    #[test]
    fn the_barrier_stays_in_order_when_wakers_run_the_program(
        parties in 1..5usize,
        script in prop::collection::vec(op(), 1..100),
    ) {
        let world = Rc::new(World {
            barrier: Rc::new(Barrier::new(parties)),
            script: RefCell::new(script.into()),
            slots: Default::default(),
        });
        while let Ok(true) | Err(_) = catch_unwind(AssertUnwindSafe(|| world.step(true))) {}

        // The script is over, wakers do nothing any more. Whoever can go on does.
        let barrier = &world.barrier;
        let mut left: Vec<_> = world.slots.iter().filter_map(Cell::take).collect();
        for _ in 0..SLOTS {
            left.retain_mut(|future| poll_once(Pin::new(future)).is_pending());
        }
        prop_assert_eq!(barrier.n_waiting(), left.len(), "they wait for no reason");
        prop_assert!(left.len() < parties);
        drop(left);
        prop_assert_eq!(barrier.n_waiting(), 0);
        barrier.abort();
        barrier.reset();
        let fresh = Rc::new(Barrier::new(parties));
        prop_assert_eq!(format!("{barrier:?}"), format!("{fresh:?}"));
        prop_assert_eq!(Rc::strong_count(barrier), 1);
        let mut round: Vec<_> = (1..parties).map(|_| Box::pin(barrier.wait())).collect();
        for wait in &mut round {
            prop_assert!(poll_once(wait.as_mut()).is_pending());
        }
        prop_assert_eq!(poll_once(pin!(barrier.wait())), Poll::Ready(Ok(parties - 1)));
        for (index, wait) in round.iter_mut().enumerate() {
            prop_assert_eq!(poll_once(wait.as_mut()), Poll::Ready(Ok(index)));
        }
    }
}

/// A program of which each call of a waker's code runs the next step.
struct World {
    barrier: Rc<Barrier>,
    script: RefCell<VecDeque<Op>>,
    // Taken out while polled, so that a nested step finds the slot empty.
    slots: [Cell<Option<Waiting<'static>>>; SLOTS],
}

impl World {
    fn step(self: &Rc<Self>, may_panic: bool) -> bool {
        let Some(op) = self.script.borrow_mut().pop_front() else {
            return false;
        };
        match op {
            Op::Poll { slot, .. } => {
                let mut future = self.slots[slot].take().unwrap_or_else(|| {
                    let barrier = Rc::clone(&self.barrier);
                    Box::pin(async move { barrier.wait().await })
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
                    drop(self.slots[slot].replace(Some(future)));
                }
            }
            Op::Cancel { slot } => drop(self.slots[slot].take()),
            Op::Reset => self.barrier.reset(),
            Op::Abort => self.barrier.abort(),
            // Without the panic hook, which would print it.
            Op::Panic if may_panic => resume_unwind(Box::new("a panic on purpose")),
            Op::Panic => {}
        }
        true
    }
}
