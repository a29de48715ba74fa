//! The back ends that each behaviour is tested on, and the words to test with.
#![allow(dead_code)] // Each test program uses its part.

use rondel_poll::*;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

/// Far beyond what any test takes: whoever waits that long has lost something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Backend = (&'static str, Box<dyn Selector>);

/// Selectors with descriptors and real time.
pub(crate) fn real() -> Vec<Backend> {
    vec![
        #[cfg(target_os = "linux")]
        ("epoll", Box::new(Epoll::new().unwrap())),
        ("portable", Box::new(Portable::new().unwrap())),
    ]
}

/// Selectors with descriptors.
pub(crate) fn with_descriptors() -> Vec<Backend> {
    let mut backends = real();
    for (name, inner) in real() {
        let name = match name {
            "epoll" => "clocked epoll",
            _ => "clocked portable",
        };
        backends.push((name, Box::new(Clocked::new(inner, ManualClock::new()))));
    }
    backends
}

/// All selectors.
pub(crate) fn all() -> Vec<Backend> {
    let mut backends = with_descriptors();
    backends.push(("virtual", Box::new(Virtual::new())));
    backends
}

/// Selectors whose time passes by itself.
pub(crate) fn timed() -> Vec<Backend> {
    let mut backends = real();
    backends.push(("virtual", Box::new(Virtual::new())));
    backends
}

/// Both ends of a Unix stream, non-blocking, the first one ready to be registered.
pub(crate) fn pair() -> (Rc<OwnedFd>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (Rc::new(ours.into()), theirs)
}

/// Waits until this key is reported, as often as it takes.
pub(crate) fn event_of(selector: &dyn Selector, key: Key) -> Readiness {
    readiness_until(selector, key, |readiness| readiness != Readiness::EMPTY)
}

/// Waits until all that was reported of this key meets the condition.
pub(crate) fn readiness_until(
    selector: &dyn Selector,
    key: Key,
    enough: impl Fn(Readiness) -> bool,
) -> Readiness {
    let mut events = Events::new();
    let mut all = Readiness::EMPTY;
    let deadline = selector.now() + PATIENCE;
    while !enough(all) {
        assert!(selector.now() < deadline, "only {all:?} was reported");
        selector
            .wait(&mut events, Wait::Until(deadline), false)
            .unwrap();
        for event in &events {
            if event.key == key {
                all |= event.readiness;
            }
        }
    }
    all
}

/// What is reported right now, of any key.
pub(crate) fn events_now(selector: &dyn Selector) -> Vec<Event> {
    let mut events = Events::new();
    selector.wait(&mut events, Wait::Poll, false).unwrap();
    events.iter().copied().collect()
}

/// Reads until the source says `WouldBlock`; `Err` with the bytes if it ended.
pub(crate) fn drain(source: &OwnedFd) -> Result<Vec<u8>, Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(source, &mut buffer) {
            Ok(0) => return Err(bytes),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN) => return Ok(bytes),
            Err(error) => panic!("{error}"),
        }
    }
}
