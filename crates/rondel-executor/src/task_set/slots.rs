//! The tasks of a set by their place, and which of them have ended.
//!
//! A task's future carries a ticket, which is dropped with it: whether it returned, panicked or was cancelled. The ticket
//! puts the task's place on the list of those that have ended, and wakes whoever joins. So nobody polls a task that has not
//! ended, and nothing is allocated beside the task.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use crate::task::handle::Task;

pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// The first empty slot, or `NONE`.
    free: u32,
    len: usize,
    ended: Rc<Ended>,
}

enum Slot<T> {
    /// Empty; the next empty one, or `NONE`.
    Free(u32),
    /// Its task is being spawned.
    Reserved,
    Taken(Task<T>),
}

const NONE: u32 = u32::MAX;

/// Which tasks have ended, in order.
#[derive(Default)]
struct Ended {
    places: RefCell<VecDeque<u32>>,
    joiner: Cell<Option<Waker>>,
    /// The set has let go of its tasks: nobody asks any more.
    forgotten: Cell<bool>,
}

/// Puts a place on the list when it is dropped. Every place has one ticket at a time.
struct Ticket {
    ended: Rc<Ended>,
    place: u32,
}

impl Drop for Ticket {
    #[inline]
    fn drop(&mut self) {
        if self.ended.forgotten.get() {
            return;
        }
        self.ended.places.borrow_mut().push_back(self.place);
        if let Some(joiner) = self.ended.joiner.take() {
            joiner.wake();
        }
    }
}

pin_project! {
    /// A future with its ticket, which goes after it.
    pub(super) struct Counted<F> {
        #[pin]
        future: F,
        ticket: Ticket,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            len: 0,
            ended: Rc::default(),
        }
    }
}

impl<T> Slots<T> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// A place for a task that is about to be spawned.
    pub(super) fn reserve(&mut self) -> u32 {
        self.len += 1;
        if self.free == NONE {
            let place = u32::try_from(self.slots.len())
                .ok()
                .filter(|place| *place != NONE)
                .expect("fewer than 2^32 tasks fit in memory");
            self.slots.push(Slot::Reserved);
            return place;
        }
        let place = self.free;
        match mem::replace(&mut self.slots[place as usize], Slot::Reserved) {
            Slot::Free(next) => self.free = next,
            _ => unreachable!("the free list names free slots"),
        }
        place
    }

    pub(super) fn counted<F>(&self, future: F, place: u32) -> Counted<F> {
        Counted {
            future,
            ticket: self.ticket(place),
        }
    }

    fn ticket(&self, place: u32) -> Ticket {
        Ticket {
            ended: Rc::clone(&self.ended),
            place,
        }
    }

    pub(super) fn fill(&mut self, place: u32, task: Task<T>) {
        self.slots[place as usize] = Slot::Taken(task);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Task<T>> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Taken(task) => Some(task),
            _ => None,
        })
    }

    /// Takes out a task that is done.
    pub(super) fn next_done(&mut self) -> Option<Task<T>> {
        loop {
            let place = self.ended.places.borrow_mut().pop_front()?;
            let slot = &mut self.slots[place as usize];
            if let Slot::Taken(task) = slot
                && !task.is_finished()
            {
                // Its future is gone, but not what that left to clean up: a new ticket, for the end of it.
                let ticket = self.ticket(place);
                if let Slot::Taken(task) = &self.slots[place as usize] {
                    task.on_done(move |_| drop(ticket));
                }
                continue;
            }
            let before = mem::replace(slot, Slot::Free(self.free));
            self.free = place;
            self.len -= 1;
            match before {
                Slot::Taken(task) => return Some(task),
                // It could not be spawned.
                Slot::Reserved => {}
                Slot::Free(_) => unreachable!("every place has one ticket at a time"),
            }
        }
    }

    /// Has `cx` woken when the next one ends.
    pub(super) fn register(&self, cx: &Context<'_>) {
        // Taken out, cloned and dropped with nothing borrowed: all of it is the waker's own code.
        let known = self.ended.joiner.take();
        let joiner = match known {
            Some(known) if known.will_wake(cx.waker()) => known,
            other => {
                drop(other);
                cx.waker().clone()
            }
        };
        self.ended.joiner.set(Some(joiner));
    }

    /// Lets go of all tasks, done or not.
    pub(super) fn forget(&mut self) -> Vec<Task<T>> {
        let before = mem::take(self);
        before.ended.forgotten.set(true);
        let joiner = before.ended.joiner.take();
        drop(joiner);
        before
            .slots
            .into_iter()
            .filter_map(|slot| match slot {
                Slot::Taken(task) => Some(task),
                _ => None,
            })
            .collect()
    }
}
