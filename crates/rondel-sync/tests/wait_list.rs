//! The wait list as a building block: hand-over, cancelling, leaking, sharing, panics.

mod harness;

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use harness::{Task, Wakes};
use proptest::prelude::*;
use rondel_sync::wait_list::{RcList, WaitList, Waiter};
use rondel_sync::{Event, OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

type Borrowed<'a, W, H> = Waiter<&'a WaitList<W, H>, W, H>;

async fn wait<W, H>(list: &WaitList<W, H>, want: W) -> H {
    let mut waiter = pin!(Waiter::new(list, want));
    poll_fn(|cx| waiter.as_mut().poll(cx)).await
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn values_go_to_the_longest_waiting_and_wakes_come_when_the_guard_goes() {
    let (wakes, list) = (Wakes::new(), WaitList::new());
    let mut first = Task::waiting(1, &wakes, wait(&list, 'a'));
    let mut second = Task::waiting(2, &wakes, wait(&list, 'b'));
    let mut round = list.hand_over();
    assert_eq!(round.front(), Some('a'));
    assert_eq!(round.give("one"), Ok(()));
    assert_eq!(round.front(), Some('b'));
    assert_eq!(round.give("two"), Ok(()));
    assert_eq!(round.front(), None);
    assert_eq!(round.give("three"), Err("three"));
    assert!(wakes.take().is_empty());
    drop(round);
    assert_eq!(wakes.take(), [1, 2]);
    assert_eq!((second.ready(), first.ready()), ("two", "one"));
}

#[test]
fn what_was_handed_over_is_there_before_the_wake() {
    let (wakes, list) = (Wakes::new(), WaitList::new());
    let mut task = Task::waiting(1, &wakes, wait(&list, ()));
    let mut round = list.hand_over();
    round.give(7).unwrap();
    assert_eq!(task.ready(), 7);
    drop(round);
    assert!(wakes.take().is_empty(), "it needs no wake any more");
}

#[test]
fn cancel_gives_back_what_was_not_taken() {
    let list = WaitList::new();
    let mut waiter = pin!(Waiter::new(&list, ()));
    assert_eq!(waiter.as_mut().cancel(), None);
    waiter.as_mut().enqueue();
    assert_eq!(list.len(), 1);
    assert_eq!(waiter.as_mut().cancel(), None);
    assert_eq!(list.len(), 0);
    waiter.as_mut().enqueue();
    waiter.as_mut().enqueue();
    assert_eq!(list.len(), 1);
    let mut round = list.hand_over();
    round.give("before the wake").unwrap();
    assert!(waiter.is_handed());
    assert_eq!(waiter.as_mut().cancel(), Some("before the wake"));
    drop(round);
    waiter.as_mut().enqueue();
    list.hand_over().give("after the wake").unwrap();
    assert_eq!(waiter.as_mut().cancel(), Some("after the wake"));
    assert!(waiter.is_idle());
}

#[test]
fn a_waiter_can_be_used_again() {
    let list = WaitList::new();
    let mut waiter = pin!(Waiter::new(&list, ()));
    for round in 0..3 {
        assert!(waiter.as_mut().poll(&mut noop()).is_pending());
        list.hand_over().give(round).unwrap();
        assert_eq!(waiter.as_mut().poll(&mut noop()), Poll::Ready(round));
    }
}

#[test]
fn a_value_that_nobody_takes_is_dropped_once_with_its_waiter() {
    let list = WaitList::<(), Rc<()>>::new();
    let value = Rc::new(());
    let mut waiter = Box::pin(Waiter::new(&list, ()));
    waiter.as_mut().enqueue();
    list.hand_over().give(Rc::clone(&value)).unwrap();
    assert_eq!(Rc::strong_count(&value), 2);
    drop(waiter);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn enqueued_without_a_poll_it_keeps_its_place() {
    let (wakes, list) = (Wakes::new(), WaitList::new());
    let mut first = pin!(Waiter::new(&list, ()));
    first.as_mut().enqueue();
    let mut second = Task::waiting(2, &wakes, wait(&list, ()));
    list.hand_over().give(1).unwrap();
    assert!(wakes.take().is_empty());
    assert_eq!(first.poll(&mut noop()), Poll::Ready(1));
    list.hand_over().give(2).unwrap();
    assert_eq!(second.ready(), 2);
}

#[test]
fn a_leaked_guard_leaves_the_waking_to_the_next() {
    let (wakes, list) = (Wakes::new(), WaitList::new());
    let mut task = Task::waiting(1, &wakes, wait(&list, ()));
    let mut round = list.hand_over();
    round.give(1).unwrap();
    std::mem::forget(round);
    drop(list.hand_over());
    assert_eq!(wakes.take(), [1]);
    assert_eq!(task.ready(), 1);
}

#[test]
fn leaked_waiters_stay_in_the_queue_of_a_list_that_moves_and_is_dropped() {
    let wakes = Wakes::new();
    let list = WaitList::<u32, String>::new();
    Task::waiting(1, &wakes, wait(&list, 1)).leak();
    Task::waiting(2, &wakes, wait(&list, 2)).leak();
    let mut third = Task::waiting(3, &wakes, wait(&list, 3));
    list.hand_over().give("lost".to_owned()).unwrap();
    assert_eq!(wakes.take(), [1]);
    drop(third.poll());
    drop(third);

    // The borrows have ended, so the list may go where it likes, with one leaked node in each
    // chain.
    let mut moved = Box::new(list);
    let mut other = WaitList::new();
    std::mem::swap(&mut *moved, &mut other);
    drop(moved);
    assert_eq!((other.len(), other.front()), (1, Some(2)));
    let mut late = Task::waiting(4, &wakes, wait(&other, 4));
    let mut round = other.hand_over();
    round.give("lost too".to_owned()).unwrap();
    round.give("received".to_owned()).unwrap();
    std::mem::forget(round);
    assert_eq!(late.ready(), "received");
    drop(late);
    Task::waiting(5, &wakes, wait(&other, 5)).leak();
    let _dropped = other;
}

#[test]
fn primitives_with_leaked_waiters_can_be_used_moved_and_dropped() {
    let wakes = Wakes::new();
    let (event, semaphore) = (Event::new(), Semaphore::new(0));
    Task::waiting(1, &wakes, event.wait()).leak();
    Task::waiting(2, &wakes, event.wait()).leak();
    Task::waiting(3, &wakes, semaphore.acquire()).leak();
    let (event, semaphore) = (Box::new(event), Rc::new(semaphore));
    let mut fourth = Task::waiting(4, &wakes, Rc::clone(&semaphore).acquire_owned());
    event.set();
    semaphore.add_permits(1).unwrap();
    assert_eq!(wakes.take(), [1, 2, 3], "a leaked waiter keeps its place");
    semaphore.add_permits(1).unwrap();
    fourth.ready().forget();
    drop(event);
}

#[test]
fn a_leaked_future_that_owns_its_semaphore_keeps_it() {
    let wakes = Wakes::new();
    let semaphore = Rc::new(Semaphore::new(0));
    let weak = Rc::downgrade(&semaphore);
    Task::waiting(1, &wakes, Rc::clone(&semaphore).acquire_owned()).leak();
    drop(semaphore);
    weak.upgrade()
        .expect("kept by the leaked future")
        .add_permits(1)
        .unwrap();
    assert_eq!(wakes.take(), [1]);
}

#[test]
fn an_owner_dropped_by_its_last_waiter_goes_after_the_waiter() {
    struct Owner {
        list: WaitList,
        dropped: Rc<Cell<bool>>,
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            assert!(self.list.is_empty());
            self.dropped.set(true);
        }
    }
    let dropped = Rc::new(Cell::new(false));
    let owner = Rc::new(Owner {
        list: WaitList::new(),
        dropped: Rc::clone(&dropped),
    });
    let mut waiters: Vec<_> = (0..3)
        .map(|_| {
            Box::pin(Waiter::new(
                RcList::new(Rc::clone(&owner), |owner| &owner.list),
                (),
            ))
        })
        .collect();
    waiters
        .iter_mut()
        .for_each(|waiter| waiter.as_mut().enqueue());
    drop(owner);
    waiters[1]
        .list_ref()
        .owner()
        .list
        .hand_over()
        .give(())
        .unwrap();
    waiters.swap_remove(1);
    waiters.remove(0);
    assert!(!dropped.get());
    drop(waiters);
    assert!(dropped.get());
}

struct PanicWaker;

impl Wake for PanicWaker {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

#[test]
fn all_are_woken_though_some_wakers_panic() {
    let (wakes, event) = (Wakes::new(), Event::new());
    let panicking = Waker::from(Arc::new(PanicWaker));
    let mut before = Task::waiting(1, &wakes, event.wait());
    let (mut bad, mut worse) = (pin!(event.wait()), pin!(event.wait()));
    assert!(Future::poll(bad.as_mut(), &mut Context::from_waker(&panicking)).is_pending());
    let mut between = Task::waiting(2, &wakes, event.wait());
    assert!(Future::poll(worse.as_mut(), &mut Context::from_waker(&panicking)).is_pending());
    let mut after = Task::waiting(3, &wakes, event.wait());
    let panic = catch_unwind(AssertUnwindSafe(|| event.set())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"a waker that panics"));
    assert_eq!(wakes.take(), [1, 2, 3]);
    for task in [&mut before, &mut between, &mut after] {
        task.ready();
    }
    assert!(harness::poll_once(bad).is_ready() && harness::poll_once(worse).is_ready());
}

#[test]
fn a_panicking_waker_during_a_panic_does_not_abort() {
    let semaphore = Semaphore::new(1);
    let held = semaphore.try_acquire().unwrap();
    let mut waiting = pin!(semaphore.acquire());
    let panicking = Waker::from(Arc::new(PanicWaker));
    assert!(Future::poll(waiting.as_mut(), &mut Context::from_waker(&panicking)).is_pending());
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _held = held;
        panic!("the task's own");
    }))
    .unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"the task's own"));
    assert!(harness::poll_once(waiting).is_ready());
}

