//! Random programs over a semaphore agree, step by step, with a model that is too simple to be
//! wrong.

mod harness;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use harness::Wakes;
use proptest::prelude::*;
use rondel_sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

const SLOTS: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    /// Makes a future, if the slot is empty, and does not poll it.
    Start {
        slot: usize,
        wanted: usize,
        owned: bool,
    },
    /// Polls with the slot's waker, or with a new one.
    Poll {
        slot: usize,
        new_waker: bool,
    },
    Cancel {
        slot: usize,
    },
    Try {
        wanted: usize,
        owned: bool,
    },
    Release {
        held: prop::sample::Index,
    },
    Forget {
        held: prop::sample::Index,
    },
    Split {
        held: prop::sample::Index,
        amount: usize,
    },
    Add {
        amount: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let wanted = || prop_oneof![6 => Just(1usize), 3 => 2..5usize, 1 => Just(0)];
    let held = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0..SLOTS, wanted(), any::<bool>())
            .prop_map(|(slot, wanted, owned)| Op::Start { slot, wanted, owned }),
        8 => (0..SLOTS, prop::bool::weighted(0.2))
            .prop_map(|(slot, new_waker)| Op::Poll { slot, new_waker }),
        3 => (0..SLOTS).prop_map(|slot| Op::Cancel { slot }),
        2 => (wanted(), any::<bool>()).prop_map(|(wanted, owned)| Op::Try { wanted, owned }),
        5 => held().prop_map(|held| Op::Release { held }),
        1 => held().prop_map(|held| Op::Forget { held }),
        1 => (held(), wanted()).prop_map(|(held, amount)| Op::Split { held, amount }),
        2 => wanted().prop_map(|amount| Op::Add { amount }),
    ]
}

enum Permit<'a> {
    Borrowed(SemaphorePermit<'a>),
    Owned(OwnedSemaphorePermit),
}

