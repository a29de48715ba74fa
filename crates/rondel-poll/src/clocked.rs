//! A real selector under a manual clock.

use crate::{Events, Interest, Key, ManualClock, Mode, Notifier, Selector, Wait};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

/// A real selector whose clock moves only when told: sockets are real, time is not.
///
/// It is for testing what happens when a peer is silent for an hour. A wait with
/// a deadline lasts until something is ready or until somebody has advanced the
/// [`ManualClock`] that far. If nobody does, it lasts for ever.
///
/// ```
/// use rondel_poll::{Clocked, Events, ManualClock, Selector, Wait, default_selector};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let selector = Clocked::new(default_selector()?, clock.clone());
/// let deadline = selector.now() + Duration::from_secs(3600);
///
/// let elsewhere = std::thread::spawn(move || clock.advance(Duration::from_secs(3600)));
/// let mut events = Events::new();
/// while selector.now() < deadline {
///     selector.wait(&mut events, Wait::Until(deadline), false)?;
/// }
/// # elsewhere.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Clocked<S: Selector> {
    inner: S,
    clock: ManualClock,
    notifier: Notifier,
}

impl<S: Selector> Clocked<S> {
    /// Puts a selector under a clock.
    pub fn new(inner: S, clock: ManualClock) -> Self {
        let notifier = inner.notifier();
        clock.attach(notifier.clone());
        Self {
            inner,
            clock,
            notifier,
        }
    }

    /// The clock.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The selector under it.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: Selector> Selector for Clocked<S> {
    fn register(&self, source: Rc<OwnedFd>, interest: Interest, mode: Mode) -> io::Result<Key> {
        self.inner.register(source, interest, mode)
    }

    fn modify(&self, key: Key, interest: Interest) -> io::Result<()> {
        self.inner.modify(key, interest)
    }

    fn deregister(&self, key: Key) -> io::Result<()> {
        self.inner.deregister(key)
    }

    fn needs_rearm(&self) -> bool {
        self.inner.needs_rearm()
    }

    fn reports_read_closed(&self) -> bool {
        self.inner.reports_read_closed()
    }

    fn wait(&self, events: &mut Events, wait: Wait, outstanding: bool) -> io::Result<()> {
        let wait = match wait {
            // If the clock is advanced between this look and the wait, its
            // notification ends the wait at once.
            Wait::Until(deadline) if deadline <= self.clock.now() => Wait::Poll,
            Wait::Until(_) => Wait::Forever,
            other => other,
        };
        self.inner.wait(events, wait, outstanding)
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn notifier_is_signal_safe(&self) -> bool {
        self.inner.notifier_is_signal_safe()
    }

    fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    fn doze(&self) -> bool {
        self.inner.doze()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }

    fn is_virtual(&self) -> bool {
        true
    }
}

impl<S: Selector> Drop for Clocked<S> {
    fn drop(&mut self) {
        self.clock.detach(&self.notifier);
    }
}
