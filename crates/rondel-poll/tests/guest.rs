//! The selector's own descriptor, in another loop's hands.
#![cfg(not(rondel_loom))]

mod backends;

use backends::{PATIENCE, drain, events_now, pair, with_descriptors};
use rondel_poll::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What the host does: poll(2) on the guest's descriptor.
fn readable(selector: &dyn Selector, patience: Duration) -> bool {
    let fd = selector.as_fd().unwrap();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let timeout = Timespec::try_from(patience).unwrap();
    poll(&mut fds, Some(&timeout)).unwrap() == 1
}

fn guests() -> Vec<backends::Backend> {
    let mut guests = with_descriptors();
    guests.retain(|(_, selector)| selector.as_fd().is_some());
    assert!(guests.len() >= 2);
    guests
}

#[test]
fn the_descriptor_is_readable_while_there_is_something_to_report() {
    for (name, selector) in guests() {
        for mode in [Mode::Edge, Mode::Level] {
            let (source, mut peer) = pair();
            let key = selector
                .register(Rc::clone(&source), Interest::READABLE, mode)
                .unwrap();
            assert_eq!(events_now(&*selector), [], "{name}");
            assert!(!readable(&*selector, Duration::ZERO), "{name}");
            peer.write_all(b"x").unwrap();
            assert!(readable(&*selector, PATIENCE), "{name}");
            assert_eq!(events_now(&*selector).len(), 1, "{name}");
            // An edge is used up by the report, a level is not.
            assert_eq!(
                readable(&*selector, Duration::ZERO),
                mode == Mode::Level,
                "{name}"
            );
            drain(&source).unwrap();
            selector.deregister(key).unwrap();
        }
    }
}

#[test]
fn a_notification_during_a_doze_rings_the_descriptor() {
    for (name, selector) in guests() {
        for _ in 0..3 {
            assert!(selector.doze(), "{name}");
            assert!(!readable(&*selector, Duration::ZERO), "{name}");
            let notifier = selector.notifier();
            thread::spawn(move || notifier.notify()).join().unwrap();
            assert!(readable(&*selector, PATIENCE), "{name}");
            assert_eq!(events_now(&*selector), [], "{name}");
            assert!(!readable(&*selector, Duration::ZERO), "{name}: rings on");
        }
    }
}

#[test]
fn a_notification_before_a_doze_refuses_it() {
    for (name, selector) in backends::all() {
        selector.notifier().notify();
        assert!(!selector.doze(), "{name}");
        events_now(&*selector);
        assert!(selector.doze(), "{name}");
        assert!(selector.doze(), "{name}: dozing on is no harm");
        events_now(&*selector);
    }
}

#[test]
fn a_guest_hears_of_everything_that_another_thread_does() {
    const ROUNDS: usize = 300;
    for (name, selector) in guests() {
        let counter = Arc::new(AtomicUsize::new(0));
        let remote = {
            let counter = Arc::clone(&counter);
            let notifier = selector.notifier();
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    counter.fetch_add(1, Ordering::Relaxed);
                    notifier.notify();
                    thread::yield_now();
                }
            })
        };
        while counter.load(Ordering::Relaxed) < ROUNDS {
            if selector.doze() {
                assert!(readable(&*selector, PATIENCE), "{name}: not rung");
            }
            events_now(&*selector);
        }
        remote.join().unwrap();
    }
}

#[test]
fn only_selectors_with_a_system_underneath_have_a_descriptor() {
    assert!(Virtual::new().as_fd().is_none());
}
