//! Watched values: what counts as changed, ends, foreign code.

mod harness;
mod hooked_waker;

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;

use futures_util::FutureExt;
use harness::{Task, Wakes};
use hooked_waker::{On, hooked_waker};
use proptest::prelude::*;
use rondel_sync::watch::{self, Closed, SendError};

#[test]
fn every_receiver_that_waits_is_woken_once_for_each_change() {
    let wakes = Wakes::new();
    let (sender, mut first) = watch::channel(0);
    let (mut second, mut late) = (first.clone(), sender.subscribe());
    let mut one = Task::waiting(1, &wakes, first.changed());
    let mut two = Task::waiting(2, &wakes, second.changed());
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(wakes.take(), [1, 2]);
    assert_eq!((one.ready(), two.ready()), (Ok(()), Ok(())));
    assert_eq!(late.has_changed(), Ok(true));
    assert_eq!(*late.borrow_and_update(), 2);
    assert_eq!(late.has_changed(), Ok(false));
    assert!(late.changed().now_or_never().is_none());
}

#[test]
fn a_change_that_was_not_awaited_to_the_end_is_still_unseen() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = watch::channel(0);
    let woken = Task::waiting(1, &wakes, receiver.changed());
    sender.send(1).unwrap();
    drop(woken);
    assert_eq!(receiver.has_changed(), Ok(true));
    assert_eq!(receiver.changed().now_or_never(), Some(Ok(())));
}

#[test]
fn the_end_comes_after_the_last_change() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = watch::channel(0);
    let mut waiting = receiver.clone();
    let mut changed = Task::waiting(1, &wakes, waiting.changed());
    let other = sender.clone();
    drop(sender);
    assert!(changed.is_pending());
    assert!(wakes.take().is_empty());
    drop(changed);
    other.send(1).unwrap();
    drop(other);
    assert_eq!(receiver.changed().now_or_never(), Some(Ok(())));
    assert_eq!(receiver.changed().now_or_never(), Some(Err(Closed)));
    assert_eq!(receiver.has_changed(), Err(Closed));
    assert_eq!(*receiver.borrow(), 1);
}

#[test]
fn the_sender_notices_that_nobody_watches() {
    let wakes = Wakes::new();
    let (sender, receiver) = watch::channel(0);
    let mut closed = Task::waiting(1, &wakes, sender.closed());
    drop(receiver);
    assert_eq!(wakes.take(), [1]);
    closed.ready();
    assert_eq!(sender.send(1), Err(SendError(1)));
    assert!(sender.send_if_modified(|n| {
        *n = 2;
        true
    }));
    assert_eq!(*sender.borrow(), 2);
    let late = sender.subscribe();
    assert_eq!(late.has_changed(), Ok(false));
    assert!(!sender.is_closed());
}

#[test]
fn waiting_for_a_value_looks_at_the_present_one_first() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = watch::channel(3);
    let found = receiver.wait_for(|n| *n == 3).now_or_never();
    assert_eq!(found, Some(Ok(Rc::new(3))));
    let mut wait = Task::waiting(1, &wakes, receiver.wait_for(|n| *n > 4));
    sender.send(4).unwrap();
    assert!(wait.is_pending());
    sender.send(5).unwrap();
    assert_eq!(wait.ready(), Ok(Rc::new(5)));
}

#[test]
fn a_borrowed_value_stays_what_it_is() {
    let (sender, receiver) = watch::channel(String::from("a"));
    let before = receiver.borrow();
    sender.send(String::from("b")).unwrap();
    sender.send_modify(|value| value.push('c'));
    assert_eq!((before.as_str(), receiver.borrow().as_str()), ("a", "bc"));
}

#[test]
fn a_closure_that_panics_is_no_change_and_loses_no_value() {
    let (sender, receiver) = watch::channel(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        sender.send_modify(|_| resume_unwind(Box::new("on purpose")));
    }));
    assert!(panicked.is_err());
    assert_eq!((receiver.has_changed(), *receiver.borrow()), (Ok(false), 1));
}

#[test]
fn destructors_and_wakers_may_use_the_channel() {
    struct Peek(u32, Rc<Cell<Option<watch::Receiver<Self>>>>, Rc<Cell<u32>>);
    impl Drop for Peek {
        fn drop(&mut self) {
            if let Some(receiver) = self.1.take() {
                self.2.set(receiver.borrow().0);
            }
        }
    }
    let (slot, seen) = (Rc::default(), Rc::default());
    let value = |n| Peek(n, Rc::clone(&slot), Rc::clone(&seen));
    let (sender, receiver) = watch::channel(value(1));
    let mut waiting = receiver.clone();
    slot.set(Some(receiver));
    let woken = Rc::new(Cell::new(0));
    let waker = hooked_waker({
        let (woken, other) = (Rc::clone(&woken), sender.clone());
        move |on| {
            if on == On::Wake {
                woken.set(other.borrow().0);
            }
        }
    });
    let mut changed = pin!(waiting.changed());
    let mut cx = Context::from_waker(&waker);
    assert!(changed.as_mut().poll(&mut cx).is_pending());
    assert!(sender.send(value(2)).is_ok());
    assert_eq!((seen.get(), woken.get()), (2, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn no_change_is_missed_and_none_is_seen_twice(
        steps in prop::collection::vec((0..5u8, 0..3usize), 1..60),
    ) {
        let wakes = Wakes::new();
        let (sender, receiver) = watch::channel(0);
        let mut receivers = [receiver.clone(), receiver.clone(), receiver];
        let (mut version, mut seen) = (0, [0; 3]);
        for (what, index) in steps {
            let receiver = &mut receivers[index];
            match what {
                0 => {
                    version += 1;
                    sender.send(version).unwrap();
                }
                1 => {
                    prop_assert_eq!(*receiver.borrow_and_update(), version);
                    seen[index] = version;
                }
                2 => {
                    let changed = receiver.changed().now_or_never();
                    prop_assert_eq!(changed.is_some(), version != seen[index]);
                    seen[index] = version;
                }
                // A change while it waits, which is then not taken, or is.
                _ => {
                    receiver.borrow_and_update();
                    let mut waiting = Task::waiting(7, &wakes, receiver.changed());
                    version += 1;
                    sender.send(version).unwrap();
                    prop_assert_eq!(wakes.take(), vec![7]);
                    seen[index] = version - 1;
                    if what == 4 {
                        prop_assert_eq!(waiting.ready(), Ok(()));
                        seen[index] = version;
                    }
                }
            }
            for (receiver, seen) in receivers.iter().zip(seen) {
                prop_assert_eq!(receiver.has_changed(), Ok(seen != version));
                prop_assert_eq!(*receiver.borrow(), version);
            }
        }
    }
}
