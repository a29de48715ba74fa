//! Random programs over the channel between threads, on one thread, agree step by step with a model
//! that is too simple to be wrong.
#![cfg(all(feature = "shared", not(rondel_loom)))]

mod harness;

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use harness::Wakes;
use proptest::prelude::*;
use rondel_sync::shared::{
    self, Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};

const SLOTS: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    /// Makes a future with a handle of its own, if the slot is empty, and does not poll it.
    Send {
        slot: usize,
    },
    Recv {
        slot: usize,
    },
    /// The same as a stream, which goes on after an item.
    Stream {
        slot: usize,
    },
    /// Polls with the slot's waker, or with a new one.
    Poll {
        slot: usize,
        new_waker: bool,
    },
    Cancel {
        slot: usize,
    },
    TrySend {
        blocking: bool,
    },
    TryRecv {
        blocking: bool,
    },
    CloneSender,
    CloneReceiver,
    DropSender,
    DropReceiver,
    CloseSender,
    CloseReceiver,
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    prop_oneof![
        12 => slot().prop_map(|slot| Op::Send { slot }),
        10 => slot().prop_map(|slot| Op::Recv { slot }),
        4 => slot().prop_map(|slot| Op::Stream { slot }),
        40 => (slot(), prop::bool::weighted(0.2))
            .prop_map(|(slot, new_waker)| Op::Poll { slot, new_waker }),
        12 => slot().prop_map(|slot| Op::Cancel { slot }),
        8 => prop::bool::weighted(0.2).prop_map(|blocking| Op::TrySend { blocking }),
        8 => prop::bool::weighted(0.2).prop_map(|blocking| Op::TryRecv { blocking }),
        2 => Just(Op::CloneSender),
        2 => Just(Op::CloneReceiver),
        2 => Just(Op::DropSender),
        2 => Just(Op::DropReceiver),
        1 => Just(Op::CloseSender),
        1 => Just(Op::CloseReceiver),
    ]
}

/// Counts those of its kind that are alive.
struct Item {
    id: u32,
    alive: Rc<Cell<usize>>,
}

