//! Every other Unix, by way of `polling`.
// For `Poller::add_with_mode` alone.
#![allow(unsafe_code)]

use crate::slab::Slab;
use crate::{
    Bell, Event, Events, Interest, Key, Mode, Notifier, ProcessMark, Readiness, Selector,
    SelectorError, Wait,
};
use polling::{PollMode, Poller};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

const REGISTER: &str = "register with the portable selector";
const MODIFY: &str = "change the interest of";
const DEREGISTER: &str = "deregister from the portable selector";

/// The selector on everything that is not Linux: kqueue, event ports, poll(2),
/// by the crate `polling`.
///
/// It works on Linux, too (over epoll; over poll(2) in a build with
/// `--cfg polling_test_poll_backend`), where it is the fallback for kernels
/// without `epoll_pwait2`, at five system calls a wait.
///
/// `polling` does not report a peer's FIN, so
/// [`reports_read_closed`](Selector::reports_read_closed) is false. Where it has no
/// edges (poll, event ports), sources are registered one-shot and
/// [`needs_rearm`](Selector::needs_rearm) is true; where it has no levels, the
/// selector re-arms what it reported at the next wait.
///
/// ```
/// use rondel_poll::{Events, Interest, Mode, Portable, Selector, Wait};
/// use std::{io::Write, os::fd::OwnedFd, os::unix::net::UnixStream, rc::Rc};
///
/// let (ours, mut theirs) = UnixStream::pair()?;
/// ours.set_nonblocking(true)?;
/// let selector = Portable::new()?;
/// let key = selector.register(Rc::new(OwnedFd::from(ours)), Interest::READABLE, Mode::Level)?;
///
/// theirs.write_all(b"x")?;
/// let mut events = Events::new();
/// for _ in 0..2 {
///     // Nobody reads, so the level is reported again and again.
///     selector.wait(&mut events, Wait::Forever, false)?;
///     assert!(events.iter().any(|event| event.key == key));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Portable {
    poller: Arc<Poller>,
    /// The children of this process share what the system keeps of the poller, if
    /// they have it at all.
    made_in: ProcessMark,
    notifier: Notifier,
    registrations: RefCell<Slab<Registration>>,
    /// One-shot registrations that the next wait must arm again.
    unarmed: RefCell<Vec<Key>>,
    /// Registered, but not with `polling`, which therefore would not notice that
    /// they are registered twice.
    unwatched: RefCell<HashSet<RawFd>>,
    buffer: RefCell<Buffer>,
}

#[derive(Debug)]
struct Registration {
    source: Rc<OwnedFd>,
    mode: Mode,
    /// How `polling` is asked to deliver it.
    delivery: PollMode,
    /// What `polling` watches it for. Less than the interest if it is one-shot
    /// and a direction has been reported.
    armed: Interest,
    /// Whether `polling` knows it. Not if nothing is armed: poll(2) would report
    /// a hang-up all the same, at every wait.
    watched: bool,
}

impl Portable {
    /// A new poller of the best kind that the system has.
    ///
    /// # Errors
    ///
    /// What the system says: no descriptors left, mostly.
    pub fn new() -> io::Result<Self> {
        let poller = Poller::new()
            .map_err(|e| SelectorError::at_selector("create the portable selector", e))?;
        let poller = Arc::new(poller);
        let made_in = ProcessMark::new()?;
        Ok(Self {
            notifier: Notifier::new(Arc::new(PollerBell(Arc::clone(&poller)))),
            poller,
            made_in,
            registrations: RefCell::new(Slab::new()),
            unarmed: RefCell::default(),
            unwatched: RefCell::default(),
            buffer: RefCell::new(Buffer::with_capacity(1)),
        })
    }

    fn delivery(&self, mode: Mode) -> PollMode {
        match mode {
            Mode::Edge if self.poller.supports_edge() => PollMode::Edge,
            Mode::Level if self.poller.supports_level() => PollMode::Level,
            _ => PollMode::Oneshot,
        }
    }

