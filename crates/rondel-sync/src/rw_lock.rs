//! [`RwLock`]: a value that is lent to many who read, or to one who writes.

mod guard;
mod lock;

pub use guard::{RwLockReadGuard, RwLockWriteGuard};
pub use lock::{Read, Write};

use std::cell::{Cell, RefCell};
use std::fmt;

use crate::label;
use crate::lock::Locked;
use crate::wait_list::{WaitList, Waiter};

/// A value that is lent to any number of tasks to read, or to one to write, over points of suspension
/// too.
///
/// It is fair: who comes later is served later. So a reader behind a writer that waits waits, too,
/// though others are reading; writers do not starve. Readers that stand one behind the other at the
/// front are let in together. A task that reads must not ask to read again before it lets go: a writer
/// may stand between the two.
///
/// No poisoning, as with a [`Mutex`](crate::Mutex). For tasks of one thread.
///
/// ```
/// # use futures_util::FutureExt;
/// # use std::pin::pin;
/// use rondel_sync::RwLock;
///
/// let page = RwLock::new("old");
/// let (one, other) = (page.try_read()?, page.try_read()?);
/// let mut write = pin!(page.write());
/// assert!(write.as_mut().now_or_never().is_none());
/// assert!(page.try_read().is_err(), "a writer waits");
/// drop((one, other));
/// *write.now_or_never().unwrap() = "new";
/// assert_eq!(*page.try_read()?, "new");
/// # Ok::<(), rondel_sync::lock::Locked>(())
/// ```
#[derive(Default)]
pub struct RwLock<T: ?Sized> {
    /// Those who read, those included to whom it is on its way.
    readers: Cell<usize>,
    /// Whether somebody writes, or is about to.
    writer: Cell<bool>,
    waiters: WaitList<Access>,
    /// Borrowed by guards only, as these two say.
    value: RefCell<T>,
}

/// What a waiter wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl<T> RwLock<T> {
    /// Makes a lock that nobody holds.
    pub const fn new(value: T) -> Self {
        Self {
            readers: Cell::new(0),
            writer: Cell::new(false),
            waiters: WaitList::new(),
            value: RefCell::new(value),
        }
    }

    /// Gives the value back.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until the value may be read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue, and lets those behind it in if it was all
    /// that held them back.
    pub fn read(&self) -> Read<'_, T> {
        Read::new(self, Waiter::new(&self.waiters, Access::Read))
    }

    /// Waits until the value may be written.
    ///
    /// # Cancel safety
    ///
    /// As with [`read`](Self::read).
    pub fn write(&self) -> Write<'_, T> {
        Write::new(self, Waiter::new(&self.waiters, Access::Write))
    }

    /// The value to be read, if [`read`](Self::read) would not have to wait.
    ///
    /// # Errors
    ///
    /// [`Locked`] if it would.
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, Locked> {
        if self.take(Access::Read) {
            Ok(RwLockReadGuard::new(self))
        } else {
            Err(Locked)
        }
    }

    /// The value to be written, if [`write`](Self::write) would not have to wait.
    ///
    /// # Errors
    ///
    /// [`Locked`] if it would.
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, Locked> {
        if self.take(Access::Write) {
            Ok(RwLockWriteGuard::new(self))
        } else {
            Err(Locked)
        }
    }

    /// How many read.
    pub fn readers(&self) -> usize {
        self.readers.get()
    }

    /// Whether somebody writes.
    pub fn is_written(&self) -> bool {
        self.writer.get()
    }

    /// How many tasks wait, for either.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// The value, without waiting: nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn admits(&self, access: Access) -> bool {
        !self.writer.get() && (access == Access::Read || self.readers.get() == 0)
    }

    fn enter(&self, access: Access) {
        match access {
            Access::Read => self.readers.set(self.readers.get() + 1),
            Access::Write => self.writer.set(true),
        }
    }

    /// Takes it for one who has not waited, unless he has to.
    fn take(&self, access: Access) -> bool {
        let admitted = self.waiters.is_empty() && self.admits(access);
        if admitted {
            self.enter(access);
        }
        admitted
    }

    /// Somebody has had what he wanted: the next ones.
    fn leave(&self, access: Access) {
        match access {
            Access::Read => self.readers.set(self.readers.get() - 1),
            Access::Write => {
                label::lets_go(self.waiters.anchor());
                self.writer.set(false);
            }
        }
        self.serve();
    }

    /// Lets in those at the front, as far as they get on with each other.
    fn serve(&self) {
        let mut round = self.waiters.hand_over();
        while let Some(access) = round.front()
            && self.admits(access)
        {
            self.enter(access);
            if round.give(()).is_err() {
                unreachable!("there is one at the front");
            }
        }
    }

    /// From writing to reading, with nobody in between.
    fn downgrade(&self) {
        label::lets_go(self.waiters.anchor());
        self.writer.set(false);
        self.enter(Access::Read);
        self.serve();
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("RwLock");
        match self.value.try_borrow() {
            Ok(value) => all.field("value", &&*value),
            Err(_) => all.field("value", &format_args!("<being written>")),
        };
        all.field("readers", &self.readers())
            .field("written", &self.is_written())
            .field("waiting", &self.waiting())
            .finish()
    }
}
