//! Who listens to the signals of the process.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::Waker;

use rondel_executor::Callback;

use super::disposition::Mailbox;
use super::number::Signal;

/// What a loop's listeners of signals are.
#[derive(Default)]
pub(crate) struct Signals {
    /// Where the handler leaves the signals of this loop; made for the first listener.
    pub(super) mailbox: OnceCell<Mailbox>,
    pub(super) listeners: RefCell<BTreeMap<Signal, Listeners>>,
}

/// Of one signal.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) callback: Option<Rc<dyn Callback>>,
    pub(super) streams: Vec<Weak<Inbox>>,
}

/// What one stream has received and not yet given out: signals of a kind do not count, they only are.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) arrived: Cell<bool>,
    pub(super) closed: Cell<bool>,
    pub(super) waker: Cell<Option<Waker>>,
}

impl Inbox {
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