    /// Makes `polling` watch for what is armed.
    fn arm(&self, index: usize, registration: &mut Registration) -> io::Result<()> {
        self.made_in.check("use a poller")?;
        let Registration {
            source,
            delivery,
            armed,
            ..
        } = &*registration;
        if armed.is_empty() && *delivery != PollMode::Edge {
            return self.unwatch(registration);
        }
        let event = polling::Event::new(
            index,
            armed.contains(Interest::READABLE),
            armed.contains(Interest::WRITABLE),
        );
        if registration.watched {
            return self.poller.modify_with_mode(&**source, event, *delivery);
        }
        // SAFETY: the source must be deleted from the poller before it is
        // dropped. The registration holds a share of it. It is removed from the
        // slab only after `unwatch` has deleted it, and if the selector is
        // dropped, `Drop` deletes what is left.
        let added = unsafe { self.poller.add_with_mode(&**source, event, *delivery) };
        if let Err(error) = added {
            if error.kind() != io::ErrorKind::AlreadyExists {
                // kqueue's book-keeping remembers a source that was refused.
                let _ = self.poller.delete(&**source);
            }
            return Err(error);
        }
        registration.watched = true;
        self.unwatched
            .borrow_mut()
            .remove(&registration.source.as_raw_fd());
        Ok(())
    }

    /// Makes `polling` forget it.
    fn unwatch(&self, registration: &mut Registration) -> io::Result<()> {
        // In a child, it would be taken out of the parent's hands.
        if registration.watched && self.made_in.is_current() {
            match self.poller.delete(&*registration.source) {
                // An event port forgets a one-shot source by itself.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => registration.watched = false,
            }
        }
        self.unwatched
            .borrow_mut()
            .insert(registration.source.as_raw_fd());
        Ok(())
    }

    fn arm_again(&self) -> io::Result<()> {
        let mut unarmed = self.unarmed.borrow_mut();
        let mut registrations = self.registrations.borrow_mut();
        while let Some(key) = unarmed.last().copied() {
            if let Some(registration) = registrations.get_mut(key) {
                self.arm(key.index(), registration)
                    .map_err(|e| registration.failed(MODIFY, e))?;
            }
            unarmed.pop();
        }
        Ok(())
    }

    /// Book-keeping for what `polling` has just reported.
    fn delivered(&self, key: Key, registration: &mut Registration, event: &polling::Event) {
        if registration.delivery != PollMode::Oneshot {
            return;
        }
        if registration.mode == Mode::Edge {
            if event.readable {
                registration.armed = registration.armed - Interest::READABLE;
            }
            if event.writable {
                registration.armed = registration.armed - Interest::WRITABLE;
            }
            let ended = event.is_interrupt() || event.is_err() == Some(true);
            if registration.armed.is_empty() && !ended {
                return;
            }
        }
        // Either a direction was not reported and must stay armed, or it is a
        // level, or there is a hang-up, for which `arm` ends the watch.
        self.unarmed.borrow_mut().push(key);
    }
}

impl Registration {
    fn failed(&self, attempt: &'static str, error: io::Error) -> io::Error {
        SelectorError::at_descriptor(attempt, self.source.as_raw_fd(), error)
    }
}

impl Selector for Portable {
    fn register(&self, source: Rc<OwnedFd>, interest: Interest, mode: Mode) -> io::Result<Key> {
        let descriptor = source.as_raw_fd();
        let mut registrations = self.registrations.borrow_mut();
        let key = if self.unwatched.borrow().contains(&descriptor) {
            Err(io::ErrorKind::AlreadyExists)
        } else {
            registrations
                .insert(Registration {
                    source,
                    mode,
                    delivery: self.delivery(mode),
                    armed: interest,
                    watched: false,
                })
                .ok_or(io::ErrorKind::OutOfMemory)
        };
        let key =
            key.map_err(|kind| SelectorError::at_descriptor(REGISTER, descriptor, kind.into()))?;
        let registration = registrations
            .get_mut(key)
            .ok_or_else(|| SelectorError::unknown_key(REGISTER, key))?;
        if let Err(error) = self.arm(key.index(), registration) {
            let error = registration.failed(REGISTER, error);
            registrations.remove(key);
            return Err(error);
        }
        Ok(key)
    }

    fn modify(&self, key: Key, interest: Interest) -> io::Result<()> {
        let mut registrations = self.registrations.borrow_mut();
        let registration = registrations
            .get_mut(key)
            .ok_or_else(|| SelectorError::unknown_key(MODIFY, key))?;
        registration.armed = interest;
        self.arm(key.index(), registration)
            .map_err(|e| registration.failed(MODIFY, e))
    }

    fn deregister(&self, key: Key) -> io::Result<()> {
        let mut registrations = self.registrations.borrow_mut();
        let registration = registrations
            .get_mut(key)
            .ok_or_else(|| SelectorError::unknown_key(DEREGISTER, key))?;
        self.unwatch(registration)
            .map_err(|e| registration.failed(DEREGISTER, e))?;
        self.unwatched
            .borrow_mut()
            .remove(&registration.source.as_raw_fd());
        registrations.remove(key);
        Ok(())
    }