#[test]
fn nothing_is_send_or_sync() {
    // If a type were `Send` or `Sync`, two impls would apply and the type of the parameter could
    // not be inferred.
    trait NeitherSend<A> {
        fn check() {}
    }
    impl<T: ?Sized> NeitherSend<()> for T {}
    impl<T: ?Sized + Send> NeitherSend<u8> for T {}
    impl<T: ?Sized + Sync> NeitherSend<u16> for T {}
    <WaitList as NeitherSend<_>>::check();
    <Borrowed<'_, (), ()> as NeitherSend<_>>::check();
    <RcList<Event> as NeitherSend<_>>::check();
    <Event as NeitherSend<_>>::check();
    <Semaphore as NeitherSend<_>>::check();
    <SemaphorePermit<'_> as NeitherSend<_>>::check();
    <OwnedSemaphorePermit as NeitherSend<_>>::check();
    <oneshot::Sender<()> as NeitherSend<_>>::check();
    <oneshot::Receiver<()> as NeitherSend<_>>::check();
}

#[derive(Clone, Debug)]
enum Op {
    Poll(usize),
    Enqueue(usize),
    Cancel(usize),
    Drop(usize),
    Leak(usize),
    Give,
    /// Gives to that many, and lets the guard go or leaks it.
    Round(usize, bool),
}

