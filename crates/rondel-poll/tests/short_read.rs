//! The short-read rule: where a short read means "drained", and the places where
//! taking it so strands bytes.
//!
//! Each counter-example is run twice. Once with the rule applied regardless, to
//! show that no event comes for what is left; once as `ReadyState` does it.
#![cfg(all(target_os = "linux", not(rondel_loom)))]

mod backends;

use backends::{events_now, real};
use rondel_poll::*;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// Larger than anything sent here: every read is short.
const ROOM: usize = 4096;

/// Reads in the way of a loop: while ready, and after an event. Ends when
/// nothing is ready and no event is left. What came, and whether the end did.
///
/// The event of the registration itself comes before the first read if
/// `hear_first`, else after it.
fn receive(
    selector: &dyn Selector,
    source: &Rc<OwnedFd>,
    mut state: ReadyState,
    hear_first: bool,
    on_short_read: fn(&mut ReadyState) -> bool,
) -> (Vec<u8>, bool) {
    let key = selector
        .register(Rc::clone(source), Interest::BOTH, Mode::Edge)
        .unwrap();
    if hear_first {
        for event in events_now(selector) {
            state.on_event(event.readiness);
        }
    }
    let result = receive_as(selector, source, key, &mut state, on_short_read);
    selector.deregister(key).unwrap();
    result
}

fn receive_as(
    selector: &dyn Selector,
    source: &OwnedFd,
    key: Key,
    state: &mut ReadyState,
    on_short_read: fn(&mut ReadyState) -> bool,
) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut buffer = [0; ROOM];
    loop {
        while state.is_readable() {
            match rustix::io::read(source, &mut buffer) {
                Ok(0) => return (bytes, true),
                Ok(count) => {
                    bytes.extend_from_slice(&buffer[..count]);
                    if count < buffer.len() {
                        on_short_read(state);
                    }
                }
                Err(Errno::AGAIN) => state.on_read_would_block(),
                Err(error) => panic!("{error}"),
            }
        }
        if selector.needs_rearm() {
            selector.modify(key, state.blocked()).unwrap();
        }
        let events = events_now(selector);
        if events.is_empty() {
            return (bytes, false);
        }
        for event in events {
            assert_eq!(event.key, key);
            state.on_event(event.readiness);
        }
    }
}

/// The example must strand bytes if the rule is applied where it must not be, and
/// must not if it is applied as it should be.
fn counter_example(kind: SourceKind, fill: impl Fn() -> (Rc<OwnedFd>, Vec<u8>, bool, Keep)) {
    for (name, selector) in real() {
        if !selector.needs_rearm() {
            let (source, sent, end, _keep) = fill();
            let state = ReadyState::new(kind, false);
            let stranded = receive(&*selector, &source, state, true, |state| {
                state.on_read_would_block();
                true
            });
            assert_ne!(
                stranded,
                (sent, end),
                "{name}: nothing stranded, so this is no counter-example"
            );
        }
        for hear_first in [false, true] {
            let (source, sent, end, _keep) = fill();
            let state = ReadyState::new(kind, selector.reports_read_closed());
            let rule = ReadyState::on_short_read;
            assert_eq!(
                receive(&*selector, &source, state, hear_first, rule),
                (sent, end),
                "{name}"
            );
        }
    }
}

/// What must stay open while the example is read.
type Keep = Box<dyn std::any::Any>;

fn terminal() -> (Rc<OwnedFd>, Vec<u8>, bool, Keep) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&control).unwrap();
    unlockpt(&control).unwrap();
    let path = ptsname(&control, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR
        | rustix::fs::OFlags::NOCTTY
        | rustix::fs::OFlags::NONBLOCK
        | rustix::fs::OFlags::CLOEXEC;
    let terminal = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    // A read returns a line, however many there are.
    let lines = b"first line\nsecond line\nthird line\n";
    assert_eq!(rustix::io::write(&control, lines).unwrap(), lines.len());
    // The lines reach the terminal by a worker of the kernel's: wait for the last.
    let deadline = std::time::Instant::now() + backends::PATIENCE;
    while rustix::io::ioctl_fionread(&terminal).unwrap() < lines.len() as u64 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    (Rc::new(terminal), lines.to_vec(), false, Box::new(control))
}

#[test]
fn a_terminal_returns_one_line_a_read() {
    counter_example(SourceKind::Other, terminal);
}

fn packets() -> (Rc<OwnedFd>, Vec<u8>, bool, Keep) {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .unwrap();
    for packet in [b"one", b"two"] {
        rustix::net::send(&theirs, packet, SendFlags::empty()).unwrap();
    }
    (Rc::new(ours), b"onetwo".to_vec(), false, Box::new(theirs))
}

#[test]
fn a_packet_socket_returns_one_packet_a_read() {
    counter_example(SourceKind::Other, packets);
}

