//! The ready queue: tasks and callbacks, first in, first out.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::rc::Rc;

use async_task::Runnable;

use crate::callback::Callback;
use crate::task::header::Header;

/// One entry of the queue.
pub(crate) enum Entry {
    /// A task that has been woken.
    Task(Runnable<Header>),
    /// A callback whose turn has come.
    Callback(Rc<dyn Callback>),
    /// The future that the loop was asked to run to its end; it lives on the runner's stack.
    Main,
}

/// Tasks stand in `order` as one word each, since they are what there is most of. Anything else stands there as a gap, and
/// in `others` itself, in the same order.
///
/// Entries have no destructor of their own in here. With one, a push would have to keep the entry on the stack for the case
/// that growing the queue panics, and read it back from there, at the price of a stall for every wake and every spawn. What
/// the queue holds is taken out when the executor closes.
#[derive(Default)]
pub(crate) struct ReadyQueue {
    order: RefCell<VecDeque<ManuallyDrop<Option<Runnable<Header>>>>>,
    others: RefCell<VecDeque<ManuallyDrop<Other>>>,
}

enum Other {
    Callback(Rc<dyn Callback>),
    Main,
}

impl ReadyQueue {
    #[inline]
    pub(crate) fn push_task(&self, runnable: Runnable<Header>) {
        self.order
            .borrow_mut()
            .push_back(ManuallyDrop::new(Some(runnable)));
    }

    #[inline]
    pub(crate) fn push_callback(&self, callback: Rc<dyn Callback>) {
        self.push_other(Other::Callback(callback));
    }

    pub(crate) fn push_main(&self) {
        self.push_other(Other::Main);
    }

    #[inline]
    fn push_other(&self, other: Other) {
        self.others.borrow_mut().push_back(ManuallyDrop::new(other));
        self.order.borrow_mut().push_back(ManuallyDrop::new(None));
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Entry> {
        let next = self.order.borrow_mut().pop_front()?;
        match ManuallyDrop::into_inner(next) {
            Some(runnable) => Some(Entry::Task(runnable)),
            None => self.pop_other(),
        }
    }

    #[inline]
    fn pop_other(&self) -> Option<Entry> {
        let other = self
            .others
            .borrow_mut()
            .pop_front()
            .expect("every gap has its entry");
        Some(match ManuallyDrop::into_inner(other) {
            Other::Callback(callback) => Entry::Callback(callback),
            Other::Main => Entry::Main,
        })
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.order.borrow().is_empty()
    }

    pub(crate) fn release_room(&self) {
        self.order.borrow_mut().shrink_to_fit();
        self.others.borrow_mut().shrink_to_fit();
    }

    pub(crate) fn len(&self) -> usize {
        self.order.borrow().len()
    }

    /// Shows every task in the queue to `look`, which must not come back to the queue.
    pub(crate) fn for_each_task(&self, mut look: impl FnMut(&Header)) {
        for runnable in self
            .order
            .borrow()
            .iter()
            .filter_map(|entry| entry.as_ref())
        {
            look(runnable.metadata());
        }
    }
}
