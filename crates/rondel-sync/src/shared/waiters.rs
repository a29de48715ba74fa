//! The queue of those who wait, under the lock of what they wait for.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use super::lock::{Mutex, lock};
use crate::label::{self, Awaited};

/// Those who wait, first in, first out, each for an amount of something; and those who have been
/// granted it and have not taken it yet.
///
/// A waiter is known by a number. Numbers only grow, so both queues are sorted by them.
pub(super) struct Waiters {
    waiting: VecDeque<Waiting>,
    granted: VecDeque<u64>,
    next: u64,
}

struct Waiting {
    number: u64,
    want: usize,
    waker: Option<Waker>,
}

impl Waiters {
    pub(super) const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            granted: VecDeque::new(),
            next: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the last place; `place` must be without one.
    pub(super) fn join(&mut self, want: usize, place: &mut Option<u64>) {
        let number = self.next;
        self.next += 1;
        self.waiting.push_back(Waiting {
            number,
            want,
            waker: None,
        });
        *place = Some(number);
    }

    /// What the first one wants.
    pub(super) fn front(&self) -> Option<usize> {
        self.waiting.front().map(|first| first.want)
    }

    /// Grants the first one what he wants; false if nobody waits.
    pub(super) fn grant(&mut self, wakes: &mut Wakes) -> bool {
        let Some(first) = self.waiting.pop_front() else {
            return false;
        };
        self.granted.push_back(first.number);
        wakes.0.extend(first.waker);
        true
    }

    /// Turns everybody away who has not been granted anything.
    pub(super) fn dismiss(&mut self, wakes: &mut Wakes) {
        let wakers = self.waiting.drain(..).filter_map(|waiting| waiting.waker);
        wakes.0.extend(wakers);
    }

    /// Takes what was granted, if it was; then the place is given up.
    pub(super) fn take(&mut self, place: &mut Option<u64>) -> bool {
        let found = place.and_then(|number| self.granted.binary_search(&number).ok());
        if let Some(index) = found {
            self.granted.remove(index);
            *place = None;
        }
        found.is_some()
    }

    /// Gives up a place; whether something had been granted, and a waker to be dropped without the
    /// lock.
    fn leave(&mut self, place: &mut Option<u64>) -> (bool, Option<Waker>) {
        if self.take(place) {
            return (true, None);
        }
        let waiting = place.take().and_then(|number| self.find(number));
        let left = waiting.and_then(|index| self.waiting.remove(index));
        (false, left.and_then(|left| left.waker))
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&number, |waiting| waiting.number)
            .ok()
    }

    fn waker(&mut self, place: Option<u64>) -> Option<&mut Option<Waker>> {
        let index = self.find(place?)?;
        Some(&mut self.waiting[index].waker)
    }
}

/// Wakers that are woken when this is dropped: after the lock is released, since they are foreign
/// code.
pub(super) struct Wakes(Vec<Waker>);

impl Wakes {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        for waker in self.0.drain(..) {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                // Its destructor is foreign code, too.
                mem::forget(payload);
            }
        }
    }
}

/// Tries under the lock; if that brings nothing, the attempt has taken a place in the queue, and the
/// waker is left there. A task that waits [says](crate::label) for what.
pub(super) fn poll<S, R>(
    mutex: &Mutex<S>,
    awaited: Awaited,
    place: &mut Option<u64>,
    cx: &Context<'_>,
    queue: impl Fn(&mut S) -> &mut Waiters,
    attempt: impl FnMut(&mut S, &mut Option<u64>, &mut Wakes) -> Option<R>,
) -> Poll<R> {
    let polled = try_or_leave_waker(mutex, place, cx, queue, attempt);
    if polled.is_pending() {
        label::waits(awaited, label::number(mutex));
    }
    polled
}

fn try_or_leave_waker<S, R>(
    mutex: &Mutex<S>,
    place: &mut Option<u64>,
    cx: &Context<'_>,
    queue: impl Fn(&mut S) -> &mut Waiters,
    mut attempt: impl FnMut(&mut S, &mut Option<u64>, &mut Wakes) -> Option<R>,
) -> Poll<R> {
    let mut clone = None;
    loop {
        // Woken and dropped after the lock is released, by the order of these lines.
        let mut wakes = Wakes::new();
        let _replaced;
        let mut state = lock(mutex);
        if let Some(result) = attempt(&mut state, place, &mut wakes) {
            return Poll::Ready(result);
        }
        let Some(waker) = queue(&mut state).waker(*place) else {
            unreachable!("an attempt that brought nothing has left a place in the queue");
        };
        if waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            return Poll::Pending;
        }
        match clone.take() {
            Some(clone) => {
                _replaced = waker.replace(clone);
                return Poll::Pending;
            }
            // Without the lock, and then everything once more.
            None => {
                drop(state);
                clone = Some(cx.waker().clone());
            }
        }
    }
}

/// Gives up a place; `pass_on` gets what had been granted.
pub(super) fn give_up<S>(
    mutex: &Mutex<S>,
    place: &mut Option<u64>,
    queue: impl Fn(&mut S) -> &mut Waiters,
    pass_on: impl FnOnce(&mut S, bool, &mut Wakes),
) {
    if place.is_none() {
        return;
    }
    let mut wakes = Wakes::new();
    let _waker;
    let mut state = lock(mutex);
    let granted;
    (granted, _waker) = queue(&mut state).leave(place);
    pass_on(&mut state, granted, &mut wakes);
}
