//! Random programs over queues agree, step by step, with a model that is too simple to be wrong.

mod harness;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use harness::Wakes;
use proptest::prelude::*;
use rondel_sync::queue::{BaseQueue, Fifo, GetNowaitError, Lifo, Lowest, PutNowaitError, Store};

const SLOTS: usize = 6;

/// A priority and a number that no two items share; ordered by the priority alone.
#[derive(Clone, Copy, Debug)]
struct Item(u8, u32);

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Makes a future, if the slot is empty, and does not poll it.
    Put {
        slot: usize,
        priority: u8,
    },
    Get {
        slot: usize,
    },
    Poll {
        slot: usize,
        new_waker: bool,
    },
    Cancel {
        slot: usize,
    },
    PutNowait {
        priority: u8,
    },
    GetNowait,
    TaskDone,
    Shutdown {
        immediate: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        40 => (0..SLOTS, 0..4u8).prop_map(|(slot, priority)| Op::Put { slot, priority }),
        40 => (0..SLOTS).prop_map(|slot| Op::Get { slot }),
        100 => (0..SLOTS, prop::bool::weighted(0.2))
            .prop_map(|(slot, new_waker)| Op::Poll { slot, new_waker }),
        30 => (0..SLOTS).prop_map(|slot| Op::Cancel { slot }),
        20 => (0..4u8).prop_map(|priority| Op::PutNowait { priority }),
        20 => Just(Op::GetNowait),
        10 => Just(Op::TaskDone),
        2 => any::<bool>().prop_map(|immediate| Op::Shutdown { immediate }),
    ]
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Stage {
    Started,
    Waiting,
    /// Has been promised a place or an item.
    Promised,
    /// Has been told of the end.
    Ended,
}

#[derive(Debug)]
#[allow(
    dead_code,
    reason = "compared by their Debug form, which has the numbers"
)]
enum Output {
    Put(Result<(), Item>),
    Got(Option<Item>),
}

struct Waiter<'a> {
    future: Pin<Box<dyn Future<Output = Output> + 'a>>,
    puts: Option<Item>,
    waker: u32,
    stage: Stage,
}

/// Which of the items, in the order in which they were put, comes out next.
type Next = fn(&[Item]) -> usize;

struct World<'a, S: Store> {
    queue: &'a BaseQueue<S>,
    next: Next,
    wakes: Wakes,
    numbers: u32,
    slots: [Option<Waiter<'a>>; SLOTS],
    // The model.
    limit: usize,
    items: Vec<Item>,
    getters: VecDeque<usize>,
    putters: VecDeque<usize>,
    unfinished: usize,
    shut_down: bool,
    woken: Vec<u32>,
}

impl<'a, S: Store + kinds::Holds> World<'a, S> {
    fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    fn promised(&self, putters: bool) -> usize {
        let waiters = self.slots.iter().flatten();
        waiters
            .filter(|w| w.stage == Stage::Promised && w.puts.is_some() == putters)
            .count()
    }

    fn available(&self) -> usize {
        self.items.len().saturating_sub(self.promised(false))
    }

    fn room(&self) -> bool {
        !self.shut_down && self.items.len() + self.promised(true) < self.limit
    }

    /// The model's rule: whoever is at a front is promised what there is.
    fn serve(&mut self) {
        while self.available() > 0 && !self.getters.is_empty() {
            let slot = self.getters.pop_front().unwrap();
            self.promise(slot, Stage::Promised);
        }
        while self.room() && !self.putters.is_empty() {
            let slot = self.putters.pop_front().unwrap();
            self.promise(slot, Stage::Promised);
        }
    }

    fn promise(&mut self, slot: usize, stage: Stage) {
        let waiter = self.slots[slot].as_mut().unwrap();
        waiter.stage = stage;
        self.woken.push(waiter.waker);
    }

    fn put(&mut self, item: Item) {
        self.items.push(item);
        self.unfinished += 1;
        self.serve();
    }

    fn take(&mut self) -> Item {
        let item = self.items.remove((self.next)(&self.items));
        self.serve();
        item
    }

