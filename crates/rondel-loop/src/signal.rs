//! Signals: as callbacks and as awaitable streams.
//!
//! A signal handler may do next to nothing. Ours notes the signal's number in a bit set of each loop that listens and
//! rings at that loop; the loop finds the bits at its next look and calls back or wakes, through the ready queue. Children
//! inherit nothing of it. When the last listener of a signal goes, the signal does again what it did before.

mod disposition;
pub(crate) mod listeners;
mod number;
mod stream;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::panic::Location;
use std::rc::{Rc, Weak};

use rondel_executor::Callback;

use crate::error::LoopClosed;
use crate::inherit::inheriting;
use crate::state::{LocalLoop, State};
use crate::watch::{self, Direction};
pub(crate) use disposition::is_default;
use disposition::{Mailbox, Ring};
use listeners::{Inbox, Listeners};
pub use number::Signal;
pub use stream::{SignalStream, ctrl_c, signal};

impl LocalLoop {
    /// Calls `callback` in the loop whenever the process receives `signal`, instead of what the signal did before; a callback
    /// that was there is replaced. Several arrivals in quick succession may be one call. asyncio: `add_signal_handler`.
    ///
    /// # Errors
    /// `InvalidInput` for signals that cannot be caught, `Unsupported` under a virtual clock,
    /// [`LoopClosed`](crate::LoopClosed).
    #[track_caller]
    pub fn add_signal_handler(
        &self,
        signal: Signal,
        callback: impl FnMut() + 'static,
    ) -> io::Result<()> {
        let site = Location::caller();
        let callback = inheriting(site, callback);
        set_callback(self.state(), signal, site, callback)
    }

    /// Ends what [`add_signal_handler`](LocalLoop::add_signal_handler) began; when nobody else listens, the signal does again
    /// what it did before. `false` if there was none.
    pub fn remove_signal_handler(&self, signal: Signal) -> bool {
        remove_callback(self.state(), signal)
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

fn set_callback<F: FnMut() + 'static>(
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

fn remove_callback(state: &Rc<State>, signal: Signal) -> bool {
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
