//! Tokens: whatever a cancellation races, nobody is left waiting and nothing is left behind.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use rondel_executor::CancelToken;

struct Woken(AtomicBool);

fn waker() -> (std::sync::Arc<Flag>, Waker) {
    let flag = std::sync::Arc::new(Flag(Arc::new(Woken(AtomicBool::new(false)))));
    (std::sync::Arc::clone(&flag), Waker::from(flag))
}

struct Flag(Arc<Woken>);

impl Wake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.0.store(true, Ordering::Release);
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    if builder.preemption_bound.is_none() {
        builder.preemption_bound = Some(3);
    }
    builder.check(model);
}

#[test]
fn who_registers_while_it_is_cancelled_is_woken_or_told() {
    check(|| {
        let token = CancelToken::new();
        let child = token.child();
        let canceller = {
            let token = token.clone();
            thread::spawn(move || token.cancel())
        };
        let (flag, waker) = waker();
        let mut waiting = child.cancelled();
        let polled = Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker));
        assert!(canceller.join().unwrap());
        assert!(polled.is_ready() || flag.0.0.load(Ordering::Acquire));
        assert!(
            Pin::new(&mut waiting)
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        );
    });
}

#[test]
fn a_waiter_dropped_while_it_is_cancelled_leaves_nothing() {
    check(|| {
        let token = CancelToken::new();
        let (flag, waker) = waker();
        let mut waiting = token.cancelled();
        assert_eq!(
            Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)),
            Poll::Pending
        );
        let canceller = {
            let token = token.clone();
            thread::spawn(move || token.cancel())
        };
        drop(waiting);
        canceller.join().unwrap();
        drop(waker);
        assert_eq!(std::sync::Arc::strong_count(&flag), 1);
        assert!(format!("{token:?}").ends_with("children: 0, waiters: 0 }"));
    });
}

#[test]
fn a_child_made_while_its_parent_is_cancelled_is_cancelled_too() {
    check(|| {
        let root = CancelToken::new();
        let token = root.child();
        let canceller = {
            let root = root.clone();
            thread::spawn(move || root.cancel())
        };
        let child = token.child();
        let (flag, waker) = waker();
        let mut waiting = child.cancelled();
        let polled = Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker));
        canceller.join().unwrap();
        assert!(child.is_cancelled());
        assert!(polled.is_ready() || flag.0.0.load(Ordering::Acquire));
    });
}

#[test]
fn a_child_dropped_while_its_parent_is_cancelled_is_taken_off_once() {
    check(|| {
        let root = CancelToken::new();
        let child = root.child();
        let canceller = {
            let root = root.clone();
            thread::spawn(move || root.cancel())
        };
        drop(child);
        canceller.join().unwrap();
        assert!(format!("{root:?}").ends_with("children: 0, waiters: 0 }"));
    });
}

#[test]
fn of_two_that_cancel_one_is_first_and_both_find_everything_cancelled() {
    check(|| {
        let root = CancelToken::new();
        let middle = root.child();
        let leaf = middle.child();
        let other = {
            let (middle, leaf) = (middle.clone(), leaf.clone());
            thread::spawn(move || {
                let first = middle.cancel();
                assert!(leaf.is_cancelled());
                first
            })
        };
        root.cancel();
        assert!(leaf.is_cancelled(), "though another thread may be at it");
        let first = other.join().unwrap();
        assert!(!middle.cancel() && !leaf.cancel());
        let _ = first;
    });
}