const SLOTS: usize = 6;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..SLOTS).prop_map(Op::Poll),
        2 => (0..SLOTS).prop_map(Op::Enqueue),
        2 => (0..SLOTS).prop_map(Op::Cancel),
        2 => (0..SLOTS).prop_map(Op::Drop),
        1 => (0..SLOTS).prop_map(Op::Leak),
        3 => Just(Op::Give),
        2 => (0..4usize, prop::bool::weighted(0.8)).prop_map(|(n, wake)| Op::Round(n, wake)),
    ]
}

/// A queue of `(waiter, has a waker)`, who was handed which value, and who of those is not woken
/// yet.
#[derive(Default)]
struct Model {
    waiting: VecDeque<(u32, bool)>,
    handed: Vec<(u32, u32)>,
    unwoken: Vec<(u32, bool)>,
}

impl Model {
    fn wake(&mut self) -> Vec<u32> {
        self.unwoken
            .drain(..)
            .filter(|(_, waker)| *waker)
            .map(|(id, _)| id)
            .collect()
    }

    fn give(&mut self, value: u32) -> Result<(), u32> {
        let (id, waker) = self.waiting.pop_front().ok_or(value)?;
        self.handed.push((id, value));
        self.unwoken.push((id, waker));
        Ok(())
    }

