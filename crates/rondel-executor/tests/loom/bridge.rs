//! A task's outcome on its way to another thread, and the wish to cancel on its way back. It is the source file itself that
//! is explored, since nothing outside the crate can reach it.

#[path = "../../src/remote/bridge.rs"]
mod source;

use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use source::Bridge;

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    if builder.preemption_bound.is_none() {
        builder.preemption_bound = Some(3);
    }
    builder.check(model);
}

/// A task that sleeps until it is woken.
#[derive(Default)]
struct Sleeper {
    woken: Mutex<bool>,
    wakes: Condvar,
}

struct WakeSleeper(Arc<Sleeper>);

impl Wake for WakeSleeper {
    fn wake(self: std::sync::Arc<Self>) {
        *self.0.woken.lock().unwrap() = true;
        self.0.wakes.notify_one();
    }
}

impl Sleeper {
    fn waker(this: &Arc<Self>) -> Waker {
        Waker::from(std::sync::Arc::new(WakeSleeper(Arc::clone(this))))
    }

    fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.wakes.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// An outcome whose content the hand-over has to carry.
struct Outcome(Arc<AtomicUsize>);

impl Outcome {
    fn new() -> Self {
        let written = Arc::new(AtomicUsize::new(0));
        written.store(7, Ordering::Relaxed);
        Self(written)
    }

    fn check(self) {
        assert_eq!(self.0.load(Ordering::Relaxed), 7);
    }
}

fn completing(bridge: &Arc<Bridge<Outcome>>) -> thread::JoinHandle<Option<Outcome>> {
    let bridge = Arc::clone(bridge);
    thread::spawn(move || bridge.complete(Outcome::new()))
}

#[test]
fn a_thread_that_waits_is_told() {
    check(|| {
        let bridge = Arc::new(Bridge::default());
        let home = completing(&bridge);
        let outcome = bridge.wait(None).expect("without a limit");
        outcome.expect("nobody else takes it").check();
        assert!(home.join().unwrap().is_none());
    });
}

#[test]
fn a_task_that_awaits_is_woken() {
    check(|| {
        let bridge = Arc::new(Bridge::default());
        let home = completing(&bridge);
        let sleeper = Arc::new(Sleeper::default());
        let waker = Sleeper::waker(&sleeper);
        loop {
            match bridge.poll(&Context::from_waker(&waker)) {
                Poll::Ready(outcome) => break outcome.expect("nobody else takes it").check(),
                Poll::Pending => sleeper.sleep(),
            }
        }
        assert!(home.join().unwrap().is_none());
    });
}

#[test]
fn a_handle_that_goes_meanwhile_leaves_the_outcome_with_one_of_them() {
    check(|| {
        let bridge = Arc::new(Bridge::default());
        let home = completing(&bridge);
        let here = bridge.detach();
        let there = home.join().unwrap();
        let outcome = match (here, there) {
            (Some(outcome), None) | (None, Some(outcome)) => outcome,
            (None, None) => panic!("lost"),
            (Some(_), Some(_)) => panic!("doubled"),
        };
        outcome.check();
    });
}

#[test]
fn a_wish_to_cancel_is_not_missed() {
    check(|| {
        let bridge = Arc::new(Bridge::<Outcome>::default());
        let away = Arc::clone(&bridge);
        let handle = thread::spawn(move || away.cancel());
        let sleeper = Arc::new(Sleeper::default());
        let waker = Sleeper::waker(&sleeper);
        while !bridge.deliver_by(&waker) {
            sleeper.sleep();
        }
        handle.join().unwrap();
    });
}

#[test]
fn one_who_waits_and_one_who_asks_get_it_once() {
    check(|| {
        let bridge = Arc::new(Bridge::default());
        let home = completing(&bridge);
        let away = Arc::clone(&bridge);
        let other = thread::spawn(
            move || match away.poll(&Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => None,
            },
        );
        let here = bridge.wait(None).expect("without a limit");
        let there = other.join().unwrap();
        assert!(here.is_some() != there.is_some(), "lost or doubled");
        here.or(there).unwrap().check();
        assert!(home.join().unwrap().is_none());
    });
}
