//! The ready queue: tasks and callbacks, first in, first out.

mod ring;

use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use async_task::Runnable;

use crate::callback::Callback;
use crate::callback::once::Once;
use crate::task::header::Header;
use ring::Ring;

/// One entry of the queue.
pub(crate) enum Entry {
    /// A task that has been woken.
    Task(Runnable<Header>),
    /// A closure whose turn has come.
    Once(Once),
    /// A callback whose turn has come.
    Callback(Rc<dyn Callback>),
    /// The future that the loop was asked to run to its end; it lives on the runner's stack.
    Main,
}

/// Tasks and closures stand in `order` as one word each, since they are what there is most of. Anything else stands
/// there as a gap, and in `others` itself, in the same order.
///
/// What the queue holds is taken out when the executor closes; it has no destructor for it.
#[derive(Default)]
pub(crate) struct ReadyQueue {
    order: Ring<Word>,
    others: Ring<Other>,
}

/// A task, as [`Runnable::into_raw`] gives it; a closure, with the lowest bit set; null for a gap.
#[derive(Clone, Copy)]
struct Word(*const ());

/// Marks a closure. A task, which begins with a pointer and an atomic, and a closure's block lie at even addresses.
const ONCE: usize = 1;

const _: () = assert!(align_of::<usize>() > ONCE);

enum Other {
    Callback(Rc<dyn Callback>),
    Main,
}

impl ReadyQueue {
    #[inline]
    pub(crate) fn push_task(&self, runnable: Runnable<Header>) {
        self.order.push(Word(runnable.into_raw().as_ptr()));
    }

    #[inline]
    pub(crate) fn push_once(&self, once: Once) {
        let block = once.into_raw().as_ptr().cast_const();
        self.order.push(Word(block.map_addr(|addr| addr | ONCE)));
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
        self.others.push(other);
        self.order.push(Word(ptr::null()));
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Entry> {
        let Word(word) = self.order.pop()?;
        let Some(pointer) = NonNull::new(word.cast_mut()) else {
            return Some(self.pop_other());
        };
        if word.addr() & ONCE == 0 {
            // SAFETY: a word without the mark comes from `push_task`, and `pop` gives each word out once.
            return Some(Entry::Task(unsafe { Runnable::from_raw(pointer) }));
        }
        let block = word.map_addr(|addr| addr & !ONCE).cast_mut();
        // SAFETY: a word with the mark comes from `push_once`, and `pop` gives each word out once.
        Some(Entry::Once(unsafe { Once::from_raw(block) }))
    }

    fn pop_other(&self) -> Entry {
        match self.others.pop() {
            Some(Other::Callback(callback)) => Entry::Callback(callback),
            Some(Other::Main) => Entry::Main,
            None => unreachable!("every gap has its entry"),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn release_room(&self) {
        self.order.release_room();
        self.others.release_room();
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Shows every task in the queue to `look`.
    pub(crate) fn for_each_task(&self, mut look: impl FnMut(&Header)) {
        self.for_each_task_while(|header| {
            look(header);
            true
        });
    }

    /// The same, until it answers `false`.
    pub(crate) fn for_each_task_while(&self, mut look: impl FnMut(&Header) -> bool) {
        for Word(word) in self.order.iter() {
            if let Some(pointer) = NonNull::new(word.cast_mut())
                && word.addr() & ONCE == 0
            {
                // SAFETY: a word without the mark comes from `push_task`. The queue keeps its reference: this one is
                // forgotten, also if `look` panics.
                let runnable = ManuallyDrop::new(unsafe { Runnable::<Header>::from_raw(pointer) });
                if !look(runnable.metadata()) {
                    break;
                }
            }
        }
    }
}
