//! Clocks that jump, and clocks that move when told.
#![cfg(not(rondel_loom))]

mod backends;

use backends::{drain, event_of, pair, real};
use rondel_poll::*;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[test]
fn virtual_time_passes_in_waits_and_only_there() {
    let selector = Virtual::new();
    let mut events = Events::new();
    let start = selector.now();
    for years in 1..=100 {
        selector.wait(&mut events, Wait::Poll, false).unwrap();
        assert_eq!(selector.now(), start + YEAR * (years - 1));
        let deadline = start + YEAR * years;
        selector
            .wait(&mut events, Wait::Until(deadline), false)
            .unwrap();
        assert_eq!(selector.now(), deadline);
    }
    assert_eq!(selector.elapsed(), YEAR * 100);
    // A past deadline does not take it back.
    selector
        .wait(&mut events, Wait::Until(start), false)
        .unwrap();
    assert_eq!(selector.elapsed(), YEAR * 100);
    assert!(selector.is_virtual());
}

#[test]
fn virtual_time_stands_still_while_work_is_outstanding() {
    let selector = Virtual::new();
    let mut events = Events::new();
    let start = selector.now();
    let deadline = start + YEAR;
    let (send, results) = std::sync::mpsc::channel();
    let notifier = selector.notifier();
    let job = thread::spawn(move || {
        send.send(()).unwrap();
        notifier.notify();
    });
    while results.try_recv().is_err() {
        selector
            .wait(&mut events, Wait::Until(deadline), true)
            .unwrap();
        assert_eq!(selector.now(), start);
    }
    job.join().unwrap();
    selector.wait(&mut events, Wait::Poll, false).unwrap();
    selector
        .wait(&mut events, Wait::Until(deadline), false)
        .unwrap();
    assert_eq!(selector.now(), deadline);
}

#[test]
fn news_comes_before_a_jump() {
    let selector = Virtual::new();
    let mut events = Events::new();
    let start = selector.now();
    selector.notifier().notify();
    selector
        .wait(&mut events, Wait::Until(start + YEAR), false)
        .unwrap();
    assert_eq!(selector.now(), start);
    selector
        .wait(&mut events, Wait::Until(start + YEAR), false)
        .unwrap();
    assert_eq!(selector.now(), start + YEAR);
}

#[test]
fn the_virtual_selector_has_no_descriptors() {
    let selector = Virtual::new();
    let (source, _peer) = pair();
    let error = selector
        .register(source, Interest::BOTH, Mode::Edge)
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("has no descriptors"), "{error}");
}

#[test]
fn a_manual_clock_moves_forward_when_told() {
    let clock = ManualClock::new();
    let start = clock.now();
    clock.advance(Duration::ZERO);
    assert_eq!(clock.now(), start);
    clock.advance(YEAR);
    assert_eq!(clock.now(), start + YEAR);
    clock.advance_to(start);
    assert_eq!(clock.now(), start + YEAR);
    clock.advance_to(start + YEAR * 3);
    assert_eq!(clock.now(), start + YEAR * 3);
    // As far as an instant reaches, and not a panic.
    clock.advance(Duration::MAX);
    assert!(clock.now() > start + YEAR * 1000);
    clock.advance(Duration::MAX);
}

#[test]
fn a_deadline_is_waited_for_until_the_clock_is_there() {
    for (name, inner) in real() {
        let clock = ManualClock::new();
        let selector = Clocked::new(inner, clock.clone());
        let mut events = Events::new();
        let deadline = selector.now() + YEAR;
        let elsewhere = thread::spawn(move || {
            for _ in 0..12 {
                clock.advance(YEAR / 12 + Duration::from_nanos(1));
                thread::yield_now();
            }
        });
        let mut last = selector.now();
        while selector.now() < deadline {
            selector
                .wait(&mut events, Wait::Until(deadline), false)
                .unwrap();
            assert!(selector.now() >= last, "{name}");
            last = selector.now();
        }
        elsewhere.join().unwrap();
        assert!(selector.is_virtual());
    }
}

#[test]
fn sockets_are_real_under_a_manual_clock() {
    for (name, inner) in real() {
        let selector = Clocked::new(inner, ManualClock::new());
        let before = selector.now();
        let (source, mut peer) = pair();
        let key = selector
            .register(source.clone(), Interest::READABLE, Mode::Edge)
            .unwrap();
        let elsewhere = thread::spawn(move || {
            peer.write_all(b"x").unwrap();
            peer
        });
        assert!(event_of(&selector, key).is_readable(), "{name}");
        assert_eq!(drain(&source).unwrap(), b"x");
        assert_eq!(selector.now(), before, "{name}: time passed by itself");
        elsewhere.join().unwrap();
    }
}

#[test]
fn one_clock_serves_several_selectors_and_outlives_them() {
    let clock = ManualClock::new();
    let deadline = clock.now() + YEAR;
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let clock = clock.clone();
            thread::spawn(move || {
                let selector = Clocked::new(default_selector().unwrap(), clock);
                let mut events = Events::new();
                while selector.now() < deadline {
                    selector
                        .wait(&mut events, Wait::Until(deadline), false)
                        .unwrap();
                }
            })
        })
        .collect();
    clock.advance(YEAR);
    for thread in threads {
        thread.join().unwrap();
    }
    clock.advance(YEAR);
}

#[test]
fn real_selectors_show_real_time() {
    for (name, selector) in real() {
        let before = Instant::now();
        let now = selector.now();
        assert!(before <= now && now <= Instant::now(), "{name}");
        assert!(!selector.is_virtual(), "{name}");
    }
}
