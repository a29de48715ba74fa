//! Random programs over a mutex, a read-write lock and a condition agree, step by step, with models
//! that are too simple to be wrong.

mod harness;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use harness::Wakes;
use proptest::prelude::*;
use rondel_sync::{
    Condition, Lock, LockGuard, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

const SLOTS: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    /// Makes a future, if the slot is empty, and does not poll it.
    Start {
        slot: usize,
        read: bool,
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
        read: bool,
    },
    Release {
        held: prop::sample::Index,
    },
    Downgrade,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..SLOTS, any::<bool>()).prop_map(|(slot, read)| Op::Start { slot, read }),
        8 => (0..SLOTS, prop::bool::weighted(0.2))
            .prop_map(|(slot, new_waker)| Op::Poll { slot, new_waker }),
        3 => (0..SLOTS).prop_map(|slot| Op::Cancel { slot }),
        2 => any::<bool>().prop_map(|read| Op::Try { read }),
        5 => any::<prop::sample::Index>().prop_map(|held| Op::Release { held }),
        1 => Just(Op::Downgrade),
    ]
}

/// What is checked: both are one lock to the model.
trait Subject {
    /// Whether reading is told from writing.
    const SHARES: bool;

    fn acquire(&self, read: bool) -> Pin<Box<dyn Future<Output = Guard<'_>> + '_>>;
    fn try_acquire(&self, read: bool) -> Option<Guard<'_>>;
    fn waiting(&self) -> usize;
    fn inside(&self) -> (usize, bool);
}

#[allow(dead_code, reason = "held, and dropped")]
enum Guard<'a> {
    Mutex(MutexGuard<'a, u32>),
    Read(RwLockReadGuard<'a, u32>),
    Write(RwLockWriteGuard<'a, u32>),
}

impl Subject for Mutex<u32> {
    const SHARES: bool = false;

    fn acquire(&self, _: bool) -> Pin<Box<dyn Future<Output = Guard<'_>> + '_>> {
        Box::pin(async { Guard::Mutex(self.lock().await) })
    }

    fn try_acquire(&self, _: bool) -> Option<Guard<'_>> {
        self.try_lock().ok().map(Guard::Mutex)
    }

    fn waiting(&self) -> usize {
        self.waiting()
    }

    fn inside(&self) -> (usize, bool) {
        (0, self.locked())
    }
}

impl Subject for RwLock<u32> {
    const SHARES: bool = true;

    fn acquire(&self, read: bool) -> Pin<Box<dyn Future<Output = Guard<'_>> + '_>> {
        Box::pin(async move {
            if read {
                Guard::Read(self.read().await)
            } else {
                Guard::Write(self.write().await)
            }
        })
    }

    fn try_acquire(&self, read: bool) -> Option<Guard<'_>> {
        if read {
            self.try_read().ok().map(Guard::Read)
        } else {
            self.try_write().ok().map(Guard::Write)
        }
    }

    fn waiting(&self) -> usize {
        self.waiting()
    }

    fn inside(&self) -> (usize, bool) {
        (self.readers(), self.is_written())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Started,
    Waiting,
    HandedOver,
}

struct Waiter<'a> {
    future: Pin<Box<dyn Future<Output = Guard<'a>> + 'a>>,
    read: bool,
    waker: u32,
    stage: Stage,
}