    fn needs_rearm(&self) -> bool {
        !self.poller.supports_edge()
    }

    fn reports_read_closed(&self) -> bool {
        false
    }

    fn wait(&self, events: &mut Events, wait: Wait, _outstanding: bool) -> io::Result<()> {
        events.clear();
        self.made_in.check("wait for the portable selector")?;
        self.arm_again()?;
        let mut buffer = self.buffer.borrow_mut();
        let raw = buffer.of_capacity(events.capacity());
        raw.clear();
        // The deadline itself goes to the poller, which takes it up again by
        // itself after a signal.
        let result = match wait {
            Wait::Until(deadline) if self.notifier.fall_asleep() => {
                self.poller.wait_deadline(raw, deadline)
            }
            Wait::Forever if self.notifier.fall_asleep() => self.poller.wait(raw, None),
            _ => self.poller.wait(raw, Some(Duration::ZERO)),
        };
        let result = match result {
            // The poll(2) back end marks a notification before it writes it to
            // its pipe. A wait that begins in between finds the mark, but the
            // pipe empty, and fails without taking the poller's mark back: no
            // later notification would be heard. A second look takes it back.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.poller.wait(raw, Some(Duration::ZERO))
            }
            result => result,
        };
        self.notifier.wake_up();
        result.map_err(|e| SelectorError::at_selector("wait for the portable selector", e))?;
        let mut registrations = self.registrations.borrow_mut();
        for event in raw.iter() {
            // A slot is enough: what is deregistered is deleted from the poller,
            // so a slot's events are those of its present registration.
            let Some((key, registration)) = registrations.at_mut(event.key) else {
                continue;
            };
            events.push(Event {
                key,
                readiness: readiness_of(&event),
            });
            self.delivered(key, registration, &event);
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    fn doze(&self) -> bool {
        // What is not armed does not make the descriptor readable. An error
        // is for `wait` to report, so ask for a turn.
        self.arm_again().is_ok() && self.notifier.fall_asleep()
    }

    #[cfg(all(
        any(
            target_os = "linux",
            target_os = "android",
            target_os = "redox",
            target_os = "illumos",
            target_os = "solaris",
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly",
        ),
        not(polling_test_poll_backend),
    ))]
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(&*self.poller))
    }

    #[cfg(not(all(
        any(
            target_os = "linux",
            target_os = "android",
            target_os = "redox",
            target_os = "illumos",
            target_os = "solaris",
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly",
        ),
        not(polling_test_poll_backend),
    )))]
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Drop for Portable {
    fn drop(&mut self) {
        if !self.made_in.is_current() {
            // The parent's: a poller takes its own descriptors out of epoll when it
            // goes. So it stays, and with it what it may look at.
            std::mem::forget(Arc::clone(&self.poller));
            return;
        }
        // The poller may live on in a notifier.
        for registration in self.registrations.get_mut().iter() {
            if registration.watched
                && self
                    .poller
                    .delete(&*registration.source)
                    .is_err_and(|e| e.kind() != io::ErrorKind::NotFound)
            {
                // It has never been seen to happen. If it does, the descriptor
                // must stay open for as long as the poller may look at it.
                std::mem::forget(Rc::clone(&registration.source));
            }
        }
    }
}

struct PollerBell(Arc<Poller>);

impl Bell for PollerBell {
    fn ring(&self) {
        // It can fail only if the poller's own pipe is full: it is readable then.
        let _ = self.0.notify();
    }
}

/// `polling`'s buffer, with the capacity that was asked for: the real one may
/// be larger.
struct Buffer {
    events: polling::Events,
    capacity: usize,
}

impl Buffer {
    fn with_capacity(capacity: usize) -> Self {
        let at_least_one = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self {
            events: polling::Events::with_capacity(at_least_one),
            capacity,
        }
    }

    fn of_capacity(&mut self, capacity: usize) -> &mut polling::Events {
        if self.capacity != capacity {
            *self = Self::with_capacity(capacity);
        }
        &mut self.events
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.capacity)
    }
}

fn readiness_of(event: &polling::Event) -> Readiness {
    let mut readiness = Readiness::EMPTY;
    for (told, bit) in [
        (event.readable, Readiness::READABLE),
        (event.writable, Readiness::WRITABLE),
        (event.is_interrupt(), Readiness::HANGUP),
        (event.is_err() == Some(true), Readiness::ERROR),
        (event.is_priority(), Readiness::PRIORITY),
    ] {
        if told {
            readiness |= bit;
        }
    }
    readiness
}
