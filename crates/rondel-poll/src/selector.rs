//! What every selector does.

use crate::{Events, Interest, Key, Mode, Notifier};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

/// How long a wait may take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wait {
    /// Report what is ready now and return.
    Poll,
    /// Until something is ready, but not beyond this point on the selector's own
    /// clock ([`Selector::now`]). A point that is past or now means [`Wait::Poll`].
    Until(Instant),
    /// Until something is ready or somebody notifies.
    Forever,
}

/// Waits for descriptors, for a point in time and for other threads, all at once.
///
/// This is what asyncio's loops call their selector (`selectors.BaseSelector`).
/// It belongs to one thread; only its [`Notifier`] goes elsewhere. It is
/// object-safe: an event loop holds a `Box<dyn Selector>`, and anybody may write one.
///
/// # A selector of your own
///
/// Most wrap another one and change one thing, like this one, which counts waits:
///
/// ```
/// use rondel_poll::*;
/// use std::cell::Cell;
/// use std::os::fd::{BorrowedFd, OwnedFd};
/// use std::rc::Rc;
/// use std::time::{Duration, Instant};
/// use std::io;
///
/// #[derive(Debug)]
/// struct Counting {
///     inner: Box<dyn Selector>,
///     waits: Rc<Cell<usize>>,
/// }
///
/// impl Selector for Counting {
///     fn wait(&self, events: &mut Events, wait: Wait, outstanding: bool) -> io::Result<()> {
///         self.waits.set(self.waits.get() + 1);
///         self.inner.wait(events, wait, outstanding)
///     }
///
///     fn register(&self, source: Rc<OwnedFd>, interest: Interest, mode: Mode) -> io::Result<Key> {
///         self.inner.register(source, interest, mode)
///     }
///     fn modify(&self, key: Key, interest: Interest) -> io::Result<()> {
///         self.inner.modify(key, interest)
///     }
///     fn deregister(&self, key: Key) -> io::Result<()> {
///         self.inner.deregister(key)
///     }
///     fn needs_rearm(&self) -> bool {
///         self.inner.needs_rearm()
///     }
///     fn reports_read_closed(&self) -> bool {
///         self.inner.reports_read_closed()
///     }
///     fn now(&self) -> Instant {
///         self.inner.now()
///     }
///     fn notifier(&self) -> Notifier {
///         self.inner.notifier()
///     }
///     fn doze(&self) -> bool {
///         self.inner.doze()
///     }
///     fn as_fd(&self) -> Option<BorrowedFd<'_>> {
///         self.inner.as_fd()
///     }
///     fn is_virtual(&self) -> bool {
///         self.inner.is_virtual()
///     }
/// }
///
/// let waits = Rc::new(Cell::new(0));
/// let selector: Box<dyn Selector> = Box::new(Counting {
///     inner: Box::new(Virtual::new()),
///     waits: Rc::clone(&waits),
/// });
/// let deadline = selector.now() + Duration::from_secs(3600);
/// let mut events = Events::new();
/// while selector.now() < deadline {
///     selector.wait(&mut events, Wait::Until(deadline), false)?;
/// }
/// assert_eq!(waits.get(), 1);
/// # Ok::<(), io::Error>(())
/// ```
///
/// One that blocks by means of its own needs a [`Notifier`] of its own.
pub trait Selector: fmt::Debug {
    /// Starts to watch a descriptor.
    ///
    /// The selector shares its ownership until [`deregister`](Selector::deregister),
    /// so nobody can close it in the meantime, by mistake or otherwise: a number
    /// that is closed is given out again at once, and events would then be
    /// reported for somebody else's descriptor. Set it to non-blocking yourself.
    ///
    /// Register a source once, for both directions, and keep it so: what is ready
    /// is best remembered with [`ReadyState`](crate::ReadyState).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for regular files and
    /// directories (epoll, kqueue partly; `poll` calls them always ready),
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if this descriptor is
    /// registered here already, [`Unsupported`](io::ErrorKind::Unsupported) if this
    /// selector has no descriptors, and whatever else the system says. All hold a
    /// [`SelectorError`](crate::SelectorError).
    fn register(&self, source: Rc<OwnedFd>, interest: Interest, mode: Mode) -> io::Result<Key>;

    /// Replaces the interest, and looks again: a direction that is ready now is
    /// reported by the next wait even if it was reported before.
    ///
    /// Where [`needs_rearm`](Selector::needs_rearm), call it after `WouldBlock`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the key is not, or no longer,
    /// registered.
    fn modify(&self, key: Key, interest: Interest) -> io::Result<()>;