struct World<'a, S> {
    subject: &'a S,
    wakes: Wakes,
    next_waker: u32,
    slots: [Option<Waiter<'a>>; SLOTS],
    held: Vec<(Guard<'a>, bool)>,
    // The model: who waits, in order, and who is inside, those included to whom it is on its way.
    queue: VecDeque<usize>,
    readers: usize,
    writer: bool,
    woken: Vec<u32>,
}

impl<'a, S: Subject> World<'a, S> {
    fn new(subject: &'a S) -> Self {
        Self {
            subject,
            wakes: Wakes::new(),
            next_waker: 0,
            slots: [const { None }; SLOTS],
            held: Vec::new(),
            queue: VecDeque::new(),
            readers: 0,
            writer: false,
            woken: Vec::new(),
        }
    }

    fn admits(&self, read: bool) -> bool {
        !self.writer && (read || self.readers == 0)
    }

    fn enter(&mut self, read: bool) {
        if read {
            self.readers += 1;
        } else {
            self.writer = true;
        }
    }

    fn leave(&mut self, read: bool) {
        if read {
            self.readers -= 1;
        } else {
            self.writer = false;
        }
        self.serve();
    }

    fn serve(&mut self) {
        while let Some(slot) = self.queue.front().copied() {
            let waiter = self.slots[slot].as_ref().expect("it waits");
            let (read, waker) = (waiter.read, waiter.waker);
            if !self.admits(read) {
                return;
            }
            self.queue.pop_front();
            self.enter(read);
            self.woken.push(waker);
            self.slots[slot].as_mut().expect("it waits").stage = Stage::HandedOver;
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Start { slot, read } => {
                if self.slots[slot].is_none() {
                    let read = read && S::SHARES;
                    self.next_waker += 1;
                    self.slots[slot] = Some(Waiter {
                        future: self.subject.acquire(read),
                        read,
                        waker: self.next_waker,
                        stage: Stage::Started,
                    });
                }
            }
            Op::Poll { slot, new_waker } => self.poll(slot, new_waker),
            Op::Cancel { slot } => {
                let Some(waiter) = self.slots[slot].take() else {
                    return;
                };
                let (read, stage) = (waiter.read, waiter.stage);
                drop(waiter);
                match stage {
                    Stage::Started => {}
                    Stage::Waiting => {
                        self.queue.retain(|other| *other != slot);
                        self.serve();
                    }
                    Stage::HandedOver => self.leave(read),
                }
            }
            Op::Try { read } => {
                let read = read && S::SHARES;
                let expected = self.queue.is_empty() && self.admits(read);
                let guard = self.subject.try_acquire(read);
                assert_eq!(guard.is_some(), expected);
                if let Some(guard) = guard {
                    self.enter(read);
                    self.held.push((guard, read));
                }
            }
            Op::Release { held } => {
                if !self.held.is_empty() {
                    let (guard, read) = self.held.remove(held.index(self.held.len()));
                    drop(guard);
                    self.leave(read);
                }
            }
            Op::Downgrade => {
                let writing = |(guard, _): &(Guard<'a>, bool)| matches!(guard, Guard::Write(_));
                if let Some(place) = self.held.iter().position(writing)
                    && let (Guard::Write(guard), _) = self.held.remove(place)
                {
                    self.writer = false;
                    self.readers = 1;
                    let guard = RwLockWriteGuard::downgrade(guard);
                    self.held.push((Guard::Read(guard), true));
                    self.serve();
                }
            }
        }
    }

    fn poll(&mut self, slot: usize, new_waker: bool) {
        let Some(waiter) = &mut self.slots[slot] else {
            return;
        };
        if new_waker {
            self.next_waker += 1;
            waiter.waker = self.next_waker;
        }
        let waker = self.wakes.waker(waiter.waker);
        let polled = waiter
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker));
        let (read, stage) = (waiter.read, waiter.stage);
        let ready = match stage {
            Stage::HandedOver => true,
            Stage::Waiting => false,
            Stage::Started => self.queue.is_empty() && self.admits(read),
        };
        assert_eq!(polled.is_ready(), ready, "slot {slot}, {stage:?}");
        if let Poll::Ready(guard) = polled {
            if stage == Stage::Started {
                self.enter(read);
            }
            self.held.push((guard, read));
            self.slots[slot] = None;
        } else if stage == Stage::Started {
            self.queue.push_back(slot);
            self.slots[slot].as_mut().expect("it is there").stage = Stage::Waiting;
        }
    }

    fn check(&mut self) {
        assert_eq!(self.wakes.take(), std::mem::take(&mut self.woken));
        assert_eq!(self.subject.waiting(), self.queue.len());
        assert_eq!(self.subject.inside(), (self.readers, self.writer));
        assert!(!(self.writer && self.readers > 0));
        if let Some(front) = self.queue.front() {
            let read = self.slots[*front].as_ref().expect("it waits").read;
            assert!(!self.admits(read), "nobody waits who could be let in");
        }
    }
}

fn run<S: Subject>(subject: &S, ops: Vec<Op>) {
    let mut world = World::new(subject);
    for op in ops {
        world.step(op);
        world.check();
    }
    for slot in 0..SLOTS {
        world.step(Op::Cancel { slot });
        world.check();
    }
    while let Some((guard, read)) = world.held.pop() {
        drop(guard);
        world.leave(read);
        world.check();
    }
    assert_eq!(subject.inside(), (0, false));
}

