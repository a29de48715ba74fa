//! Signals: as callbacks and as awaitable streams.
//!
//! A signal handler may do next to nothing. Ours notes the signal's number in a bit set of each loop that listens and
//! rings at that loop; the loop finds the bits at its next look and calls back or wakes, through the ready queue. Children
//! inherit nothing of it. When the last listener of a signal goes, the signal does again what it did before.

mod disposition;
mod stream;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::task::Waker;

use rondel_executor::Callback;

use crate::error::LoopClosed;
use crate::state::State;
use crate::watch::{self, Direction};
pub(crate) use disposition::is_default;
use disposition::{Mailbox, Ring};
pub use stream::{SignalStream, ctrl_c, signal};

/// The number of a signal.
///
/// ```
/// use rondel_loop::signal::Signal;
///
/// assert_eq!(Signal::from_raw(15).unwrap(), Signal::TERMINATE);
/// assert!(Signal::from_raw(9).is_err(), "KILL cannot be caught");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGALRM, a timer of the process.
    pub const ALARM: Self = Self(libc::SIGALRM);
    /// SIGCHLD, a child stopped or ended.
    pub const CHILD: Self = Self(libc::SIGCHLD);
    /// SIGHUP, the terminal hung up; often: read your configuration again.
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// SIGINT, Ctrl-C.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// SIGPIPE, a write to a pipe that nobody reads. Rust programs ignore it.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// SIGQUIT, Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// SIGTERM, please end.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// SIGUSR1.
    pub const USER1: Self = Self(libc::SIGUSR1);
    /// SIGUSR2.
    pub const USER2: Self = Self(libc::SIGUSR2);
    /// SIGWINCH, the terminal changed its size.
    pub const WINDOW_CHANGE: Self = Self(libc::SIGWINCH);

    /// A signal by its number, real-time ones included.
    ///
    /// # Errors
    /// `InvalidInput` for numbers that are no signal, and for signals that cannot be caught or must not be, being faults of
    /// the program: KILL, STOP, SEGV, BUS, FPE, ILL.
    pub fn from_raw(number: i32) -> io::Result<Self> {
        let refused = match number {
            libc::SIGKILL | libc::SIGSTOP => "cannot be caught",
            libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => {
                "is a fault of the program, not a message to it"
            }
            1..=64 => return Ok(Self(number)),
            _ => "is not the number of a signal",
        };
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("signal {number} {refused}"),
        ))
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    const fn bit(self) -> u64 {
        1 << (self.0 - 1)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({})", self.0)
    }
}

/// What a loop's listeners of signals are.
#[derive(Default)]
pub(crate) struct Signals {
    /// Where the handler leaves the signals of this loop; made for the first listener.
    mailbox: OnceCell<Mailbox>,
    listeners: RefCell<BTreeMap<Signal, Listeners>>,
}

#[derive(Default)]
struct Listeners {
    callback: Option<Rc<dyn Callback>>,
    streams: Vec<Weak<Inbox>>,
}

/// What one stream has received and not yet given out: signals of a kind do not count, they only are.
#[derive(Default)]
pub(crate) struct Inbox {
    arrived: Cell<bool>,
    closed: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Inbox {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

struct Repeated<F> {
    site: &'static Location<'static>,
    closure: RefCell<F>,
}

impl<F: FnMut()> Callback for Repeated<F> {
    fn call(self: Rc<Self>) {
        if let Ok(mut closure) = self.closure.try_borrow_mut() {
            closure();
        }
    }

    fn site(&self) -> &'static Location<'static> {
        self.site
    }
}

/// Makes sure that `signal` reaches the loop, and gives its listeners to `add` to.
fn listen(state: &Rc<State>, signal: Signal, add: impl FnOnce(&mut Listeners)) -> io::Result<()> {
    if state.closed.get() {
        return Err(LoopClosed.into());
    }
    if state.selector.is_virtual() && state.selector.as_fd().is_none() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "signals come in real time, and this loop's clock is virtual",
        ));
    }
    let mailbox = match state.signals.mailbox.get() {
        Some(mailbox) => mailbox,
        None => {
            let made = Mailbox::new(ring(state)?)?;
            state.signals.mailbox.get_or_init(|| made)
        }
    };
    let mut listeners = state.signals.listeners.borrow_mut();
    if !listeners.contains_key(&signal) {
        mailbox.subscribe(signal)?;
    }
    add(listeners.entry(signal).or_default());
    Ok(())
}

