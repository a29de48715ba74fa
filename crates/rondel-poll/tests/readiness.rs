//! What is reported, when, and how often: edges and levels.
#![cfg(not(rondel_loom))]

mod backends;

use backends::{drain, event_of, events_now, pair, readiness_until, with_descriptors};
use rondel_poll::*;
use rustix::io::Errno;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;

/// What a loop does after `WouldBlock`.
fn after_would_block(selector: &dyn Selector, key: Key, blocked: Interest) {
    if selector.needs_rearm() {
        selector.modify(key, blocked).unwrap();
    }
}

#[test]
fn an_edge_is_reported_once_and_again_with_new_data() {
    for (name, selector) in with_descriptors() {
        let (source, mut peer) = pair();
        let key = selector
            .register(Rc::clone(&source), Interest::READABLE, Mode::Edge)
            .unwrap();
        assert_eq!(events_now(&*selector), [], "{name}");
        for round in 0..3 {
            peer.write_all(b"hello").unwrap();
            assert!(event_of(&*selector, key).is_readable(), "{name}");
            // Nobody has read, but that is not new.
            assert_eq!(events_now(&*selector), [], "{name}: round {round}");
            assert_eq!(drain(&source).unwrap(), b"hello");
            after_would_block(&*selector, key, Interest::READABLE);
            assert_eq!(events_now(&*selector), [], "{name}: round {round}");
        }
    }
}

#[test]
fn datagrams_that_come_after_would_block_make_an_edge() {
    for (name, selector) in with_descriptors() {
        let (source, peer) = UnixDatagram::pair().unwrap();
        source.set_nonblocking(true).unwrap();
        let source = Rc::new(OwnedFd::from(source));
        let key = selector
            .register(Rc::clone(&source), Interest::READABLE, Mode::Edge)
            .unwrap();
        for _ in 0..3 {
            peer.send(b"one").unwrap();
            peer.send(b"two").unwrap();
            assert!(event_of(&*selector, key).is_readable(), "{name}");
            assert_eq!(drain(&source).unwrap(), b"onetwo");
            after_would_block(&*selector, key, Interest::READABLE);
        }
    }
}

#[test]
fn a_level_is_reported_for_as_long_as_it_lasts() {
    for (name, selector) in with_descriptors() {
        let (source, mut peer) = pair();
        let key = selector
            .register(Rc::clone(&source), Interest::READABLE, Mode::Level)
            .unwrap();
        peer.write_all(b"hello").unwrap();
        for _ in 0..3 {
            assert_eq!(event_of(&*selector, key), Readiness::READABLE, "{name}");
        }
        drain(&source).unwrap();
        assert_eq!(events_now(&*selector), [], "{name}");
        peer.write_all(b"more").unwrap();
        assert!(event_of(&*selector, key).is_readable(), "{name}");
    }
}

#[test]
fn only_the_directions_asked_for_are_reported() {
    for (name, selector) in with_descriptors() {
        for mode in [Mode::Edge, Mode::Level] {
            let (source, mut peer) = pair();
            peer.write_all(b"hello").unwrap();
            let key = selector.register(source, Interest::NONE, mode).unwrap();
            assert_eq!(events_now(&*selector), [], "{name} {mode:?}");
            selector.modify(key, Interest::READABLE).unwrap();
            assert_eq!(
                event_of(&*selector, key),
                Readiness::READABLE,
                "{name} {mode:?}"
            );
            selector.modify(key, Interest::WRITABLE).unwrap();
            assert_eq!(
                event_of(&*selector, key),
                Readiness::WRITABLE,
                "{name} {mode:?}"
            );
            selector.modify(key, Interest::BOTH).unwrap();
            let both = Readiness::READABLE | Readiness::WRITABLE;
            readiness_until(&*selector, key, |r| r == both);
            selector.modify(key, Interest::NONE).unwrap();
            assert_eq!(events_now(&*selector), [], "{name} {mode:?}");
            selector.deregister(key).unwrap();
        }
    }
}

#[test]
fn a_source_that_is_ready_already_is_reported() {
    for (name, selector) in with_descriptors() {
        for mode in [Mode::Edge, Mode::Level] {
            let (source, mut peer) = pair();
            peer.write_all(b"early").unwrap();
            let key = selector.register(source, Interest::BOTH, mode).unwrap();
            let readiness = readiness_until(&*selector, key, |r| r.is_readable());
            assert!(readiness.is_writable(), "{name} {mode:?}");
            selector.deregister(key).unwrap();
        }
    }
}

#[test]
fn modify_looks_again() {
    for (name, selector) in with_descriptors() {
        let (source, mut peer) = pair();
        let key = selector
            .register(source, Interest::READABLE, Mode::Edge)
            .unwrap();
        peer.write_all(b"unread").unwrap();
        for _ in 0..3 {
            assert!(event_of(&*selector, key).is_readable(), "{name}");
            assert_eq!(events_now(&*selector), [], "{name}");
            selector.modify(key, Interest::READABLE).unwrap();
        }
    }
}