/// Waits, locks and notifications, in a world where every task is `wait for a notification, hold the
/// lock until told to let go`.
#[derive(Clone, Debug)]
enum Turn {
    Start(usize),
    Poll(usize),
    Cancel(usize),
    Notify(usize),
    LetGo(prop::sample::Index),
    Take,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0..SLOTS).prop_map(Turn::Start),
        8 => (0..SLOTS).prop_map(Turn::Poll),
        2 => (0..SLOTS).prop_map(Turn::Cancel),
        3 => (0..3_usize).prop_map(Turn::Notify),
        4 => any::<prop::sample::Index>().prop_map(Turn::LetGo),
        2 => Just(Turn::Take),
    ]
}

/// Each notification is one task's that waits, from then on: that one comes back, when it gets the lock,
/// and nobody else does. Dropped before that, it leaves the notification to the next.
fn run_condition(turns: Vec<Turn>) {
    let (lock, condition) = (Lock::new(), Condition::new());
    let wakes = Wakes::new();
    let mut slots: [Option<Pin<Box<dyn Future<Output = LockGuard<'_>>>>>; SLOTS] =
        [const { None }; SLOTS];
    let mut held: Vec<LockGuard<'_>> = Vec::new();
    // The model: who was not polled yet, and has the guard in it; who waits, in order; who was notified.
    let mut unpolled = [false; SLOTS];
    let mut waiting = VecDeque::new();
    let mut notified = [false; SLOTS];
    for turn in turns {
        match turn {
            Turn::Start(slot) => {
                if slots[slot].is_none()
                    && let Ok(guard) = lock.try_acquire()
                {
                    slots[slot] = Some(Box::pin(condition.wait(guard)));
                    unpolled[slot] = true;
                }
            }
            Turn::Poll(slot) => {
                let Some(task) = &mut slots[slot] else {
                    continue;
                };
                if std::mem::take(&mut unpolled[slot]) {
                    waiting.push_back(slot);
                }
                let waker = wakes.waker(u32::try_from(slot).unwrap());
                if let Poll::Ready(guard) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
                    assert!(
                        std::mem::take(&mut notified[slot]),
                        "nobody comes back unasked"
                    );
                    slots[slot] = None;
                    held.push(guard);
                }
            }
            Turn::Cancel(slot) => {
                slots[slot] = None;
                unpolled[slot] = false;
                waiting.retain(|other| *other != slot);
                if std::mem::take(&mut notified[slot])
                    && let Some(next) = waiting.pop_front()
                {
                    notified[next] = true;
                }
            }
            Turn::Notify(count) => {
                let given = count.min(waiting.len());
                assert_eq!(condition.notify(count), given);
                for next in waiting.drain(..given) {
                    notified[next] = true;
                }
            }
            Turn::LetGo(which) => {
                if !held.is_empty() {
                    let place = which.index(held.len());
                    drop(held.remove(place));
                }
            }
            Turn::Take => held.extend(lock.try_acquire().ok()),
        }
        assert_eq!(condition.waiting(), waiting.len());
        let in_hand = held.len() + unpolled.iter().filter(|has| **has).count();
        assert!(in_hand <= 1, "one at a time");
        assert!(in_hand == 0 || lock.locked());
    }
    // Everybody goes on: exactly those come back who were notified.
    drop(held);
    for _ in 0..=SLOTS {
        for (slot, task) in slots.iter_mut().enumerate() {
            let waker = wakes.waker(u32::try_from(slot).unwrap());
            if let Some(running) = task
                && running
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_ready()
            {
                *task = None;
                assert!(std::mem::take(&mut notified[slot]));
            }
        }
    }
    assert_eq!(notified, [false; SLOTS], "no notification is lost");
    assert!(!lock.locked());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn a_mutex_does_what_the_model_says(ops in prop::collection::vec(op(), 1..80)) {
        run(&Mutex::new(0), ops);
    }

    #[test]
    fn a_read_write_lock_does_what_the_model_says(ops in prop::collection::vec(op(), 1..80)) {
        run(&RwLock::new(0), ops);
    }

    #[test]
    fn a_condition_loses_no_notification_and_makes_none_up(turns in prop::collection::vec(turn(), 1..80)) {
        run_condition(turns);
    }
}