    /// Stops watching. No later wait reports this key, even if its source was
    /// ready already. The selector's share of the descriptor is dropped; if it is
    /// the last one, that closes it, and [`Epoll`](crate::Epoll) saves a system
    /// call: drop your own share first.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if the key is not, or no longer,
    /// registered.
    fn deregister(&self, key: Key) -> io::Result<()>;

    /// Whether [`Mode::Edge`] is imitated by one-shot registrations.
    ///
    /// If so, a direction that was reported is not reported again until
    /// [`modify`](Selector::modify) names it. After `WouldBlock` (or after a short
    /// read or write taken for one), call `modify` with the directions that are
    /// not ready: [`ReadyState::blocked`](crate::ReadyState::blocked). A
    /// direction that was named and not reported stays armed when the other one
    /// is reported.
    fn needs_rearm(&self) -> bool;

    /// Whether a peer's FIN is reported as
    /// [`READ_CLOSED`](crate::Readiness::READ_CLOSED) together with the data before
    /// it. Without that a short read must not be taken for the end of what there
    /// is: the FIN behind it makes no edge of its own.
    fn reports_read_closed(&self) -> bool;

    /// Waits; `events` is cleared first and then filled.
    ///
    /// Returns when there are events, when the deadline has come (never before
    /// it), when somebody has notified, when a signal has interrupted the wait, and
    /// now and then for no reason: look at the clock and at your queues, then wait
    /// again. A notification between your last look at the queues and the wait ends
    /// the wait at once.
    ///
    /// `outstanding` tells that work elsewhere (a pool's job, a look-up) will
    /// notify. Simulated time must stand still meanwhile; real time does not care.
    ///
    /// # Errors
    ///
    /// What the system says; an interruption is not an error.
    fn wait(&self, events: &mut Events, wait: Wait, outstanding: bool) -> io::Result<()>;

    /// The time on the clock that deadlines are measured by.
    fn now(&self) -> Instant;

    /// What ends the wait from other threads.
    fn notifier(&self) -> Notifier;

    /// Counts as asleep from here on although nobody waits, so that a
    /// notification rings and [`as_fd`](Selector::as_fd) becomes readable.
    ///
    /// For loops that are guests of another loop: call it after the last look at
    /// the queues, before giving the thread back to the host. `false` if there has
    /// been a notification in the meantime: take another turn. The next
    /// [`wait`](Selector::wait) ends the doze.
    fn doze(&self) -> bool {
        self.notifier().fall_asleep()
    }

    /// A descriptor that another loop can watch (level-triggered, for reading):
    /// readable when `wait` with [`Wait::Poll`] would report something, and when a
    /// notification came during a [`doze`](Selector::doze). It may be readable for
    /// nothing. It knows nothing about deadlines.
    ///
    /// `None` where there is no such thing.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether [`Notifier::notify`] of this selector's notifier may be called from
    /// a signal handler: it then takes no lock and allocates nothing. Where it may
    /// not, a loop that listens to signals uses a pipe.
    fn notifier_is_signal_safe(&self) -> bool {
        false
    }

    /// Whether time is simulated, so that [`now`](Selector::now) is not the
    /// system's time.
    fn is_virtual(&self) -> bool {
        false
    }
}

impl<S: Selector + ?Sized> Selector for Box<S> {
    fn register(&self, source: Rc<OwnedFd>, interest: Interest, mode: Mode) -> io::Result<Key> {
        (**self).register(source, interest, mode)
    }

    fn modify(&self, key: Key, interest: Interest) -> io::Result<()> {
        (**self).modify(key, interest)
    }

    fn deregister(&self, key: Key) -> io::Result<()> {
        (**self).deregister(key)
    }

    fn needs_rearm(&self) -> bool {
        (**self).needs_rearm()
    }

    fn reports_read_closed(&self) -> bool {
        (**self).reports_read_closed()
    }

    fn wait(&self, events: &mut Events, wait: Wait, outstanding: bool) -> io::Result<()> {
        (**self).wait(events, wait, outstanding)
    }

    fn now(&self) -> Instant {
        (**self).now()
    }

    fn notifier(&self) -> Notifier {
        (**self).notifier()
    }

    fn doze(&self) -> bool {
        (**self).doze()
    }

    fn notifier_is_signal_safe(&self) -> bool {
        (**self).notifier_is_signal_safe()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        (**self).as_fd()
    }

    fn is_virtual(&self) -> bool {
        (**self).is_virtual()
    }
}