    /// What the poll has to bring.
    fn expect(&mut self, slot: usize) -> Option<Output> {
        let waiter = self.slots[slot].as_mut().unwrap();
        let stage = waiter.stage;
        match waiter.puts {
            Some(item) => match stage {
                _ if self.shut_down => Some(Output::Put(Err(item))),
                Stage::Promised => {
                    waiter.stage = Stage::Ended;
                    self.put(item);
                    Some(Output::Put(Ok(())))
                }
                Stage::Started if self.room() => {
                    self.put(item);
                    Some(Output::Put(Ok(())))
                }
                Stage::Started => {
                    self.slots[slot].as_mut().unwrap().stage = Stage::Waiting;
                    self.putters.push_back(slot);
                    None
                }
                Stage::Waiting | Stage::Ended => None,
            },
            None => match stage {
                Stage::Ended => Some(Output::Got(None)),
                Stage::Promised if self.items.is_empty() => Some(Output::Got(None)),
                Stage::Promised => {
                    waiter.stage = Stage::Ended;
                    Some(Output::Got(Some(self.take())))
                }
                Stage::Started if self.available() > 0 => Some(Output::Got(Some(self.take()))),
                Stage::Started if self.shut_down => Some(Output::Got(None)),
                Stage::Started => {
                    self.slots[slot].as_mut().unwrap().stage = Stage::Waiting;
                    self.getters.push_back(slot);
                    None
                }
                Stage::Waiting => None,
            },
        }
    }

    fn start(
        &mut self,
        slot: usize,
        puts: Option<Item>,
        future: impl Future<Output = Output> + 'a,
    ) {
        let waker = self.number();
        self.slots[slot] = Some(Waiter {
            future: Box::pin(future),
            puts,
            waker,
            stage: Stage::Started,
        });
    }