fn passed_descriptor() -> (Rc<OwnedFd>, Vec<u8>, bool, Keep) {
    let (ours, mut theirs) = backends::pair();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let passed = std::fs::File::open("Cargo.toml").unwrap();
    let descriptors = [passed.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    rustix::net::sendmsg(
        &theirs,
        &[IoSlice::new(b"with a descriptor, ")],
        &mut ancillary,
        SendFlags::empty(),
    )
    .unwrap();
    theirs.write_all(b"and without").unwrap();
    (
        ours,
        b"with a descriptor, and without".to_vec(),
        false,
        Box::new(theirs),
    )
}

#[test]
fn a_read_ends_at_a_passed_descriptor() {
    counter_example(SourceKind::Other, passed_descriptor);
}

fn connection() -> (Rc<OwnedFd>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    theirs.set_nodelay(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    (Rc::new(ours.into()), theirs)
}

/// Until what was sent over loopback is there to be read.
fn arrived(source: &OwnedFd, count: usize) {
    let deadline = std::time::Instant::now() + backends::PATIENCE;
    let mut peeked = [0; ROOM];
    loop {
        match rustix::net::recv(source, &mut peeked, rustix::net::RecvFlags::PEEK) {
            Ok((_, n)) if n >= count => return,
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

/// Until the peer's urgent byte, and what it sent after it, has come: the
/// read-ahead count includes what is behind the mark.
fn all_there(source: &OwnedFd, count: u64) {
    let deadline = std::time::Instant::now() + backends::PATIENCE;
    while unread(source) < count {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

fn unread(source: &OwnedFd) -> u64 {
    rustix::io::ioctl_fionread(source).unwrap()
}

fn urgent() -> (Rc<OwnedFd>, Vec<u8>, bool, Keep) {
    let (ours, mut theirs) = connection();
    theirs.write_all(b"before").unwrap();
    rustix::net::send(&theirs, b"!", SendFlags::OOB).unwrap();
    theirs.write_all(b", after").unwrap();
    // With urgent data, FIONREAD counts up to the mark; the peer's queue of
    // unacknowledged bytes tells when the rest is here.
    all_there(&ours, 6);
    let deadline = std::time::Instant::now() + backends::PATIENCE;
    while unacknowledged(&theirs) > 0 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    (ours, b"before, after".to_vec(), false, Box::new(theirs))
}

/// SIOCOUTQ: what the peer's system has not confirmed yet.
fn unacknowledged(socket: &TcpStream) -> libc::c_int {
    use std::os::fd::AsRawFd;
    let mut count = 0;
    // SAFETY: TIOCOUTQ, of the same number, writes one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut count) };
    assert_eq!(result, 0);
    count
}

#[test]
fn a_read_ends_at_urgent_data() {
    counter_example(SourceKind::Tcp, urgent);
}

fn data_and_fin() -> (Rc<OwnedFd>, Vec<u8>, bool, Keep) {
    let (ours, mut theirs) = connection();
    theirs.write_all(b"hello").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    arrived(&ours, 5);
    fin_arrived(&ours);
    (ours, b"hello".to_vec(), true, Box::new(theirs))
}

fn fin_arrived(source: &OwnedFd) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(source, PollFlags::RDHUP)];
    poll(&mut fds, None).unwrap();
}

#[test]
fn data_and_fin_in_one_edge() {
    counter_example(SourceKind::Tcp, data_and_fin);
}

#[test]
fn where_it_holds_the_rule_saves_a_call_and_loses_nothing() {
    for (name, selector) in real() {
        for (kind, (source, mut peer)) in [
            (SourceKind::Tcp, {
                let (source, peer) = connection();
                (source, Box::new(peer) as Box<dyn Write>)
            }),
            (SourceKind::UnixStream, {
                let (source, peer) = backends::pair();
                (source, Box::new(peer) as Box<dyn Write>)
            }),
        ] {
            let key = selector
                .register(Rc::clone(&source), Interest::BOTH, Mode::Edge)
                .unwrap();
            let mut state = ReadyState::new(kind, selector.reports_read_closed());
            let mut buffer = [0; ROOM];
            let mut read = |state: &mut ReadyState| {
                loop {
                    while !state.is_readable() {
                        let mut events = Events::new();
                        selector.wait(&mut events, Wait::Forever, false).unwrap();
                        for event in &events {
                            state.on_event(event.readiness);
                        }
                    }
                    match rustix::io::read(&*source, &mut buffer) {
                        Ok(count) => return count,
                        Err(Errno::AGAIN) => state.on_read_would_block(),
                        Err(error) => panic!("{error}"),
                    }
                    if selector.needs_rearm() {
                        selector.modify(key, Interest::READABLE).unwrap();
                    }
                }
            };
            for _ in 0..50 {
                peer.write_all(b"request").unwrap();
                let mut got = 0;
                while got < 7 {
                    got += read(&mut state);
                    let drained = state.on_short_read();
                    assert_eq!(drained, selector.reports_read_closed(), "{name}");
                }
            }
            // The end, after all those short reads, is heard of.
            drop(peer);
            assert_eq!(read(&mut state), 0, "{name}");
            selector.deregister(key).unwrap();
        }
    }
}
