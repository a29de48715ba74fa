//! Random programs over the event and the semaphore between threads, on one thread, agree step by
//! step with models that are too simple to be wrong.
#![cfg(all(feature = "shared", not(rondel_loom)))]

mod harness;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use harness::Wakes;
use proptest::prelude::*;
use rondel_sync::shared::{Event, Semaphore, SemaphorePermit};

const SLOTS: usize = 6;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Stage {
    Started,
    Waiting,
    HandedOver,
}

/// A future that is polled when the program says so.
struct Waiter<F> {
    future: Pin<Box<F>>,
    wanted: usize,
    waker: u32,
    stage: Stage,
}

/// Those who wait, in both halves: the futures themselves, and the model's books about them.
struct Waiters<F> {
    wakes: Wakes,
    next_waker: u32,
    slots: [Option<Waiter<F>>; SLOTS],
    queue: VecDeque<usize>,
    woken: Vec<u32>,
}

impl<F: Future> Waiters<F> {
    fn new() -> Self {
        Self {
            wakes: Wakes::new(),
            next_waker: 0,
            slots: Default::default(),
            queue: VecDeque::new(),
            woken: Vec::new(),
        }
    }

    fn new_waker(&mut self) -> u32 {
        self.next_waker += 1;
        self.next_waker
    }

    fn start(&mut self, slot: usize, wanted: usize, make: impl FnOnce() -> F) {
        if self.slots[slot].is_none() {
            let waker = self.new_waker();
            self.slots[slot] = Some(Waiter {
                future: Box::pin(make()),
                wanted,
                waker,
                stage: Stage::Started,
            });
        }
    }

    /// Polls with the slot's waker, or with a new one. `admitted` is asked of one who has just come.
    /// Gives the output and what was wanted, if that was due.
    fn poll(
        &mut self,
        slot: usize,
        new_waker: bool,
        admitted: impl FnOnce(usize) -> bool,
    ) -> Result<Option<(F::Output, usize)>, TestCaseError> {
        let Some(mut waiter) = self.slots[slot].take() else {
            return Ok(None);
        };
        if new_waker {
            waiter.waker = self.new_waker();
        }
        let waker = self.wakes.waker(waiter.waker);
        let mut cx = Context::from_waker(&waker);
        let polled = waiter.future.as_mut().poll(&mut cx);
        let due = match waiter.stage {
            Stage::HandedOver => true,
            Stage::Waiting => false,
            Stage::Started => {
                let admitted = admitted(waiter.wanted);
                if !admitted {
                    self.queue.push_back(slot);
                    waiter.stage = Stage::Waiting;
                }
                admitted
            }
        };
        match polled {
            Poll::Ready(output) => {
                prop_assert!(due, "{} got in too early", slot);
                Ok(Some((output, waiter.wanted)))
            }
            Poll::Pending => {
                prop_assert!(!due, "{} waits for no reason", slot);
                self.slots[slot] = Some(waiter);
                Ok(None)
            }
        }
    }

    /// Drops the future; gives what it had been handed.
    fn cancel(&mut self, slot: usize) -> usize {
        self.queue.retain(|other| *other != slot);
        match self.slots[slot].take() {
            Some(waiter) if waiter.stage == Stage::HandedOver => waiter.wanted,
            _ => 0,
        }
    }

    fn front(&self) -> Option<usize> {
        let slot = *self.queue.front()?;
        Some(self.slots[slot].as_ref().unwrap().wanted)
    }

    /// Hands the first one what it wants.
    fn hand_over(&mut self) {
        let slot = self.queue.pop_front().unwrap();
        let waiter = self.slots[slot].as_mut().unwrap();
        waiter.stage = Stage::HandedOver;
        self.woken.push(waiter.waker);
    }

    fn handed_over(&self) -> usize {
        let waiters = self.slots.iter().flatten();
        waiters
            .filter(|waiter| waiter.stage == Stage::HandedOver)
            .map(|waiter| waiter.wanted)
            .sum()
    }

