//! What the child of a fork(2) does to a selector that it has inherited is nothing to the parent.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rondel_poll::{Events, Interest, Mode, Portable, Selector, Wait};

fn source() -> (Rc<OwnedFd>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Rc::new(OwnedFd::from(ours)), theirs)
}

fn soon() -> Wait {
    Wait::Until(Instant::now() + Duration::from_secs(5))
}

/// Has a child do `inside` to its copy of `what`; gives whether that held.
fn in_child<T>(what: T, inside: impl FnOnce(T) -> bool) -> (libc::c_int, T) {
    // SAFETY: the child calls the selector, which neither locks nor starts anything, and leaves by `_exit`.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            let code = i32::from(!inside(what));
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `status` is writable for the call.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            (status, what)
        }
    }
}

fn survives(selector: impl Selector) {
    let (ours, mut theirs) = source();
    let (other, mut peer) = source();
    let edge = Interest::READABLE;
    let key = selector.register(ours, edge, Mode::Edge).unwrap();
    let (other_key, another) = (
        selector
            .register(Rc::clone(&other), edge, Mode::Level)
            .unwrap(),
        source().0,
    );
    let (status, selector) = in_child(selector, |selector| {
        let refused = |result: io::Result<()>| {
            result.is_err_and(|error| error.kind() == io::ErrorKind::Unsupported)
        };
        refused(selector.register(another, edge, Mode::Edge).map(drop))
            && refused(selector.modify(key, Interest::WRITABLE))
            && refused(selector.wait(&mut Events::new(), Wait::Poll, false))
            && selector.deregister(other_key).is_ok()
            && {
                drop(selector);
                true
            }
    });
    assert_eq!(status, 0);
    let mut events = Events::new();
    theirs.write_all(b"x").unwrap();
    selector.wait(&mut events, soon(), false).unwrap();
    assert!(events.iter().any(|event| event.key == key));
    // Nor was what the child let go of taken from the parent.
    peer.write_all(b"x").unwrap();
    selector.wait(&mut events, soon(), false).unwrap();
    assert!(events.iter().any(|event| event.key == other_key));
    selector.deregister(other_key).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn epoll_survives_what_a_child_does() {
    survives(rondel_poll::Epoll::coarse().unwrap());
}

#[test]
fn the_portable_selector_survives_what_a_child_does() {
    survives(Portable::new().unwrap());
}
