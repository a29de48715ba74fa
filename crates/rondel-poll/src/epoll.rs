//! epoll, directly.

use crate::epoll_pwait2::{RawEvent, epoll_pwait2, epoll_wait};
use crate::eventfd::Eventfd;
use crate::slab::Slab;
use crate::{
    Event, Events, Interest, Key, Mode, Notifier, ProcessMark, Readiness, Selector, SelectorError,
    Wait,
};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What the bell is registered under. No [`Key`] of the slab has these bits.
const BELL: u64 = u64::MAX;

/// The selector on Linux: epoll(7) with `epoll_pwait2`, from Linux 5.11 on.
///
/// A wait is one system call; deadlines have a nanosecond's resolution (and the
/// lateness of the system's timers, 50 µs unless `PR_SET_TIMERSLACK` says
/// otherwise) and need no timerfd. A source is registered once, edge-triggered,
/// for both directions and for `EPOLLRDHUP` and `EPOLLPRI`, so
/// [`reports_read_closed`](Selector::reports_read_closed) is true. A notification
/// writes to an eventfd that nobody reads.
///
/// Deregistering the last share of an edge-triggered source makes no system call:
/// closing it takes it out of the epoll instance. If another descriptor of the
/// same open file lives on (`dup`, a child process), its events still end a wait
/// now and then; they are filtered out, and cost that much.
///
/// The child of a fork shares the epoll instance with its parent. Registering and
/// waiting are errors there, and deregistering takes nothing from the parent; see
/// [`ProcessMark`].
///
/// ```
/// use rondel_poll::{Epoll, Events, Interest, Mode, Selector, Wait};
/// use std::{io::Write, os::fd::OwnedFd, os::unix::net::UnixStream, rc::Rc};
///
/// let (ours, mut theirs) = UnixStream::pair()?;
/// ours.set_nonblocking(true)?;
/// let selector = Epoll::new()?;
/// let key = selector.register(Rc::new(OwnedFd::from(ours)), Interest::READABLE, Mode::Edge)?;
///
/// theirs.write_all(b"x")?;
/// let mut events = Events::new();
/// selector.wait(&mut events, Wait::Forever, false)?;
/// let event = events.iter().next().unwrap();
/// assert_eq!(event.key, key);
/// assert!(event.readiness.is_readable());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Epoll {
    epoll: OwnedFd,
    /// The children of this process have the same epoll instance.
    made_in: ProcessMark,
    /// Without `epoll_pwait2`.
    coarse: bool,
    notifier: Notifier,
    registrations: RefCell<Slab<Registration>>,
    /// Where the kernel writes; as long as the capacity of the events last used.
    buffer: RefCell<Buffer>,
}

#[derive(Debug)]
struct Registration {
    source: Rc<OwnedFd>,
    mode: Mode,
}

impl Epoll {
    /// A new epoll instance (two descriptors, close-on-exec).
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) if the kernel or a sandbox does
    /// not provide `epoll_pwait2`: use [`Portable`](crate::Portable) then, as
    /// [`default_selector`](crate::default_selector) does. Else what
    /// `epoll_create1`, `eventfd` or `epoll_ctl` say: no descriptors left, mostly.
    pub fn new() -> io::Result<Self> {
        const ATTEMPT: &str = "create an epoll instance";
        let failed = |source| SelectorError::at_selector(ATTEMPT, source);
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        probe(epoll.as_fd()).map_err(failed)?;
        Self::over(epoll, false)
    }

    /// The same by `epoll_wait`, which every kernel has, and with it valgrind:
    /// timeouts are rounded up to whole milliseconds. All else is as fast.
    ///
    /// # Errors
    ///
    /// What `epoll_create1`, `eventfd` or `epoll_ctl` say: no descriptors left,
    /// mostly.
    pub fn coarse() -> io::Result<Self> {
        const ATTEMPT: &str = "create an epoll instance";
        let failed = |source| SelectorError::at_selector(ATTEMPT, source);
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        Self::over(epoll, true)
    }

    fn over(epoll: OwnedFd, coarse: bool) -> io::Result<Self> {
        const ATTEMPT: &str = "create an epoll instance";
        let failed = |source| SelectorError::at_selector(ATTEMPT, source);
        let made_in = ProcessMark::new()?;
        let bell = Eventfd::new().map_err(failed)?;
        epoll::add(
            &epoll,
            &bell,
            EventData::new_u64(BELL),
            EventFlags::IN | EventFlags::ET,
        )
        .map_err(|e| failed(e.into()))?;
        Ok(Self {
            epoll,
            made_in,
            coarse,
            notifier: Notifier::new(Arc::new(bell)),
            registrations: RefCell::new(Slab::new()),
            buffer: RefCell::default(),
        })
    }

    /// Whether one of our registrations is of this very descriptor.
    fn is_registered(&self, source: &OwnedFd) -> bool {
        self.registrations
            .borrow()
            .iter()
            .filter(|registration| registration.source.as_raw_fd() == source.as_raw_fd())
            .count()
            > 1
    }
}

