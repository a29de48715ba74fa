//! Keys, ownership, refusals.
#![cfg(not(rondel_loom))]

mod backends;

use backends::{event_of, events_now, pair, with_descriptors};
use rondel_poll::*;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;

#[test]
fn a_key_is_good_until_it_is_deregistered_and_never_again() {
    for (name, selector) in with_descriptors() {
        let (first, _peer) = pair();
        let (second, mut second_peer) = pair();
        let old = selector
            .register(first, Interest::READABLE, Mode::Edge)
            .unwrap();
        selector.deregister(old).unwrap();
        let new = selector
            .register(second, Interest::READABLE, Mode::Edge)
            .unwrap();
        assert_ne!(old, new, "{name}");
        assert_eq!(old.index(), new.index(), "{name}: slots are used again");
        for result in [
            selector.modify(old, Interest::NONE),
            selector.deregister(old),
            selector.deregister(Key::from_bits(u64::MAX)),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
        }
        // None of which has harmed the new one.
        second_peer.write_all(b"x").unwrap();
        event_of(&*selector, new);
    }
}

#[test]
fn what_is_deregistered_is_not_reported_even_if_it_was_ready() {
    for (name, selector) in with_descriptors() {
        for mode in [Mode::Edge, Mode::Level] {
            for keep in [false, true] {
                let (source, mut peer) = pair();
                let kept = keep.then(|| Rc::clone(&source));
                let key = selector.register(source, Interest::BOTH, mode).unwrap();
                peer.write_all(b"pending").unwrap();
                selector.deregister(key).unwrap();
                assert_eq!(events_now(&*selector), [], "{name} {mode:?} {keep}");
                drop(kept);
            }
        }
    }
}

#[test]
fn a_source_may_be_registered_again_but_not_twice() {
    for (name, selector) in with_descriptors() {
        for interest in [Interest::READABLE, Interest::NONE] {
            for mode in [Mode::Edge, Mode::Level] {
                let (source, mut peer) = pair();
                let key = selector
                    .register(Rc::clone(&source), interest, mode)
                    .unwrap();
                let error = selector
                    .register(Rc::clone(&source), Interest::BOTH, Mode::Edge)
                    .unwrap_err();
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{name}: {error}");
                selector.deregister(key).unwrap();
                let key = selector
                    .register(source, Interest::READABLE, Mode::Edge)
                    .unwrap();
                peer.write_all(b"x").unwrap();
                event_of(&*selector, key);
                selector.deregister(key).unwrap();
            }
        }
    }
}

#[test]
fn a_source_stays_open_for_as_long_as_it_is_registered() {
    for (name, selector) in with_descriptors() {
        let (source, mut peer) = pair();
        let watch = Rc::downgrade(&source);
        let key = selector
            .register(source, Interest::READABLE, Mode::Edge)
            .unwrap();
        assert_eq!(watch.strong_count(), 1, "{name}");
        peer.write_all(b"x").unwrap();
        event_of(&*selector, key);
        selector.deregister(key).unwrap();
        assert_eq!(watch.strong_count(), 0, "{name}");
        // Closed in fact: with a byte unread, that is a reset.
        let end = peer.read(&mut [0]);
        assert!(
            matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() != ErrorKind::WouldBlock),
            "{name}"
        );

        let (source, mut peer) = pair();
        selector
            .register(source, Interest::READABLE, Mode::Edge)
            .unwrap();
        drop(selector);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "{name}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn regular_files_are_refused_in_words() {
    for (name, selector) in with_descriptors() {
        if cfg!(polling_test_poll_backend) && name.contains("portable") {
            continue; // poll(2) takes them, as always ready.
        }
        let file = Rc::new(std::os::fd::OwnedFd::from(
            std::fs::File::open("Cargo.toml").unwrap(),
        ));
        let error = selector
            .register(Rc::clone(&file), Interest::READABLE, Mode::Edge)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{name}");
        assert!(
            error.to_string().contains("regular file"),
            "{name}: {error}"
        );
        let inner = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<SelectorError>())
            .unwrap();
        assert_eq!(inner.raw_os_error(), Some(libc::EPERM), "{name}");
        assert!(inner.descriptor().is_some() && std::error::Error::source(inner).is_some());
        // Nothing is left behind.
        assert_eq!(Rc::strong_count(&file), 1, "{name}");
        assert_eq!(events_now(&*selector), [], "{name}");
    }
}

#[test]
fn errors_say_what_was_attempted_on_what() {
    let selector = Virtual::new();
    let error = selector
        .deregister(Key::from_bits(3 << 32 | 5))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot deregister from the virtual selector key 5.3: it is not registered, or no longer"
    );
}