/// How the handler tells this loop.
fn ring(state: &Rc<State>) -> io::Result<Ring> {
    if state.selector.notifier_is_signal_safe() {
        return Ok(Ring::Notifier(state.selector.notifier()));
    }
    let (reader, writer) = disposition::pipe()?;
    // Kept open by the callback: watches go by number.
    let reader = Rc::new(File::from(reader));
    let drained = Rc::clone(&reader);
    watch::add(
        state,
        &*reader,
        Direction::Read,
        Location::caller(),
        move || {
            // Only to have been woken matters; which signals came is in the mailbox.
            let mut bytes = [0; 64];
            while matches!((&*drained).read(&mut bytes), Ok(count) if count > 0) {}
        },
    )?;
    Ok(Ring::Pipe(writer))
}

pub(crate) fn set_callback<F: FnMut() + 'static>(
    state: &Rc<State>,
    signal: Signal,
    site: &'static Location<'static>,
    closure: F,
) -> io::Result<()> {
    let callback: Rc<dyn Callback> = Rc::new(Repeated {
        site,
        closure: RefCell::new(closure),
    });
    let mut replaced = None;
    listen(state, signal, |listeners| {
        replaced = listeners.callback.replace(callback);
    })?;
    drop(replaced);
    Ok(())
}

/// Whether a second arrival of `signal` ends the process; see [`Mailbox::set_once`].
pub(crate) fn set_once(state: &State, signal: Signal, once: bool) {
    if let Some(mailbox) = state.signals.mailbox.get() {
        mailbox.set_once(signal, once);
    }
}

pub(crate) fn remove_callback(state: &Rc<State>, signal: Signal) -> bool {
    let removed = state
        .signals
        .listeners
        .borrow_mut()
        .get_mut(&signal)
        .and_then(|listeners| listeners.callback.take());
    let was_there = removed.is_some();
    drop(removed);
    tidy(state, signal);
    was_there
}

/// Adds a stream's inbox to the listeners of `signal`.
fn add_stream(state: &Rc<State>, signal: Signal) -> io::Result<Rc<Inbox>> {
    let inbox = Rc::new(Inbox::default());
    listen(state, signal, |listeners| {
        listeners.streams.push(Rc::downgrade(&inbox));
    })?;
    Ok(inbox)
}

/// Gives the signal back if nobody listens any more.
fn tidy(state: &Rc<State>, signal: Signal) {
    let mut all = state.signals.listeners.borrow_mut();
    let Some(listeners) = all.get_mut(&signal) else {
        return;
    };
    listeners.streams.retain(|inbox| inbox.strong_count() > 0);
    if listeners.callback.is_none() && listeners.streams.is_empty() {
        all.remove(&signal);
        if let Some(mailbox) = state.signals.mailbox.get() {
            mailbox.unsubscribe(signal);
        }
    }
}

/// Queues what the signals that have arrived since the last look ask for.
#[inline]
pub(crate) fn deliver(state: &Rc<State>) {
    if let Some(mailbox) = state.signals.mailbox.get() {
        let arrived = mailbox.take();
        if arrived != 0 {
            queue(state, arrived);
        }
    }
}

#[cold]
fn queue(state: &Rc<State>, arrived: u64) {
    let mut callbacks = Vec::new();
    let mut inboxes = Vec::new();
    for (signal, listeners) in state.signals.listeners.borrow().iter() {
        if arrived & signal.bit() != 0 {
            callbacks.extend(listeners.callback.clone());
            inboxes.extend(listeners.streams.iter().filter_map(Weak::upgrade));
        }
    }
    for callback in callbacks {
        state.executor.spawner().push(callback);
    }
    for inbox in inboxes {
        inbox.arrived.set(true);
        state.guarded(|| inbox.wake());
    }
}

/// Gives every signal back; streams end.
pub(crate) fn close(state: &Rc<State>) {
    let listeners = state.signals.listeners.take();
    if let Some(mailbox) = state.signals.mailbox.get() {
        for signal in listeners.keys() {
            mailbox.unsubscribe(*signal);
        }
    }
    for inbox in listeners
        .values()
        .flat_map(|listeners| &listeners.streams)
        .filter_map(Weak::upgrade)
    {
        inbox.closed.set(true);
        state.guarded(|| inbox.wake());
    }
}
