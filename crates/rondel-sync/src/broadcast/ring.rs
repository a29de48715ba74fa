//! The last values of a broadcast.

use std::mem;
use std::rc::Rc;

/// Keeps the last `capacity` values, each until the last receiver has it.
///
/// Values are numbered from 0. No foreign code runs in here: what is to be dropped is returned.
pub(super) struct Ring<T> {
    /// A power of two of them, so that a number's slot is found by a mask.
    slots: Vec<Slot<T>>,
    capacity: u64,
    mask: u64,
    /// The number of the next value.
    tail: u64,
}

struct Slot<T> {
    /// In an `Rc` so that it can be cloned while the ring is not borrowed. The allocation is used
    /// again.
    value: Rc<Option<T>>,
    /// How many receivers are to get it.
    unread: usize,
}

/// What a receiver finds under a number.
pub(super) enum Found<T> {
    /// The receiver was the last one: the value itself.
    Value(T),
    /// To be cloned.
    Shared(Rc<Option<T>>),
    /// Not sent yet.
    Nothing,
    /// Overwritten; this is the oldest number that is there.
    Overwritten(u64),
}

impl<T> Ring<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            slots: Vec::new(),
            capacity: capacity as u64,
            mask: (capacity as u64).next_power_of_two() - 1,
            tail: 0,
        }
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    /// The oldest number that is there, if any is.
    pub(super) fn oldest(&self) -> u64 {
        self.tail.saturating_sub(self.capacity)
    }

    /// Adds a value for so many receivers; returns the one that it displaces.
    pub(super) fn push(&mut self, value: T, receivers: usize) -> Option<T> {
        // The slots come into being one by one, up to a power of two that holds the capacity.
        if self.tail <= self.mask && self.slots.len() as u64 == self.tail {
            self.slots.push(Slot {
                value: Rc::new(None),
                unread: 0,
            });
        }
        let displaced = self
            .tail
            .checked_sub(self.capacity)
            .and_then(|number| self.slot(number).empty());
        let slot = self.slot(self.tail);
        match Rc::get_mut(&mut slot.value) {
            // Empty: if it was in use, it has been displaced just now or before.
            Some(place) => *place = Some(value),
            None => slot.value = Rc::new(Some(value)),
        }
        slot.unread = receivers;
        self.tail += 1;
        displaced
    }

    /// Counts a receiver as having got the value of that number.
    pub(super) fn read(&mut self, number: u64) -> Found<T> {
        if number == self.tail {
            return Found::Nothing;
        }
        let oldest = self.oldest();
        if number < oldest {
            return Found::Overwritten(oldest);
        }
        let slot = self.slot(number);
        slot.unread -= 1;
        if slot.unread > 0 {
            return Found::Shared(Rc::clone(&slot.value));
        }
        match Rc::get_mut(&mut slot.value).and_then(Option::take) {
            Some(value) => Found::Value(value),
            // Somebody is still cloning it.
            None => Found::Shared(mem::replace(&mut slot.value, Rc::new(None))),
        }
    }

    fn slot(&mut self, number: u64) -> &mut Slot<T> {
        // Fits: there are no more slots than that.
        &mut self.slots[(number & self.mask) as usize]
    }
}

impl<T> Slot<T> {
    /// The value, unless somebody is cloning it, who then has the last share.
    fn empty(&mut self) -> Option<T> {
        match Rc::get_mut(&mut self.value) {
            Some(value) => value.take(),
            None => {
                self.value = Rc::new(None);
                None
            }
        }
    }
}