impl Selector for Epoll {
    fn register(&self, source: Rc<OwnedFd>, interest: Interest, mode: Mode) -> io::Result<Key> {
        const ATTEMPT: &str = "register with epoll";
        self.made_in.check(ATTEMPT)?;
        let descriptor = source.as_raw_fd();
        let key = self
            .registrations
            .borrow_mut()
            .insert(Registration {
                source: Rc::clone(&source),
                mode,
            })
            .ok_or_else(|| {
                let source = io::Error::from(io::ErrorKind::OutOfMemory);
                SelectorError::at_descriptor(ATTEMPT, descriptor, source)
            })?;
        let data = EventData::new_u64(key.to_bits());
        let flags = flags_of(interest, mode);
        let result = match epoll::add(&self.epoll, &*source, data, flags) {
            // epoll knows a source by descriptor and open file. It may still
            // have both from a registration that was dropped without
            // EPOLL_CTL_DEL, if the file lived on under another descriptor
            // and has now come back to this one. That entry is nobody's.
            Err(Errno::EXIST) if !self.is_registered(&source) => {
                epoll::modify(&self.epoll, &*source, data, flags)
            }
            result => result,
        };
        match result {
            Ok(()) => Ok(key),
            Err(errno) => {
                self.registrations.borrow_mut().remove(key);
                Err(SelectorError::at_descriptor(
                    ATTEMPT,
                    descriptor,
                    errno.into(),
                ))
            }
        }
    }

    fn modify(&self, key: Key, interest: Interest) -> io::Result<()> {
        const ATTEMPT: &str = "change the epoll interest of";
        self.made_in.check("change an interest in epoll")?;
        let registrations = self.registrations.borrow();
        let registration = registrations
            .get(key)
            .ok_or_else(|| SelectorError::unknown_key(ATTEMPT, key))?;
        epoll::modify(
            &self.epoll,
            &*registration.source,
            EventData::new_u64(key.to_bits()),
            flags_of(interest, registration.mode),
        )
        .map_err(|errno| {
            let descriptor = registration.source.as_raw_fd();
            SelectorError::at_descriptor(ATTEMPT, descriptor, errno.into())
        })
    }

    fn deregister(&self, key: Key) -> io::Result<()> {
        const ATTEMPT: &str = "deregister from epoll";
        let registration = self
            .registrations
            .borrow_mut()
            .remove(key)
            .ok_or_else(|| SelectorError::unknown_key(ATTEMPT, key))?;
        // In a child, epoll would take it out of the parent's hands.
        if !self.made_in.is_current() {
            return Ok(());
        }
        // The last share is closed right here, which removes it from epoll,
        // unless a duplicate lives on. Left-over edges are then rare and cheap;
        // a level would end every wait from now on.
        if registration.mode == Mode::Edge && Rc::strong_count(&registration.source) == 1 {
            return Ok(());
        }
        epoll::delete(&self.epoll, &*registration.source).map_err(|errno| {
            let descriptor = registration.source.as_raw_fd();
            SelectorError::at_descriptor(ATTEMPT, descriptor, errno.into())
        })
    }

    fn needs_rearm(&self) -> bool {
        false
    }

    fn reports_read_closed(&self) -> bool {
        true
    }

