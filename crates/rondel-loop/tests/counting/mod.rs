//! A selector written by a user: it passes everything on and keeps a list of the waits.

use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use rondel_poll::{Events, Interest, Key, Mode, Notifier, Selector, Wait};

#[derive(Debug)]
pub(crate) struct Counting {
    inner: Box<dyn Selector>,
    waits: Waits,
}

/// The waits so far, each with what it was asked to wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits(Rc<RefCell<Vec<Wait>>>);

impl Waits {
    /// Those since the last time.
    pub(crate) fn take(&self) -> Vec<Wait> {
        self.0.take()
    }
}

impl Counting {
    pub(crate) fn over(inner: impl Selector + 'static) -> (Self, Waits) {
        let waits = Waits::default();
        let selector = Self {
            inner: Box::new(inner),
            waits: waits.clone(),
        };
        (selector, waits)
    }
}

impl Selector for Counting {
    fn wait(&self, events: &mut Events, wait: Wait, outstanding: bool) -> io::Result<()> {
        self.waits.0.borrow_mut().push(wait);
        self.inner.wait(events, wait, outstanding)
    }

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

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn notifier(&self) -> Notifier {
        self.inner.notifier()
    }

    fn doze(&self) -> bool {
        self.inner.doze()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }

    fn is_virtual(&self) -> bool {
        self.inner.is_virtual()
    }
}
