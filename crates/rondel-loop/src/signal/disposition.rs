//! The process's side of signals: one handler, mailboxes for the loops that listen, and what was there before.
//!
//! This is the one file of the crate with unsafe code. Two things need it: `sigaction`, and that the handler, which may run
//! between any two instructions of any thread, reads mailboxes which loops come and go with.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rondel_poll::Notifier;

use super::number::Signal;

/// Loops of a process that can listen to signals at the same time.
const PLACES: usize = 64;

/// How the handler tells a loop.
pub(crate) enum Ring {
    /// For selectors whose notification is async-signal-safe: atomics, and one `write`.
    Notifier(Notifier),
    /// For the others (kqueue's allocates): the writing end of a pipe that the loop watches.
    Pipe(OwnedFd),
}

impl Ring {
    /// Async-signal-safe.
    fn ring(&self) {
        match self {
            Self::Notifier(notifier) => notifier.notify(),
            Self::Pipe(pipe) => {
                let byte = 1_u8;
                // SAFETY: an open descriptor and one byte. A full pipe is as good: the loop has not looked yet.
                unsafe { libc::write(pipe.as_raw_fd(), (&raw const byte).cast(), 1) };
            }
        }
    }
}

/// A pipe neither of whose ends blocks.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    for end in [reader.as_raw_fd(), writer.as_raw_fd()] {
        // SAFETY: an open descriptor, and a flag that touches no memory.
        let set = unsafe { libc::fcntl(end, libc::F_SETFL, libc::O_NONBLOCK) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((reader.into(), writer.into()))
}

/// What the handler sees of a loop.
struct Place {
    /// Null while the place is free.
    ring: AtomicPtr<Ring>,
    /// The signals listened to, and those that have arrived: bit `n - 1` for signal `n`.
    wanted: AtomicU64,
    arrived: AtomicU64,
    /// Those of which a second arrival does to the process what the signal does by default, and of these, those that have
    /// arrived once.
    once: AtomicU64,
    used_up: AtomicU64,
}

static BOARD: [Place; PLACES] = [const {
    Place {
        ring: AtomicPtr::new(ptr::null_mut()),
        wanted: AtomicU64::new(0),
        arrived: AtomicU64::new(0),
        once: AtomicU64::new(0),
        used_up: AtomicU64::new(0),
    }
}; PLACES];

/// Handlers running at this moment, on whatever thread.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// What each signal did before the first listener came, and how many loops listen. Never touched by the handler.
static BEFORE: Mutex<[Option<(libc::sigaction, usize)>; 65]> = Mutex::new([const { None }; 65]);

fn before() -> MutexGuard<'static, [Option<(libc::sigaction, usize)>; 65]> {
    // Nothing panics under the lock.
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs as a signal handler: atomics, and what [`Ring::ring`] does.
extern "C" fn on_signal(number: libc::c_int) {
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let errno = errno_location();
    // SAFETY: `errno_location` points to this thread's errno, an int that nobody else touches.
    let saved = unsafe { *errno };
    let bit = 1_u64 << ((number - 1) & 63);
    for place in &BOARD {
        if place.wanted.load(Ordering::SeqCst) & bit != 0 {
            if place.once.load(Ordering::SeqCst) & bit != 0
                && place.used_up.fetch_or(bit, Ordering::SeqCst) & bit != 0
            {
                // The loop may be stuck in a callback, so this cannot wait for it. Takes effect when we return.
                raise_default(number);
            }
            place.arrived.fetch_or(bit, Ordering::SeqCst);
            let ring = place.ring.load(Ordering::SeqCst);
            // SAFETY: a ring is freed only after its place has been cleared and `RUNNING` was then seen at zero
            // (`Mailbox::drop`); we are counted in it, and loaded the pointer after that.
            if let Some(ring) = unsafe { ring.as_ref() } {
                ring.ring();
            }
        }
    }
    // SAFETY: as above. The interrupted code must not see another error than its own.
    unsafe { *errno = saved };
    RUNNING.fetch_sub(1, Ordering::SeqCst);
}

/// Where this thread's errno is.
fn errno_location() -> *mut libc::c_int {
    #[cfg(any(target_os = "linux", target_os = "emscripten"))]
    // SAFETY: no preconditions.
    return unsafe { libc::__errno_location() };
    #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
    // SAFETY: no preconditions.
    return unsafe { libc::__error() };
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    // SAFETY: no preconditions.
    return unsafe { libc::__errno() };
    #[cfg(target_os = "dragonfly")]
    // SAFETY: no preconditions.
    return unsafe { libc::__errno_location() };
    #[cfg(any(target_os = "solaris", target_os = "illumos"))]
    // SAFETY: no preconditions.
    return unsafe { libc::___errno() };
}

/// A loop's place on the board.
pub(crate) struct Mailbox {
    place: &'static Place,
    ring: *mut Ring,
    subscribed: Cell<u64>,
}