    fn check_wakes(&mut self) -> Result<(), TestCaseError> {
        let woken = std::mem::take(&mut self.woken);
        prop_assert_eq!(self.wakes.take(), woken, "wrong wakes or order");
        Ok(())
    }
}

/// What both kinds of program do.
#[derive(Clone, Debug)]
enum Waiting {
    /// Makes a future, if the slot is empty, and does not poll it.
    Start {
        slot: usize,
        wanted: usize,
    },
    Poll {
        slot: usize,
        new_waker: bool,
    },
    Cancel {
        slot: usize,
    },
}

fn amount() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(1usize), 3 => 2..5usize, 1 => Just(0)]
}

fn waiting() -> impl Strategy<Value = Waiting> {
    prop_oneof![
        4 => (0..SLOTS, amount()).prop_map(|(slot, wanted)| Waiting::Start { slot, wanted }),
        8 => (0..SLOTS, prop::bool::weighted(0.2))
            .prop_map(|(slot, new_waker)| Waiting::Poll { slot, new_waker }),
        3 => (0..SLOTS).prop_map(|slot| Waiting::Cancel { slot }),
    ]
}

#[derive(Clone, Debug)]
enum EventOp {
    Waiting(Waiting),
    Set,
    Clear,
    /// Blocks the thread for no time at all.
    Block,
}

fn event_op() -> impl Strategy<Value = EventOp> {
    prop_oneof![
        15 => waiting().prop_map(EventOp::Waiting),
        2 => Just(EventOp::Set),
        3 => Just(EventOp::Clear),
        1 => Just(EventOp::Block),
    ]
}