impl Item {
    fn new(id: u32, alive: &Rc<Cell<usize>>) -> Self {
        alive.set(alive.get() + 1);
        let alive = Rc::clone(alive);
        Self { id, alive }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

/// What a future gave, by the item's number.
#[derive(Debug, PartialEq, Eq)]
enum Output {
    Sent,
    /// The item came back.
    Refused(u32),
    Received(Option<u32>),
}

enum Waiting {
    Future(Pin<Box<dyn Future<Output = Output>>>),
    Stream(Pin<Box<Receiver<Item>>>),
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Output> {
        match self {
            Self::Future(future) => future.as_mut().poll(cx),
            Self::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|item| Output::Received(item.map(|item| item.id))),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Started,
    Waiting,
    HandedOver,
    TurnedAway,
}

struct Waiter {
    what: Waiting,
    /// What it would send.
    item: Option<u32>,
    waker: u32,
    stage: Stage,
}

struct World {
    senders: Vec<Sender<Item>>,
    receivers: Vec<Receiver<Item>>,
    wakes: Wakes,
    slots: [Option<Waiter>; SLOTS],
    alive: Rc<Cell<usize>>,
    next: u32,
    // The model.
    bound: usize,
    items: VecDeque<u32>,
    closed: bool,
    sending: VecDeque<usize>,
    receiving: VecDeque<usize>,
    woken: Vec<u32>,
}

impl World {
    fn new(bound: usize) -> Self {
        let (sender, receiver) = shared::channel(bound);
        Self {
            senders: vec![sender],
            receivers: vec![receiver],
            wakes: Wakes::new(),
            slots: Default::default(),
            alive: Rc::default(),
            next: 0,
            bound: bound.max(1),
            items: VecDeque::new(),
            closed: false,
            sending: VecDeque::new(),
            receiving: VecDeque::new(),
            woken: Vec::new(),
        }
    }

    fn next(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn waiters(&self, sends: bool) -> impl Iterator<Item = &Waiter> {
        let all = self.slots.iter().flatten();
        all.filter(move |waiter| waiter.item.is_some() == sends)
    }

    fn handed_over(&self, sends: bool) -> usize {
        let handed = |waiter: &&Waiter| waiter.stage == Stage::HandedOver;
        self.waiters(sends).filter(handed).count()
    }

    /// Places that nobody has or was handed.
    fn room(&self) -> usize {
        self.bound - self.items.len() - self.handed_over(true)
    }

    /// Items that nobody was handed.
    fn available(&self) -> usize {
        self.items.len() - self.handed_over(false)
    }

    /// The model's rule: those who came first are served as long as there is something.
    fn serve(&mut self) {
        while self.available() > 0
            && let Some(slot) = self.receiving.pop_front()
        {
            self.turn(slot, Stage::HandedOver);
        }
        while !self.closed
            && self.room() > 0
            && let Some(slot) = self.sending.pop_front()
        {
            self.turn(slot, Stage::HandedOver);
        }
    }

    fn turn(&mut self, slot: usize, stage: Stage) {
        let waiter = self.slots[slot].as_mut().unwrap();
        waiter.stage = stage;
        self.woken.push(waiter.waker);
    }

    fn close(&mut self) {
        self.closed = true;
        for slot in std::mem::take(&mut self.sending) {
            self.turn(slot, Stage::TurnedAway);
        }
        for slot in std::mem::take(&mut self.receiving) {
            self.turn(slot, Stage::TurnedAway);
        }
    }

    fn count(&self, sends: bool) -> usize {
        let handles = if sends {
            self.senders.len()
        } else {
            self.receivers.len()
        };
        handles + self.waiters(sends).count()
    }

    /// A handle has gone, and is not in the books any more.
    fn handle_gone(&mut self, sends: bool) {
        if self.count(sends) == 0 {
            self.close();
            if !sends {
                self.items.clear();
            }
        }
    }

    fn start(&mut self, slot: usize, what: Waiting, item: Option<u32>) {
        let waker = self.next();
        self.slots[slot] = Some(Waiter {
            what,
            item,
            waker,
            stage: Stage::Started,
        });
    }

    fn poll(&mut self, slot: usize, new_waker: bool) -> Result<(), TestCaseError> {
        let Some(mut waiter) = self.slots[slot].take() else {
            return Ok(());
        };
        if new_waker {
            waiter.waker = self.next();
        }
        let waker = self.wakes.waker(waiter.waker);
        let polled = waiter.what.poll(&mut Context::from_waker(&waker));
        // Out of its slot, it does not count as handed over.
        let expected = match (waiter.item, waiter.stage) {
            (Some(item), Stage::Started | Stage::HandedOver | Stage::TurnedAway) if self.closed => {
                Some(Output::Refused(item))
            }
            (Some(item), Stage::HandedOver) => {
                self.items.push_back(item);
                Some(Output::Sent)
            }
            (Some(item), Stage::Started) if self.room() > 0 => {
                self.items.push_back(item);
                Some(Output::Sent)
            }
            (None, Stage::HandedOver) => Some(Output::Received(self.items.pop_front())),
            (None, Stage::Started) if self.available() > 0 => {
                Some(Output::Received(self.items.pop_front()))
            }
            (None, Stage::Started | Stage::TurnedAway) if self.closed => {
                Some(Output::Received(None))
            }
            (_, Stage::Started) => None,
            (_, Stage::Waiting) => None,
            (_, stage) => unreachable!("{stage:?} in an open channel"),
        };
        let sends = waiter.item.is_some();
        match polled {
            Poll::Pending => {
                prop_assert_eq!(expected, None, "{} waits for no reason", slot);
                if waiter.stage == Stage::Started {
                    let queue = if sends {
                        &mut self.sending
                    } else {
                        &mut self.receiving
                    };
                    queue.push_back(slot);
                    waiter.stage = Stage::Waiting;
                }
                self.slots[slot] = Some(waiter);
            }
            Poll::Ready(output) => {
                prop_assert_eq!(Some(output), expected, "slot {}", slot);
                if let Waiting::Stream(_) = waiter.what {
                    waiter.stage = Stage::Started;
                    self.slots[slot] = Some(waiter);
                    self.serve();
                } else {
                    self.serve();
                    self.handle_gone(sends);
                }
            }
        }
        Ok(())
    }

    fn cancel(&mut self, slot: usize) {
        if let Some(waiter) = self.slots[slot].take() {
            drop(waiter.what);
            let sends = waiter.item.is_some();
            self.sending.retain(|other| *other != slot);
            self.receiving.retain(|other| *other != slot);
            self.serve();
            self.handle_gone(sends);
        }
    }

    fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Send { slot } => {
                if self.slots[slot].is_none()
                    && let Some(sender) = self.senders.first().cloned()
                {
                    let id = self.next();
                    let item = Item::new(id, &self.alive);
                    let future = Box::pin(async move {
                        match sender.send(item).await {
                            Ok(()) => Output::Sent,
                            Err(error) => Output::Refused(error.0.id),
                        }
                    });
                    self.start(slot, Waiting::Future(future), Some(id));
                }
            }
            Op::Recv { slot } => {
                if self.slots[slot].is_none()
                    && let Some(receiver) = self.receivers.first().cloned()
                {
                    let future = Box::pin(async move {
                        Output::Received(receiver.recv().await.map(|item| item.id))
                    });
                    self.start(slot, Waiting::Future(future), None);
                }
            }
            Op::Stream { slot } => {
                if self.slots[slot].is_none()
                    && let Some(receiver) = self.receivers.first().cloned()
                {
                    self.start(slot, Waiting::Stream(Box::pin(receiver)), None);
                }
            }
            Op::Poll { slot, new_waker } => self.poll(slot, new_waker)?,
            Op::Cancel { slot } => self.cancel(slot),
            Op::TrySend { blocking } => {
                let id = self.next();
                let Some(sender) = self.senders.first() else {
                    return Ok(());
                };
                let item = Item::new(id, &self.alive);
                // By the item that came back, and whether that is for good.
                let sent = if blocking {
                    sender
                        .send_timeout(item, Duration::ZERO)
                        .map_err(|error| match error {
                            SendTimeoutError::Timeout(item) => (item.id, false),
                            SendTimeoutError::Closed(item) => (item.id, true),
                        })
                } else {
                    sender.try_send(item).map_err(|error| match error {
                        TrySendError::Full(item) => (item.id, false),
                        TrySendError::Closed(item) => (item.id, true),
                    })
                };
                if self.closed {
                    prop_assert_eq!(sent, Err((id, true)));
                } else if self.room() == 0 {
                    prop_assert_eq!(sent, Err((id, false)));
                } else {
                    prop_assert_eq!(sent, Ok(()));
                    self.items.push_back(id);
                    self.serve();
                }
            }
            Op::TryRecv { blocking } => {
                let Some(receiver) = self.receivers.first() else {
                    return Ok(());
                };
                // An error by whether it is for good.
                let received = if blocking {
                    receiver
                        .recv_timeout(Duration::ZERO)
                        .map_err(|error| error == RecvTimeoutError::Closed)
                } else {
                    receiver
                        .try_recv()
                        .map_err(|error| error == TryRecvError::Closed)
                };
                let received = received.map(|item| item.id);
                if self.available() > 0 {
                    prop_assert_eq!(received.ok(), self.items.pop_front());
                    self.serve();
                } else {
                    prop_assert_eq!(received, Err(self.closed));
                }
            }
            Op::CloneSender => self.senders.extend(self.senders.first().cloned()),
            Op::CloneReceiver => self.receivers.extend(self.receivers.first().cloned()),
            Op::DropSender => {
                if let Some(sender) = self.senders.pop() {
                    drop(sender);
                    self.handle_gone(true);
                }
            }
            Op::DropReceiver => {
                if let Some(receiver) = self.receivers.pop() {
                    drop(receiver);
                    self.handle_gone(false);
                }
            }
            Op::CloseSender => {
                if let Some(sender) = self.senders.first() {
                    sender.close();
                    self.close();
                }
            }
            Op::CloseReceiver => {
                if let Some(receiver) = self.receivers.first() {
                    receiver.close();
                    self.close();
                }
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let woken = std::mem::take(&mut self.woken);
        prop_assert_eq!(self.wakes.take(), woken, "wrong wakes or order");
        prop_assert!(self.receiving.is_empty() || self.available() == 0);
        prop_assert!(self.closed || self.sending.is_empty() || self.room() == 0);
        let unsent = self.waiters(true).count();
        prop_assert_eq!(self.alive.get(), self.items.len() + unsent, "items");
        let state = format!(
            "Channel {{ len: {}, senders: {}, receivers: {}, closed: {}, .. }}",
            self.items.len(),
            self.count(true),
            self.count(false),
            self.closed,
        );
        if let Some(sender) = self.senders.first() {
            prop_assert_eq!(sender.is_closed(), self.closed);
            let shown = format!("{sender:?}");
            prop_assert_eq!(shown, format!("Sender {{ channel: {state}, .. }}"));
        }
        if let Some(receiver) = self.receivers.first() {
            let shown = format!("{receiver:?}");
            prop_assert_eq!(shown, format!("Receiver {{ channel: {state}, .. }}"));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn random_programs_agree_with_the_model(
        bound in 0..4usize,
        program in prop::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new(bound);
        for op in &program {
            world.step(op)?;
            world.check()?;
        }
        let alive = Rc::clone(&world.alive);
        drop(world);
        prop_assert_eq!(alive.get(), 0, "an item was left behind");
    }
}
