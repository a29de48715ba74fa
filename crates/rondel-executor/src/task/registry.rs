//! The tasks that live and have been suspended: the executor's claim on them.
//!
//! A task is entered at its first suspension, not at its spawning: one that never suspends, as many do not, never gets
//! here. What is kept is a waker. It keeps the task alive though nobody else may wake it, it wakes it to be cancelled, and
//! its data pointer leads to the header.

use std::task::Waker;

use crate::task::header::{Header, NO_SLOT};

enum Slot {
    /// Empty; the next empty one, or `NO_SLOT`.
    Free(u32),
    Taken(Waker),
}

pub(crate) struct Registry {
    slots: Vec<Slot>,
    free: u32,
    /// Where a task's header lies, seen from the data pointer of its wakers. The same for every task, since what precedes
    /// the future in a task does not depend on it; checked at every entry, so that nothing rests on knowing async-task.
    offset: Option<isize>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NO_SLOT,
            offset: None,
        }
    }
}

impl Registry {
    /// Enters a task. `waker` must be the one it is being polled with.
    pub(crate) fn enter(&mut self, header: &Header, waker: Waker) {
        let here = (&raw const *header).addr();
        let offset = here.wrapping_sub(waker.data().addr()).cast_signed();
        let known = *self.offset.get_or_insert(offset);
        assert!(known == offset, "a task is polled with its own waker");
        let slot = match self.free {
            NO_SLOT => {
                let slot = u32::try_from(self.slots.len())
                    .ok()
                    .filter(|slot| *slot != NO_SLOT)
                    .expect("fewer than 2^32 tasks fit in memory");
                self.slots.push(Slot::Taken(waker));
                slot
            }
            slot => {
                let taken = std::mem::replace(&mut self.slots[slot as usize], Slot::Taken(waker));
                match taken {
                    Slot::Free(next) => self.free = next,
                    Slot::Taken(_) => unreachable!("the free list names free slots"),
                }
                slot
            }
        };
        header.slot.set(slot);
    }

    /// Removes a task; the waker wants to be dropped after the borrow.
    pub(crate) fn leave(&mut self, header: &Header) -> Option<Waker> {
        let slot = header.slot.replace(NO_SLOT);
        let place = self.slots.get_mut(slot as usize)?;
        match std::mem::replace(place, Slot::Free(self.free)) {
            Slot::Taken(waker) => {
                self.free = slot;
                Some(waker)
            }
            Slot::Free(_) => unreachable!("a task is entered until it leaves"),
        }
    }

    pub(crate) fn waker(&self, slot: u32) -> Option<&Waker> {
        match self.slots.get(slot as usize) {
            Some(Slot::Taken(waker)) => Some(waker),
            _ => None,
        }
    }

    /// The tasks entered, each with its waker.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Header, &Waker)> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Taken(waker) => Some((self.header_of(waker)?, waker)),
            Slot::Free(_) => None,
        })
    }

    fn header_of<'a>(&self, waker: &'a Waker) -> Option<&'a Header> {
        let header = waker
            .data()
            .wrapping_byte_offset(self.offset?)
            .cast::<Header>();
        // SAFETY: `enter` checked that this very waker's header lies at this offset from its data pointer, and the waker,
        // which outlives the reference, keeps the task's memory. We are on the home thread (the registry is local), where
        // alone the header's cells are touched.
        Some(unsafe { &*header })
    }
}