#[test]
fn room_after_would_block_is_reported() {
    for (name, selector) in with_descriptors() {
        let (source, mut peer) = pair();
        let key = selector
            .register(Rc::clone(&source), Interest::BOTH, Mode::Edge)
            .unwrap();
        for _ in 0..2 {
            let mut written = 0;
            loop {
                match rustix::io::write(&*source, &[7; 8192]) {
                    Ok(count) => written += count,
                    Err(Errno::AGAIN) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            after_would_block(&*selector, key, Interest::BOTH);
            // What was reported before it was full.
            while !events_now(&*selector).is_empty() {}
            let mut read = 0;
            let mut buffer = [0; 65536];
            while read < written {
                read += peer.read(&mut buffer).unwrap();
            }
            assert!(event_of(&*selector, key).is_writable(), "{name}");
        }
    }
}

#[test]
fn the_other_direction_stays_armed() {
    for (name, selector) in with_descriptors() {
        let (source, mut peer) = pair();
        let key = selector
            .register(Rc::clone(&source), Interest::BOTH, Mode::Edge)
            .unwrap();
        assert_eq!(event_of(&*selector, key), Readiness::WRITABLE, "{name}");
        assert_eq!(events_now(&*selector), [], "{name}");
        peer.write_all(b"x").unwrap();
        assert!(
            readiness_until(&*selector, key, |r| r.is_readable()).is_readable(),
            "{name}"
        );
    }
}

#[test]
fn a_hang_up_that_nobody_waits_for_does_not_end_every_wait() {
    for (name, selector) in with_descriptors() {
        for mode in [Mode::Edge, Mode::Level] {
            let (source, peer) = pair();
            let key = selector
                .register(Rc::clone(&source), Interest::READABLE, mode)
                .unwrap();
            selector.modify(key, Interest::NONE).unwrap();
            drop(peer);
            let reports: usize = (0..10).map(|_| events_now(&*selector).len()).sum();
            assert!(reports <= 1, "{name} {mode:?}: {reports} reports");
            selector.modify(key, Interest::READABLE).unwrap();
            assert!(event_of(&*selector, key).is_readable(), "{name} {mode:?}");
            assert_eq!(drain(&source).unwrap_err(), b"");
            selector.deregister(key).unwrap();
        }
        // The same where the interest was used up, not taken back.
        let (source, peer) = pair();
        let key = selector
            .register(source, Interest::BOTH, Mode::Edge)
            .unwrap();
        drop(peer);
        event_of(&*selector, key);
        let reports: usize = (0..10).map(|_| events_now(&*selector).len()).sum();
        assert!(reports <= 1, "{name}: {reports} reports");
        selector.modify(key, Interest::BOTH).unwrap();
        assert!(event_of(&*selector, key).is_readable(), "{name}");
    }
}

#[test]
fn both_ends_of_a_broken_pipe_are_told() {
    for (name, selector) in with_descriptors() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let writer = Rc::new(writer);
        let key = selector
            .register(Rc::clone(&writer), Interest::WRITABLE, Mode::Edge)
            .unwrap();
        event_of(&*selector, key);
        drop(reader);
        after_would_block(&*selector, key, Interest::WRITABLE);
        assert!(event_of(&*selector, key).is_writable(), "{name}");

        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let key = selector
            .register(Rc::new(reader), Interest::READABLE, Mode::Edge)
            .unwrap();
        assert_eq!(events_now(&*selector), [], "{name}");
        drop(writer);
        assert!(event_of(&*selector, key).is_readable(), "{name}");
    }
}

fn tcp() -> (Rc<OwnedFd>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Rc::new(ours.into()), theirs)
}

#[test]
fn the_peers_fin_makes_a_socket_readable() {
    for (name, selector) in with_descriptors() {
        let (source, peer) = tcp();
        let key = selector
            .register(source, Interest::READABLE, Mode::Edge)
            .unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let readiness = event_of(&*selector, key);
        assert!(readiness.is_readable(), "{name}");
        assert_eq!(
            readiness.contains(Readiness::READ_CLOSED),
            selector.reports_read_closed(),
            "{name}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn urgent_data_has_priority() {
    for (_, selector) in with_descriptors() {
        let (source, peer) = tcp();
        let key = selector
            .register(source, Interest::READABLE, Mode::Edge)
            .unwrap();
        rustix::net::send(&peer, b"!", rustix::net::SendFlags::OOB).unwrap();
        readiness_until(&*selector, key, |r| r.contains(Readiness::PRIORITY));
    }
}

#[test]
fn a_listener_and_a_connection_attempt_are_sources() {
    for (name, selector) in with_descriptors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listening = selector
            .register(Rc::new(listener.into()), Interest::READABLE, Mode::Edge)
            .unwrap();
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let connecting = match socket.connect(&address.into()) {
            Ok(()) => None,
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {
                let source = Rc::new(OwnedFd::from(socket));
                let key = selector
                    .register(source, Interest::WRITABLE, Mode::Edge)
                    .unwrap();
                Some(key)
            }
            Err(error) => panic!("{name}: {error}"),
        };
        assert!(event_of(&*selector, listening).is_readable(), "{name}");
        if let Some(key) = connecting {
            selector.modify(key, Interest::WRITABLE).unwrap();
            assert!(event_of(&*selector, key).is_writable(), "{name}");
        }
    }
}