impl Mailbox {
    /// Takes a free place.
    pub(crate) fn new(ring: Ring) -> io::Result<Self> {
        let ring = Box::into_raw(Box::new(ring));
        for place in &BOARD {
            let taken = place.ring.compare_exchange(
                ptr::null_mut(),
                ring,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            if taken.is_ok() {
                return Ok(Self {
                    place,
                    ring,
                    subscribed: Cell::new(0),
                });
            }
        }
        // SAFETY: made by `into_raw` above, and put nowhere.
        drop(unsafe { Box::from_raw(ring) });
        Err(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            format!("{PLACES} event loops of this process listen to signals already"),
        ))
    }

    /// From now on `signal` arrives here, instead of doing what it did before.
    pub(crate) fn subscribe(&self, signal: Signal) -> io::Result<()> {
        let mut before = before();
        let entry = &mut before[signal.as_raw() as usize];
        match entry {
            Some((_, loops)) => *loops += 1,
            None => *entry = Some((install(signal)?, 1)),
        }
        self.place.wanted.fetch_or(signal.bit(), Ordering::SeqCst);
        self.subscribed.set(self.subscribed.get() | signal.bit());
        Ok(())
    }

    /// `signal` no longer arrives here; if that was the last place, it does again what it did before.
    pub(crate) fn unsubscribe(&self, signal: Signal) {
        if self.subscribed.get() & signal.bit() == 0 {
            return;
        }
        self.subscribed.set(self.subscribed.get() & !signal.bit());
        self.place.wanted.fetch_and(!signal.bit(), Ordering::SeqCst);
        let mut before = before();
        let entry = &mut before[signal.as_raw() as usize];
        if let Some((action, loops)) = entry {
            *loops -= 1;
            if *loops == 0 {
                restore(signal, action);
                *entry = None;
            }
        }
    }

    /// Whether a second arrival of `signal` ends the process, even if the loop never gets to see the first.
    pub(crate) fn set_once(&self, signal: Signal, once: bool) {
        self.place
            .used_up
            .fetch_and(!signal.bit(), Ordering::SeqCst);
        if once {
            self.place.once.fetch_or(signal.bit(), Ordering::SeqCst);
        } else {
            self.place.once.fetch_and(!signal.bit(), Ordering::SeqCst);
        }
    }

    /// The signals that have arrived since the last time.
    #[inline]
    pub(crate) fn take(&self) -> u64 {
        // A plain load first: nearly always there is nothing.
        if self.place.arrived.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.place.arrived.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        for number in 1..=64 {
            if let Ok(signal) = Signal::from_raw(number) {
                self.unsubscribe(signal);
            }
        }
        self.place.arrived.store(0, Ordering::SeqCst);
        self.place.ring.store(ptr::null_mut(), Ordering::SeqCst);
        // Handlers that run now may have seen the pointer; later ones cannot. None runs on this thread: one that
        // interrupted it has returned.
        while RUNNING.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        // SAFETY: made by `into_raw` in `new`; no handler holds it any more, and no other place has it.
        drop(unsafe { Box::from_raw(self.ring) });
    }
}

/// Has `on_signal` called for `signal`; gives what was called before.
fn install(signal: Signal) -> io::Result<libc::sigaction> {
    // SAFETY: all-zero bytes are a valid sigaction: no flags, default action, empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(libc::c_int) = on_signal;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART;
    let mut old = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: both point to sigactions, the handler is async-signal-safe.
    let result = unsafe { libc::sigaction(signal.as_raw(), &raw const action, old.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled by the successful call.
    Ok(unsafe { old.assume_init() })
}

fn restore(signal: Signal, action: &libc::sigaction) {
    // SAFETY: `action` is what the system gave for this very signal. It cannot fail for one that could be set.
    unsafe { libc::sigaction(signal.as_raw(), action, ptr::null_mut()) };
}

/// What `signal` does now.
fn current(signal: Signal) -> Option<libc::sigaction> {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asks only; the pointer is to a sigaction.
    let result = unsafe { libc::sigaction(signal.as_raw(), ptr::null(), now.as_mut_ptr()) };
    // SAFETY: filled by the call if it succeeded.
    (result == 0).then(|| unsafe { now.assume_init() })
}

/// Whether `signal` does what it does by default.
pub(crate) fn is_default(signal: Signal) -> bool {
    current(signal).is_some_and(|action| action.sa_sigaction == libc::SIG_DFL)
}

/// Lets a signal do to this process what it does by default. Async-signal-safe.
fn raise_default(number: libc::c_int) {
    // SAFETY: all-zero bytes are the default action.
    let action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the pointer is to a sigaction.
    unsafe { libc::sigaction(number, &raw const action, ptr::null_mut()) };
    // SAFETY: no preconditions.
    unsafe { libc::raise(number) };
}
