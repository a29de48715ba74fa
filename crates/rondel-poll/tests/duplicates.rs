//! A registered file that lives on under another descriptor. A program of its own,
//! because it must get a certain descriptor number back.
#![cfg(all(target_os = "linux", not(rondel_loom)))]

mod backends;

use backends::{event_of, events_now, pair};
use rondel_poll::*;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::rc::Rc;

/// Whether a wait would end at once.
fn would_report(selector: &Epoll) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let fd = selector.as_fd().unwrap();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
}

fn what_could_end_every_wait_is_taken_out_of_epoll() {
    let selector = Epoll::new().unwrap();
    // A level whose last share goes and whose file stays; an edge whose
    // descriptor stays.
    for mode in [Mode::Level, Mode::Edge] {
        let (source, mut peer) = pair();
        let duplicate = source.try_clone().unwrap();
        let share = (mode == Mode::Edge).then(|| Rc::clone(&source));
        let key = selector.register(source, Interest::READABLE, mode).unwrap();
        selector.deregister(key).unwrap();
        peer.write_all(b"x").unwrap();
        assert!(!would_report(&selector), "{mode:?}");
        drop((share, duplicate));
    }
}

#[test]
fn what_a_duplicate_keeps_alive_is_neither_reported_nor_in_the_way() {
    what_could_end_every_wait_is_taken_out_of_epoll();

    let selector = Epoll::new().unwrap();
    let (source, mut peer) = pair();
    let number = source.as_raw_fd();
    let duplicate = source.try_clone().unwrap();
    let old = selector
        .register(source, Interest::READABLE, Mode::Edge)
        .unwrap();
    // The last share, not the last descriptor: epoll still knows the file.
    selector.deregister(old).unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!(events_now(&selector), []);

    // The same file at the same number again: to epoll, the one it knows.
    let again = rustix::io::fcntl_dupfd_cloexec(&duplicate, number).unwrap();
    assert_eq!(again.as_raw_fd(), number);
    let again = Rc::new(again);
    let new = selector
        .register(Rc::clone(&again), Interest::READABLE, Mode::Edge)
        .unwrap();
    assert!(event_of(&selector, new).is_readable());
    let twice = selector.register(again, Interest::READABLE, Mode::Edge);
    assert_eq!(twice.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    selector.deregister(new).unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!(events_now(&selector), []);
}
