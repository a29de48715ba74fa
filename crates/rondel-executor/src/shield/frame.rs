//! What a canceller polls inside of, and the shields that are open there.

use std::cell::{Cell, OnceCell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Waker};

/// The shields that are open inside one canceller.
#[derive(Default)]
pub(crate) struct OpenShields {
    open: Cell<usize>,
    /// A canceller that has been asked and waits for the last of them.
    postponed: RefCell<Option<Waker>>,
}

impl OpenShields {
    /// Whether a drop has to wait; if so, `cx` is woken when it need not any longer.
    pub(crate) fn postpone(&self, cx: &Context<'_>) -> bool {
        if self.open.get() == 0 {
            return false;
        }
        // Cloned and dropped outside the borrow: both are the waker's own code.
        let waker = cx.waker().clone();
        let before = self.postponed.borrow_mut().replace(waker);
        drop(before);
        self.open.get() > 0
    }

    pub(super) fn open(&self) {
        self.open.set(self.open.get() + 1);
    }

    pub(super) fn close(&self) {
        let open = self.open.get() - 1;
        self.open.set(open);
        if open == 0 {
            let waker = self.postponed.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// A canceller's place in the chain of those around the code that runs.
pub(crate) struct Frame {
    /// Made when the first shield opens inside; most frames never see one.
    shields: OnceCell<Rc<OpenShields>>,
    /// The frame around this one, while something inside is being polled.
    pub(crate) outer: Cell<*const Self>,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            shields: OnceCell::new(),
            outer: Cell::new(ptr::null()),
        }
    }
}

impl Frame {
    /// Whether a drop inside has to wait for a shield; if so, `cx` is woken when it need not any longer.
    pub(crate) fn postpone(&self, cx: &Context<'_>) -> bool {
        self.shields
            .get()
            .is_some_and(|shields| shields.postpone(cx))
    }

    pub(crate) fn shields(&self) -> Rc<OpenShields> {
        Rc::clone(self.shields.get_or_init(Rc::default))
    }
}