fn run_event(event: &Event, program: &[EventOp]) -> Result<(), TestCaseError> {
    let mut waiters = Waiters::new();
    let mut set = false;
    for op in program {
        match *op {
            EventOp::Waiting(Waiting::Start { slot, .. }) => {
                waiters.start(slot, 1, || event.wait());
            }
            EventOp::Waiting(Waiting::Poll { slot, new_waker }) => {
                waiters.poll(slot, new_waker, |_| set)?;
            }
            EventOp::Waiting(Waiting::Cancel { slot }) => {
                // One that was let through concerns nobody else.
                waiters.cancel(slot);
            }
            EventOp::Set => {
                event.set();
                set = true;
                while waiters.front().is_some() {
                    waiters.hand_over();
                }
            }
            EventOp::Clear => {
                event.clear();
                set = false;
            }
            EventOp::Block => prop_assert_eq!(event.wait_timeout(Duration::ZERO), set),
        }
        waiters.check_wakes()?;
        prop_assert_eq!(event.is_set(), set);
        let waiting = waiters.queue.len();
        let shown = format!("Event {{ set: {set}, waiting: {waiting} }}");
        prop_assert_eq!(format!("{event:?}"), shown);
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum SemaphoreOp {
    Waiting(Waiting),
    /// Without waiting, or by blocking the thread for no time at all.
    Try {
        wanted: usize,
        blocking: bool,
    },
    Release {
        held: prop::sample::Index,
    },
    Forget {
        held: prop::sample::Index,
    },
    Add {
        amount: usize,
    },
}

fn semaphore_op() -> impl Strategy<Value = SemaphoreOp> {
    let held = any::<prop::sample::Index>;
    prop_oneof![
        15 => waiting().prop_map(SemaphoreOp::Waiting),
        2 => (amount(), any::<bool>())
            .prop_map(|(wanted, blocking)| SemaphoreOp::Try { wanted, blocking }),
        5 => held().prop_map(|held| SemaphoreOp::Release { held }),
        1 => held().prop_map(|held| SemaphoreOp::Forget { held }),
        2 => amount().prop_map(|amount| SemaphoreOp::Add { amount }),
    ]
}

/// The model's rule: the front is served as long as it can be.
fn serve<F: Future>(waiters: &mut Waiters<F>, available: &mut usize) {
    while let Some(wanted) = waiters.front()
        && wanted <= *available
    {
        *available -= wanted;
        waiters.hand_over();
    }
}

/// Gives how many permits there are in the end.
fn run_semaphore(
    semaphore: &Semaphore,
    permits: usize,
    program: &[SemaphoreOp],
) -> Result<usize, TestCaseError> {
    let mut waiters = Waiters::new();
    let mut held: Vec<SemaphorePermit<'_>> = Vec::new();
    let (mut available, mut total) = (permits, permits);
    for op in program {
        match *op {
            SemaphoreOp::Waiting(Waiting::Start { slot, wanted }) => {
                waiters.start(slot, wanted, || semaphore.acquire(wanted));
            }
            SemaphoreOp::Waiting(Waiting::Poll { slot, new_waker }) => {
                let free = waiters.queue.is_empty();
                let got = waiters.poll(slot, new_waker, |wanted| {
                    let admitted = free && wanted <= available;
                    if admitted {
                        available -= wanted;
                    }
                    admitted
                })?;
                if let Some((permit, wanted)) = got {
                    prop_assert_eq!(permit.permits(), wanted);
                    held.push(permit);
                }
            }
            SemaphoreOp::Waiting(Waiting::Cancel { slot }) => {
                available += waiters.cancel(slot);
                serve(&mut waiters, &mut available);
            }
            SemaphoreOp::Try { wanted, blocking } => {
                let admitted = waiters.queue.is_empty() && wanted <= available;
                let permit = if blocking {
                    semaphore.acquire_timeout(wanted, Duration::ZERO)
                } else {
                    semaphore.try_acquire(wanted)
                };
                prop_assert_eq!(permit.is_some(), admitted);
                if let Some(permit) = permit {
                    available -= wanted;
                    held.push(permit);
                }
            }
            SemaphoreOp::Release { held: index } => {
                if !held.is_empty() {
                    let permit = held.swap_remove(index.index(held.len()));
                    available += permit.permits();
                    drop(permit);
                    serve(&mut waiters, &mut available);
                }
            }
            SemaphoreOp::Forget { held: index } => {
                if !held.is_empty() {
                    let permit = held.swap_remove(index.index(held.len()));
                    total -= permit.permits();
                    permit.forget();
                }
            }
            SemaphoreOp::Add { amount } => {
                semaphore.add_permits(amount);
                total += amount;
                available += amount;
                serve(&mut waiters, &mut available);
            }
        }
        waiters.check_wakes()?;
        prop_assert_eq!(semaphore.available_permits(), available);
        prop_assert!(waiters.front().is_none_or(|wanted| wanted > available));
        let in_hands: usize = held.iter().map(SemaphorePermit::permits).sum();
        let all = available + in_hands + waiters.handed_over();
        prop_assert_eq!(all, total, "permits lost or doubled");
        let waiting = waiters.queue.len();
        let shown = format!("Semaphore {{ available: {available}, waiting: {waiting} }}");
        prop_assert_eq!(format!("{semaphore:?}"), shown);
    }
    Ok(total)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn random_programs_over_an_event_agree_with_the_model(
        program in prop::collection::vec(event_op(), 1..80),
    ) {
        let event = Event::new();
        run_event(&event, &program)?;
        let set = event.is_set();
        let shown = format!("Event {{ set: {set}, waiting: 0 }}");
        prop_assert_eq!(format!("{event:?}"), shown, "a waiter was left behind");
    }

    #[test]
    fn random_programs_over_a_semaphore_agree_with_the_model(
        permits in 0..5usize,
        program in prop::collection::vec(semaphore_op(), 1..80),
    ) {
        let semaphore = Semaphore::new(permits);
        let total = run_semaphore(&semaphore, permits, &program)?;
        let shown = format!("Semaphore {{ available: {total}, waiting: 0 }}");
        prop_assert_eq!(format!("{semaphore:?}"), shown, "a waiter was left behind");
    }
}