    fn step(&mut self, op: Op) -> Result<(), TestCaseError> {
        let queue = self.queue;
        match op {
            Op::Put { slot, .. } | Op::Get { slot } if self.slots[slot].is_some() => {}
            Op::Put { slot, priority } => {
                let item = Item(priority, self.number());
                let future = S::put(queue, item);
                self.start(slot, Some(item), async { Output::Put(future.await) });
            }
            Op::Get { slot } => {
                let future = S::get(queue);
                self.start(slot, None, async { Output::Got(future.await) });
            }
            Op::Poll { slot, new_waker } => {
                if self.slots[slot].is_none() {
                    return Ok(());
                }
                let waker = self.number();
                let waiter = self.slots[slot].as_mut().unwrap();
                if new_waker {
                    waiter.waker = waker;
                }
                let waker = self.wakes.waker(waiter.waker);
                let mut cx = Context::from_waker(&waker);
                let polled = waiter.future.as_mut().poll(&mut cx);
                let expected = self.expect(slot);
                match (polled, expected) {
                    (Poll::Pending, None) => {}
                    (Poll::Ready(output), Some(expected)) => {
                        prop_assert_eq!(format!("{output:?}"), format!("{expected:?}"));
                        self.slots[slot] = None;
                    }
                    (polled, expected) => {
                        prop_assert!(false, "{polled:?} instead of {expected:?}");
                    }
                }
            }
            Op::Cancel { slot } => {
                if self.slots[slot].take().is_some() {
                    self.getters.retain(|&other| other != slot);
                    self.putters.retain(|&other| other != slot);
                    self.serve();
                }
            }
            Op::PutNowait { priority } => {
                let item = Item(priority, self.number());
                let room = self.room();
                match S::put_nowait(queue, item) {
                    Ok(()) => {
                        prop_assert!(room, "put beyond the bound, or in front of others");
                        self.put(item);
                    }
                    Err(PutNowaitError::Full(back)) => {
                        prop_assert!(!room && !self.shut_down && back.1 == item.1);
                    }
                    Err(PutNowaitError::ShutDown(back)) => {
                        prop_assert!(self.shut_down && back.1 == item.1);
                    }
                }
            }
            Op::GetNowait => match S::get_nowait(queue) {
                Ok(item) => {
                    prop_assert!(self.available() > 0, "got in front of others");
                    prop_assert_eq!(item.1, self.take().1);
                }
                Err(error) => {
                    prop_assert_eq!(self.available(), 0);
                    prop_assert_eq!(error == GetNowaitError::ShutDown, self.shut_down);
                }
            },
            Op::TaskDone => {
                prop_assert_eq!(queue.task_done().is_ok(), self.unfinished > 0);
                self.unfinished = self.unfinished.saturating_sub(1);
            }
            Op::Shutdown { immediate } => {
                queue.shutdown(immediate);
                self.shut_down = true;
                if immediate {
                    self.unfinished = self.unfinished.saturating_sub(self.items.len());
                    self.items.clear();
                }
                let getters = std::mem::take(&mut self.getters);
                for slot in getters {
                    self.promise(slot, Stage::Ended);
                }
                let putters = std::mem::take(&mut self.putters);
                for slot in putters {
                    self.promise(slot, Stage::Ended);
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
        prop_assert_eq!(self.queue.len(), self.available());
        prop_assert_eq!(self.queue.is_full(), !self.room() && !self.shut_down);
        prop_assert_eq!(self.queue.waiting_getters(), self.getters.len());
        prop_assert_eq!(self.queue.waiting_putters(), self.putters.len());
        prop_assert_eq!(self.queue.unfinished(), self.unfinished);
        prop_assert!(self.items.len() <= self.limit);
        let idle_item = self.queue.waiting_getters() > 0 && !self.queue.is_empty();
        prop_assert!(!idle_item, "somebody waits though an item is there");
        Ok(())
    }
}

/// What the three kinds have in common, for a store of items of this test.
mod kinds {
    use super::{BaseQueue, Fifo, GetNowaitError, Item, Lifo, Lowest, PutNowaitError, Store};
    use std::future::Future;

    pub(super) trait Holds: Store {
        fn put(queue: &BaseQueue<Self>, item: Item) -> impl Future<Output = Result<(), Item>>;
        fn get(queue: &BaseQueue<Self>) -> impl Future<Output = Option<Item>>;
        fn put_nowait(queue: &BaseQueue<Self>, item: Item) -> Result<(), PutNowaitError<Item>>;
        fn get_nowait(queue: &BaseQueue<Self>) -> Result<Item, GetNowaitError>;
    }

    macro_rules! holds {
        ($($store:ident)*) => {$(
            impl Holds for $store<Item> {
                async fn put(queue: &BaseQueue<Self>, item: Item) -> Result<(), Item> {
                    queue.put(item).await.map_err(|error| error.0)
                }

                async fn get(queue: &BaseQueue<Self>) -> Option<Item> {
                    queue.get().await.ok()
                }

                fn put_nowait(
                    queue: &BaseQueue<Self>,
                    item: Item,
                ) -> Result<(), PutNowaitError<Item>> {
                    queue.put_nowait(item)
                }

                fn get_nowait(queue: &BaseQueue<Self>) -> Result<Item, GetNowaitError> {
                    queue.get_nowait()
                }
            }
        )*};
    }

    holds!(Fifo Lifo Lowest);
}

fn agrees<S: kinds::Holds>(
    maxsize: usize,
    next: Next,
    program: &[Op],
) -> Result<(), TestCaseError> {
    let queue = BaseQueue::<S>::new(maxsize);
    let mut world = World {
        queue: &queue,
        next,
        wakes: Wakes::new(),
        numbers: 0,
        slots: Default::default(),
        limit: if maxsize == 0 { usize::MAX } else { maxsize },
        items: Vec::new(),
        getters: VecDeque::new(),
        putters: VecDeque::new(),
        unfinished: 0,
        shut_down: false,
        woken: Vec::new(),
    };
    for op in program {
        world.step(op.clone())?;
        world.check()?;
    }
    world.slots = Default::default();
    let left = world.items.len();
    drop(world);
    prop_assert_eq!(queue.waiting_getters() + queue.waiting_putters(), 0);
    let got = std::iter::from_fn(|| S::get_nowait(&queue).ok()).count();
    prop_assert_eq!(got, left, "items lost or doubled");
    Ok(())
}

fn lowest(items: &[Item]) -> usize {
    let best = items.iter().map(|item| item.0).min().unwrap();
    items.iter().position(|item| item.0 == best).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    #[test]
    fn random_programs_agree_with_the_model(
        maxsize in 0..4usize,
        program in prop::collection::vec(op(), 1..100),
    ) {
        agrees::<Fifo<Item>>(maxsize, |_| 0, &program)?;
        agrees::<Lifo<Item>>(maxsize, |items| items.len() - 1, &program)?;
        agrees::<Lowest<Item>>(maxsize, lowest, &program)?;
    }
}
