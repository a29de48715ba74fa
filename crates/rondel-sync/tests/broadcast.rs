//! Broadcasts: every receiver sees every value in order, or is told what it missed.

mod harness;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::FutureExt;
use harness::{Task, Wakes};
use proptest::prelude::*;
use rondel_sync::broadcast::{self, RecvError, SendError, TryRecvError};

#[test]
fn all_receivers_get_all_values_in_order_and_then_the_end() {
    let wakes = Wakes::new();
    let (sender, mut first) = broadcast::channel(4);
    let mut second = sender.subscribe();
    let mut waiting = Task::waiting(1, &wakes, first.recv());
    assert_eq!(sender.send('a'), Ok(2));
    assert_eq!(wakes.take(), [1]);
    assert_eq!(waiting.ready(), Ok('a'));
    drop(waiting);
    let mut late = sender.subscribe();
    assert_eq!(sender.send('b'), Ok(3));
    let other = sender.clone();
    drop(sender);
    assert_eq!((second.len(), late.len()), (2, 1));
    assert_eq!(first.try_recv(), Ok('b'));
    assert_eq!(first.try_recv(), Err(TryRecvError::Empty));
    let mut waiting = Task::waiting(2, &wakes, first.recv());
    drop(other);
    assert_eq!(wakes.take(), [2]);
    assert_eq!(waiting.ready(), Err(RecvError::Closed));
    assert_eq!((second.try_recv(), second.try_recv()), (Ok('a'), Ok('b')));
    assert_eq!(second.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(late.recv().now_or_never(), Some(Ok('b')));
}

#[test]
fn a_woken_receiver_that_gives_up_has_missed_nothing() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = broadcast::channel(1);
    let woken = Task::waiting(1, &wakes, receiver.recv());
    sender.send(1).unwrap();
    drop(woken);
    assert_eq!(receiver.try_recv(), Ok(1));
}

#[test]
fn without_receivers_the_value_comes_back() {
    let (sender, receiver) = broadcast::channel(1);
    drop(receiver);
    assert_eq!(sender.send(1), Err(SendError(1)));
    let mut receiver = sender.subscribe();
    assert_eq!(sender.send(2), Ok(1));
    assert_eq!(receiver.try_recv(), Ok(2));
}

#[test]
fn a_value_is_dropped_when_the_last_receiver_has_it_or_goes() {
    let (sender, mut first) = broadcast::channel(4);
    let second = sender.subscribe();
    let value = Rc::new(());
    for _ in 0..2 {
        sender.send(Rc::clone(&value)).unwrap();
    }
    assert_eq!(Rc::strong_count(&value), 3);
    drop(second);
    drop(first.try_recv());
    assert_eq!(Rc::strong_count(&value), 2);
    drop(first);
    assert_eq!(Rc::strong_count(&value), 1);
}

/// Does something whenever it is cloned or dropped.
struct Hooked(u32, Rc<dyn Fn()>);

impl Clone for Hooked {
    fn clone(&self) -> Self {
        (self.1)();
        Self(self.0, Rc::clone(&self.1))
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        (self.1)();
    }
}

#[test]
fn clones_and_destructors_may_use_the_channel() {
    let (sender, mut first) = broadcast::channel::<Hooked>(2);
    let others = Rc::new(RefCell::new(vec![sender.subscribe(), sender.subscribe()]));
    let busy = Rc::new(Cell::new(false));
    let calls = Rc::new(Cell::new(0));
    let hook: Rc<dyn Fn()> = Rc::new({
        let (others, busy, calls) = (Rc::clone(&others), Rc::clone(&busy), Rc::clone(&calls));
        let sender = sender.clone();
        move || {
            if !busy.replace(true) {
                calls.set(calls.get() + 1);
                // The others receive the same value, one by itself, one by going; then it is
                // overwritten.
                let other = others.borrow_mut().pop();
                if let Some(mut other) = other {
                    let _ = other.try_recv();
                    let second = others.borrow_mut().pop();
                    drop(second);
                }
                for n in 7..10 {
                    let _ = sender.send(Hooked(n, Rc::new(|| {})));
                }
                busy.set(false);
            }
        }
    });
    assert!(sender.send(Hooked(1, hook)).is_ok());
    let got = first.try_recv().unwrap();
    assert_eq!(got.0, 1);

    // Three when it was cloned, three when it was dropped.
    assert_eq!(calls.get(), 2);
    assert!(matches!(first.try_recv(), Err(TryRecvError::Lagged(4))));
    drop(got);
}

#[derive(Clone, Debug)]
enum Op {
    Send,
    Receive(usize),
    Wait(usize),
    Subscribe,
    Leave(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Send),
        6 => (0..4usize).prop_map(Op::Receive),
        2 => (0..4usize).prop_map(Op::Wait),
        1 => Just(Op::Subscribe),
        1 => (0..4usize).prop_map(Op::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    #[test]
    fn random_programs_agree_with_a_queue_for_each_receiver(
        capacity in 1..6usize,
        program in prop::collection::vec(op(), 1..80),
    ) {
        let wakes = Wakes::new();
        let (sender, receiver) = broadcast::channel(capacity);
        // Each with what it is to get, and how many it has missed.
        let mut receivers = vec![(receiver, VecDeque::new(), 0)];
        let alive = Rc::new(());
        let mut sent = 0;
        for op in program {
            match op {
                Op::Send => {
                    sent += 1;
                    let result = sender.send((sent, Rc::clone(&alive)));
                    prop_assert_eq!(result.is_ok(), !receivers.is_empty());
                    for (_, queue, missed) in &mut receivers {
                        queue.push_back(sent);
                        if queue.len() > capacity {
                            queue.pop_front();
                            *missed += 1;
                        }
                    }
                }
                Op::Receive(index) => {
                    if let Some((receiver, queue, missed)) = receivers.get_mut(index) {
                        let expected = match std::mem::take(missed) {
                            0 => queue.pop_front().ok_or(TryRecvError::Empty),
                            missed => Err(TryRecvError::Lagged(missed)),
                        };
                        prop_assert_eq!(receiver.try_recv().map(|value| value.0), expected);
                    }
                }
                Op::Wait(index) => {
                    if let Some((receiver, queue, missed)) = receivers.get_mut(index)
                        && queue.is_empty()
                        && *missed == 0
                    {
                        let mut task = Task::waiting(1, &wakes, receiver.recv());
                        prop_assert!(task.is_pending());
                    }
                }
                Op::Subscribe => receivers.push((sender.subscribe(), VecDeque::new(), 0)),
                Op::Leave(index) => {
                    if index < receivers.len() {
                        receivers.remove(index);
                    }
                }
            }
            prop_assert_eq!(sender.receivers(), receivers.len());
            let mut kept: Vec<i32> =
                receivers.iter().flat_map(|(_, queue, _)| queue.iter().copied()).collect();
            kept.sort_unstable();
            kept.dedup();
            prop_assert_eq!(Rc::strong_count(&alive) - 1, kept.len(), "kept too long, or lost");
        }
        drop((sender, receivers));
        prop_assert_eq!(Rc::strong_count(&alive), 1);
    }
}
