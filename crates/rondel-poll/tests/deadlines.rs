//! Waits with a deadline.
#![cfg(not(rondel_loom))]

mod backends;

use backends::{event_of, pair, real, timed};
use rondel_poll::*;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_wait_does_not_end_before_its_deadline() {
    for (name, selector) in timed() {
        let mut events = Events::new();
        for micros in [1, 50, 100, 500, 999, 1000, 1001, 2500, 10_000] {
            let deadline = selector.now() + Duration::from_micros(micros);
            selector
                .wait(&mut events, Wait::Until(deadline), false)
                .unwrap();
            let now = selector.now();
            assert!(now >= deadline, "{name}: {:?} early", deadline - now);
            assert!(events.is_empty(), "{name}");
        }
    }
}

#[test]
fn the_second_of_two_deadlines_is_waited_for_in_full() {
    for (name, selector) in timed() {
        let mut events = Events::new();
        let start = selector.now();
        for _ in 0..2 {
            let deadline = selector.now() + Duration::from_millis(15);
            selector
                .wait(&mut events, Wait::Until(deadline), false)
                .unwrap();
        }
        assert!(
            selector.now() - start >= Duration::from_millis(30),
            "{name}"
        );
    }
}

#[test]
fn deadlines_that_are_past_do_not_block() {
    for (name, selector) in timed() {
        let mut events = Events::new();
        let start = selector.now();
        // Each of these would block for ever if it blocked at all.
        for deadline in [start, earliest(start)] {
            selector
                .wait(&mut events, Wait::Until(deadline), false)
                .unwrap();
        }
        assert!(selector.now() >= start, "{name}: went back");
    }
}

#[test]
fn the_last_instant_of_all_is_a_deadline_like_any_other() {
    for (name, selector) in real() {
        let deadline = latest(selector.now());
        let (source, mut peer) = pair();
        let key = selector
            .register(source, Interest::READABLE, Mode::Edge)
            .unwrap();
        let notifier = selector.notifier();
        let elsewhere = thread::spawn(move || {
            notifier.notify();
            peer.write_all(b"x").unwrap();
            peer
        });
        let mut events = Events::new();
        // Blocks in the system with the whole of time as its timeout.
        while events.is_empty() {
            selector
                .wait(&mut events, Wait::Until(deadline), false)
                .unwrap();
        }
        assert_eq!(events.iter().next().unwrap().key, key, "{name}");
        elsewhere.join().unwrap();
    }
}

#[test]
fn an_event_comes_before_the_deadline() {
    for (name, selector) in real() {
        let (source, mut peer) = pair();
        let key = selector
            .register(source, Interest::READABLE, Mode::Edge)
            .unwrap();
        peer.write_all(b"x").unwrap();
        assert!(event_of(&*selector, key).is_readable(), "{name}");
    }
}

#[test]
fn what_is_ready_is_reported_even_after_the_deadline() {
    for (name, selector) in real() {
        let (source, mut peer) = pair();
        let key = selector
            .register(source, Interest::READABLE, Mode::Edge)
            .unwrap();
        peer.write_all(b"x").unwrap();
        let mut events = Events::new();
        let past = selector.now();
        while events.is_empty() {
            selector
                .wait(&mut events, Wait::Until(past), false)
                .unwrap();
        }
        assert_eq!(events.iter().next().unwrap().key, key, "{name}");
    }
}

fn latest(mut at: Instant) -> Instant {
    let mut step = Duration::MAX;
    while !step.is_zero() {
        match at.checked_add(step) {
            Some(later) => at = later,
            None => step /= 2,
        }
    }
    at
}

fn earliest(mut at: Instant) -> Instant {
    let mut step = Duration::MAX;
    while !step.is_zero() {
        match at.checked_sub(step) {
            Some(earlier) => at = earlier,
            None => step /= 2,
        }
    }
    at
}