    fn wait(&self, events: &mut Events, wait: Wait, _outstanding: bool) -> io::Result<()> {
        events.clear();
        self.made_in.check("wait for epoll")?;
        let timeout = match wait {
            Wait::Poll => Some(Duration::ZERO),
            Wait::Until(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                Some(if !left.is_zero() && self.notifier.fall_asleep() {
                    left
                } else {
                    Duration::ZERO
                })
            }
            Wait::Forever if self.notifier.fall_asleep() => None,
            Wait::Forever => Some(Duration::ZERO),
        };
        let mut buffer = self.buffer.borrow_mut();
        let raw = buffer.of_len(events.capacity());
        let result = if self.coarse {
            epoll_wait(self.epoll.as_fd(), raw, timeout)
        } else {
            epoll_pwait2(self.epoll.as_fd(), raw, timeout)
        };
        // Also if nothing slept: the caller looks at its queues after this, so
        // what was notified until now is taken care of.
        self.notifier.wake_up();
        let count = match result {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(SelectorError::at_selector("wait for epoll", error)),
        };
        let registrations = self.registrations.borrow();
        for raw in &raw[..count] {
            let key = Key::from_bits(raw.u64);
            // Not the bell, and not what a duplicate keeps alive in epoll after
            // its registration has gone.
            if registrations.get(key).is_some() {
                events.push(Event {
                    key,
                    readiness: readiness_of(raw.events),
                });
            }
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn notifier_is_signal_safe(&self) -> bool {
        true
    }

    fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    fn doze(&self) -> bool {
        self.notifier.fall_asleep()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }
}

#[derive(Default)]
struct Buffer(Vec<RawEvent>);

impl Buffer {
    fn of_len(&mut self, len: usize) -> &mut [RawEvent] {
        if self.0.len() != len {
            self.0.resize(len, RawEvent { events: 0, u64: 0 });
        }
        &mut self.0
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({})", self.0.len())
    }
}

/// Whether there is an `epoll_pwait2`, not asked again once it was there.
fn probe(epoll: BorrowedFd<'_>) -> io::Result<()> {
    static AVAILABLE: AtomicBool = AtomicBool::new(false);
    if AVAILABLE.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut nothing = [RawEvent { events: 0, u64: 0 }];
    match epoll_pwait2(epoll, &mut nothing, Some(Duration::ZERO)) {
        Ok(_) => {
            AVAILABLE.store(true, Ordering::Relaxed);
            Ok(())
        }
        // Kernels before 5.11 say ENOSYS, sandboxes EPERM.
        Err(error) => Err(match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSYS | Errno::PERM) => io::Error::new(io::ErrorKind::Unsupported, error),
            _ => error,
        }),
    }
}

fn flags_of(interest: Interest, mode: Mode) -> EventFlags {
    let mut flags = EventFlags::empty();
    if interest.contains(Interest::READABLE) {
        flags |= EventFlags::IN | EventFlags::RDHUP;
    }
    if interest.contains(Interest::WRITABLE) {
        flags |= EventFlags::OUT;
    }
    match mode {
        Mode::Edge => {
            flags |= EventFlags::ET;
            if interest.contains(Interest::READABLE) {
                // The short-read rule must know about urgent data. As a level,
                // it would end every wait until somebody fetched it.
                flags |= EventFlags::PRI;
            }
        }
        // EPOLLHUP and EPOLLERR are reported whether asked for or not, and as
        // levels for ever.
        Mode::Level if interest.is_empty() => flags |= EventFlags::ET | EventFlags::ONESHOT,
        Mode::Level => {}
    }
    flags
}

/// Our flags are epoll's, but for one that is moved down.
#[inline]
fn readiness_of(flags: u32) -> Readiness {
    let low = Readiness::READABLE
        .with(Readiness::PRIORITY)
        .with(Readiness::WRITABLE)
        .with(Readiness::ERROR)
        .with(Readiness::HANGUP);
    let read_closed = (flags / READ_CLOSED_STEP) as u8;
    (Readiness::of_bits(flags as u8) & low)
        | (Readiness::of_bits(read_closed) & Readiness::READ_CLOSED)
}

/// From our flag to `EPOLLRDHUP`.
const READ_CLOSED_STEP: u32 = EventFlags::RDHUP.bits() / Readiness::READ_CLOSED.bits() as u32;

const _: () = {
    assert!(EventFlags::IN.bits() == Readiness::READABLE.bits() as u32);
    assert!(EventFlags::PRI.bits() == Readiness::PRIORITY.bits() as u32);
    assert!(EventFlags::OUT.bits() == Readiness::WRITABLE.bits() as u32);
    assert!(EventFlags::ERR.bits() == Readiness::ERROR.bits() as u32);
    assert!(EventFlags::HUP.bits() == Readiness::HANGUP.bits() as u32);
    assert!(EventFlags::RDHUP.bits() == Readiness::READ_CLOSED.bits() as u32 * READ_CLOSED_STEP);
    assert!(READ_CLOSED_STEP.is_power_of_two());
};