    fn leave(&mut self, id: u32) -> Option<u32> {
        self.waiting.retain(|(other, _)| *other != id);
        self.unwoken.retain(|(other, _)| *other != id);
        let index = self.handed.iter().position(|(other, _)| *other == id)?;
        Some(self.handed.remove(index).1)
    }

    fn is_idle(&self, id: u32) -> bool {
        !self.waiting.iter().any(|(other, _)| *other == id)
            && !self.handed.iter().any(|(other, _)| *other == id)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn random_programs_agree_with_the_model(program in prop::collection::vec(op(), 1..60)) {
        let (wakes, list) = (Wakes::new(), WaitList::<u32, u32>::new());
        let mut slots: Vec<(u32, Pin<Box<Borrowed<'_, _, _>>>)> = Vec::new();
        let mut next = 0;
        let mut fresh = || {
            next += 1;
            (next, Box::pin(Waiter::new(&list, next)))
        };
        slots.resize_with(SLOTS, &mut fresh);
        let mut model = Model::default();
        let mut value = 0;
        for op in program {
            let mut woken = Vec::new();
            match op {
                Op::Poll(slot) => {
                    let (id, waiter) = &mut slots[slot];
                    let idle = model.is_idle(*id);
                    if idle {
                        model.waiting.push_back((*id, true));
                    }
                    let waker = wakes.waker(*id);
                    let polled = waiter.as_mut().poll(&mut Context::from_waker(&waker));
                    match model.waiting.iter_mut().find(|(other, _)| other == id) {
                        Some((_, waker)) => {
                            *waker = true;
                            prop_assert_eq!(polled, Poll::Pending);
                        }
                        None => prop_assert_eq!(polled, Poll::Ready(model.leave(*id).unwrap())),
                    }
                }
                Op::Enqueue(slot) => {
                    let (id, waiter) = &mut slots[slot];
                    if model.is_idle(*id) {
                        // A waker may be left from an earlier wait; then it is woken, which does no
                        // harm.
                        *waiter = Box::pin(Waiter::new(&list, *id));
                        model.waiting.push_back((*id, false));
                    }
                    waiter.as_mut().enqueue();
                }
                Op::Cancel(slot) => {
                    let (id, waiter) = &mut slots[slot];
                    prop_assert_eq!(waiter.as_mut().cancel(), model.leave(*id));
                    prop_assert!(waiter.is_idle());
                }
                Op::Drop(slot) => {
                    model.leave(slots[slot].0);
                    slots[slot] = fresh();
                }
                Op::Leak(slot) => {
                    let (_, leaked) = std::mem::replace(&mut slots[slot], fresh());
                    std::mem::forget(leaked);
                }
                Op::Give => {
                    value += 1;
                    prop_assert_eq!(list.hand_over().give(value), model.give(value));
                    woken = model.wake();
                }
                Op::Round(count, wake) => {
                    let mut round = list.hand_over();
                    for _ in 0..count {
                        value += 1;
                        prop_assert_eq!(round.front(), model.waiting.front().map(|(id, _)| *id));
                        prop_assert_eq!(round.give(value), model.give(value));
                    }
                    if wake {
                        drop(round);
                        woken = model.wake();
                    } else {
                        std::mem::forget(round);
                    }
                }
            }
            prop_assert_eq!(wakes.take(), woken);
            prop_assert_eq!(list.len(), model.waiting.len());
            prop_assert_eq!(list.is_empty(), model.waiting.is_empty());
            prop_assert_eq!(list.front(), model.waiting.front().map(|(id, _)| *id));
        }
    }
}