impl Permit<'_> {
    fn permits(&self) -> usize {
        match self {
            Self::Borrowed(permit) => permit.permits(),
            Self::Owned(permit) => permit.permits(),
        }
    }

    fn forget(self) {
        match self {
            Self::Borrowed(permit) => permit.forget(),
            Self::Owned(permit) => permit.forget(),
        }
    }

    fn split(&mut self, amount: usize) -> Option<Self> {
        match self {
            Self::Borrowed(permit) => permit.split(amount).map(Self::Borrowed),
            Self::Owned(permit) => permit.split(amount).map(Self::Owned),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Stage {
    Started,
    Waiting,
    HandedOver,
}

struct Waiter<'a> {
    future: Pin<Box<dyn Future<Output = Permit<'a>> + 'a>>,
    wanted: usize,
    waker: u32,
    stage: Stage,
}

struct World<'a> {
    semaphore: &'a Rc<Semaphore>,
    wakes: Wakes,
    next_waker: u32,
    slots: [Option<Waiter<'a>>; SLOTS],
    held: Vec<Permit<'a>>,
    // The model.
    available: usize,
    total: usize,
    limit: usize,
    queue: VecDeque<usize>,
    woken: Vec<u32>,
}

impl<'a> World<'a> {
    fn new(semaphore: &'a Rc<Semaphore>, permits: usize, limit: usize) -> Self {
        Self {
            semaphore,
            wakes: Wakes::new(),
            next_waker: 0,
            slots: Default::default(),
            held: Vec::new(),
            available: permits,
            total: permits,
            limit,
            queue: VecDeque::new(),
            woken: Vec::new(),
        }
    }

    fn new_waker(&mut self) -> u32 {
        self.next_waker += 1;
        self.next_waker
    }

    /// The model's rule: the front is served as long as it can be.
    fn serve(&mut self) {
        while let Some(&slot) = self.queue.front() {
            let waiter = self.slots[slot].as_mut().unwrap();
            if waiter.wanted > self.available {
                break;
            }
            self.available -= waiter.wanted;
            waiter.stage = Stage::HandedOver;
            self.woken.push(waiter.waker);
            self.queue.pop_front();
        }
    }

    fn admits(&self, wanted: usize) -> bool {
        self.queue.is_empty() && self.available >= wanted
    }

    fn step(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Start {
                slot,
                wanted,
                owned,
            } => {
                if self.slots[slot].is_none() {
                    let semaphore = self.semaphore;
                    let future: Pin<Box<dyn Future<Output = Permit<'a>> + 'a>> = if owned {
                        let acquire = Rc::clone(semaphore).acquire_many_owned(wanted);
                        Box::pin(async move { Permit::Owned(acquire.await) })
                    } else {
                        let acquire = semaphore.acquire_many(wanted);
                        Box::pin(async move { Permit::Borrowed(acquire.await) })
                    };
                    let waker = self.new_waker();
                    self.slots[slot] = Some(Waiter {
                        future,
                        wanted,
                        waker,
                        stage: Stage::Started,
                    });
                }
            }
            Op::Poll { slot, new_waker } => {
                let Some(mut waiter) = self.slots[slot].take() else {
                    return Ok(());
                };
                if new_waker {
                    waiter.waker = self.new_waker();
                }
                let waker = self.wakes.waker(waiter.waker);
                let polled = waiter
                    .future
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker));
                let expected = match waiter.stage {
                    Stage::HandedOver => true,
                    Stage::Waiting => false,
                    Stage::Started => {
                        let admitted = self.admits(waiter.wanted);
                        if admitted {
                            self.available -= waiter.wanted;
                        } else {
                            self.queue.push_back(slot);
                            waiter.stage = Stage::Waiting;
                        }
                        admitted
                    }
                };
                match polled {
                    Poll::Ready(permit) => {
                        prop_assert!(expected, "{slot} got in too early");
                        prop_assert_eq!(permit.permits(), waiter.wanted);
                        self.held.push(permit);
                    }
                    Poll::Pending => {
                        prop_assert!(!expected, "{slot} waits for no reason");
                        self.slots[slot] = Some(waiter);
                    }
                }
            }
            Op::Cancel { slot } => {
                if let Some(waiter) = self.slots[slot].take() {
                    drop(waiter.future);
                    if waiter.stage == Stage::HandedOver {
                        self.available += waiter.wanted;
                    }
                    self.queue.retain(|&other| other != slot);
                    self.serve();
                }
            }
            Op::Try { wanted, owned } => {
                let expected = self.admits(wanted);
                let permit = if owned {
                    Rc::clone(self.semaphore)
                        .try_acquire_many_owned(wanted)
                        .map(Permit::Owned)
                } else {
                    self.semaphore
                        .try_acquire_many(wanted)
                        .map(Permit::Borrowed)
                };
                prop_assert_eq!(permit.is_ok(), expected);
                if let Ok(permit) = permit {
                    self.available -= wanted;
                    self.held.push(permit);
                }
            }
            Op::Release { held } => {
                if !self.held.is_empty() {
                    let permit = self.held.swap_remove(held.index(self.held.len()));
                    let amount = permit.permits();
                    drop(permit);
                    self.available += amount;
                    self.serve();
                }
            }
            Op::Forget { held } => {
                if !self.held.is_empty() {
                    let permit = self.held.swap_remove(held.index(self.held.len()));
                    self.total -= permit.permits();
                    permit.forget();
                }
            }
            Op::Split { held, amount } => {
                if !self.held.is_empty() {
                    let index = held.index(self.held.len());
                    let before = self.held[index].permits();
                    let part = self.held[index].split(amount);
                    prop_assert_eq!(part.is_some(), amount <= before);
                    self.held.extend(part);
                }
            }
            Op::Add { amount } => {
                let fits = self.total + amount <= self.limit;
                prop_assert_eq!(self.semaphore.add_permits(amount).is_ok(), fits);
                if fits {
                    self.total += amount;
                    self.available += amount;
                    self.serve();
                }
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(
            self.wakes.take(),
            std::mem::take(&mut self.woken),
            "wrong wakes or order"
        );
        prop_assert_eq!(self.semaphore.available_permits(), self.available);
        prop_assert_eq!(self.semaphore.waiting(), self.queue.len());
        prop_assert_eq!(self.semaphore.locked(), !self.admits(1));
        if let Some(&front) = self.queue.front() {
            prop_assert!(self.slots[front].as_ref().unwrap().wanted > self.available);
        }
        let held: usize = self.held.iter().map(Permit::permits).sum();
        let handed: usize = self
            .slots
            .iter()
            .flatten()
            .filter(|waiter| waiter.stage == Stage::HandedOver)
            .map(|waiter| waiter.wanted)
            .sum();
        prop_assert_eq!(
            self.available + held + handed,
            self.total,
            "permits lost or doubled"
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn random_programs_agree_with_the_model(
        permits in 0..5usize,
        bounded in prop::bool::weighted(0.3),
        program in prop::collection::vec(op(), 1..80),
    ) {
        let semaphore =
            Rc::new(if bounded { Semaphore::bounded(permits) } else { Semaphore::new(permits) });
        let limit = if bounded { permits } else { usize::MAX };
        let mut world = World::new(&semaphore, permits, limit);
        for op in program {
            world.step(op)?;
            world.check()?;
        }
        let total = world.total;
        drop(world);
        prop_assert_eq!(semaphore.waiting(), 0, "a waiter was left behind");
        prop_assert_eq!(semaphore.available_permits(), total);
        prop_assert_eq!(Rc::strong_count(&semaphore), 1);
    }
}
