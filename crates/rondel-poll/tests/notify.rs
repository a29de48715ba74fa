//! Notifications: before, during and between waits, from any thread.
#![cfg(not(rondel_loom))]

mod backends;

use backends::{all, timed};
use rondel_poll::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn before_a_wait_ends_it() {
    for (name, selector) in all() {
        let mut events = Events::new();
        for wait in [
            Wait::Forever,
            Wait::Until(selector.now() + Duration::from_secs(3600)),
        ] {
            let before = selector.now();
            selector.notifier().notify();
            selector.wait(&mut events, wait, false).unwrap();
            assert!(events.is_empty(), "{name}: a notification is no event");
            assert!(
                selector.now() < before + Duration::from_secs(3600),
                "{name}: slept over it"
            );
        }
    }
}

#[test]
fn from_other_threads_is_never_slept_over() {
    const ROUNDS: usize = 300;
    for (name, selector) in all() {
        let counter = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let notifier = selector.notifier();
                let counter = Arc::clone(&counter);
                thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        counter.fetch_add(1, Ordering::Relaxed);
                        notifier.notify();
                        thread::yield_now();
                    }
                })
            })
            .collect();
        let mut events = Events::new();
        let mut waits = 0;
        // Would hang if the last notification were lost.
        while counter.load(Ordering::Relaxed) < 2 * ROUNDS {
            let wait = match waits % 3 {
                0 => Wait::Forever,
                1 => Wait::Until(selector.now() + Duration::from_secs(3600)),
                _ => Wait::Poll,
            };
            selector.wait(&mut events, wait, true).unwrap();
            waits += 1;
        }
        for thread in threads {
            thread.join().unwrap_or_else(|_| panic!("{name}"));
        }
    }
}

#[test]
fn many_before_a_wait_are_one() {
    for (name, selector) in timed() {
        let mut events = Events::new();
        for asleep in [false, true] {
            if asleep {
                assert!(selector.doze(), "{name}");
            }
            let notifier = selector.notifier();
            thread::spawn(move || (0..5).for_each(|_| notifier.notify()))
                .join()
                .unwrap();
            selector.wait(&mut events, Wait::Forever, false).unwrap();
            let deadline = selector.now() + Duration::from_millis(20);
            selector
                .wait(&mut events, Wait::Until(deadline), false)
                .unwrap();
            assert!(selector.now() >= deadline, "{name}: woken twice");
        }
    }
}

#[test]
fn a_poll_takes_what_was_notified_until_then() {
    for (name, selector) in timed() {
        let mut events = Events::new();
        selector.notifier().notify();
        selector.wait(&mut events, Wait::Poll, false).unwrap();
        let deadline = selector.now() + Duration::from_millis(5);
        selector
            .wait(&mut events, Wait::Until(deadline), false)
            .unwrap();
        assert!(selector.now() >= deadline, "{name}: notified twice");
    }
}

#[test]
fn a_notifier_may_outlive_its_selector() {
    for (_, selector) in all() {
        let notifier = selector.notifier();
        assert!(selector.doze());
        drop(selector);
        thread::spawn(move || notifier.notify()).join().unwrap();
    }
}

#[test]
fn the_bell_is_rung_only_for_a_sleeper_and_only_once() {
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Bell for Count {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let bell = Arc::new(Count::default());
    let rings = || bell.0.load(Ordering::Relaxed);
    let notifier = Notifier::new(Arc::clone(&bell) as Arc<dyn Bell>);
    notifier.notify();
    notifier.notify();
    assert_eq!(rings(), 0);
    assert!(!notifier.fall_asleep());
    assert!(notifier.wake_up());
    assert!(!notifier.wake_up());
    assert!(notifier.fall_asleep());
    assert!(notifier.fall_asleep(), "still asleep");
    notifier.clone().notify();
    notifier.notify();
    assert_eq!(rings(), 1);
    assert!(!notifier.fall_asleep());
    assert!(notifier.wake_up());
}

#[test]
fn what_goes_elsewhere_may() {
    fn goes_elsewhere<T: Send + Sync + 'static>() {}
    goes_elsewhere::<Notifier>();
    goes_elsewhere::<ManualClock>();
    goes_elsewhere::<Key>();
    goes_elsewhere::<Event>();
    goes_elsewhere::<Events>();
    goes_elsewhere::<SelectorError>();
}
