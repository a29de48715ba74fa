//! The timer store: a hierarchical timing wheel that is exact to the nanosecond.
//!
//! Insert, remove and reschedule are O(1) and allocate only while the store grows; removal is
//! real, a cancelled timer leaves nothing behind. See Varghese and Lauck, "Hashed and
//! Hierarchical Timing Wheels" (SOSP 1987), for the idea.
//!
//! # Shape
//!
//! Times are nanoseconds since an epoch of the caller's choice. The wheel has a `base`, the time
//! up to which it has been expired. A deadline is read as eleven digits, ten of six bits above one
//! of four, and the timer is filed under the most significant digit in which its deadline differs
//! from `base`: level 0 has slots of 1 ns, level 1 of 16 ns, level 2 of about 1 µs, level 3 of
//! 65.536 µs, level 4 of 4.2 ms, and so on to level 10, whose slots last nine years, so that every
//! `u64` has a place. Three facts follow, and everything below leans on them:
//!
//! 1. Every timer on a level is due before every timer on a higher one, and within a level before
//!    every timer in a higher slot. The earliest is found by two `trailing_zeros`.
//! 2. Where a timer is filed depends on its deadline and `base` alone, not on when it was inserted
//!    (a deadline that is not after `base` counts as `base`). Moving `base` therefore re-files what
//!    is in the slots that it enters, and nothing else needs to move.
//! 3. No slot above level 0 that contains `base` itself holds a timer. A timer that is not due yet
//!    is thus looked at once a level while time approaches it, however often `expire` is called and
//!    however many timers share its microsecond.
//!
//! # Order
//!
//! Equal deadlines fire in the order of insertion. By (2) they are always in the same slot; a slot
//! is a list to which timers are appended; a slot is re-filed front to back, and by (2) again the
//! slots it goes to held none of these deadlines before. So the order in the list is the order of
//! insertion among equals, and a stable sort of each expired slot keeps it.
//!
//! # Coarse where it pays
//!
//! [`Wheel::next_wake`] is exact for timers that are alone or nearly so. Where more than a handful
//! are close together it asks to be woken 90 µs after the first of them, and one wake-up fires all
//! that are due by then: what makes exact timers dear is a wake-up each, not the filing. The
//! order and "never early" do not depend on it.
//!
//! # Memory
//!
//! Nothing until the first timer, then 5.6 KB for the slots and one entry a timer: 24 bytes and
//! the action. Entries are reused; what a burst has allocated is kept until the wheel is dropped,
//! because a loop that once had that many timers tends to have them again. Only the scratch space
//! for sorting is given back after a large expiry.

#![forbid(unsafe_code)]

use std::fmt;
use std::num::NonZeroU32;

#[cfg(test)]
mod tests;

/// Six bits a level above the lowest, which has four: 4 + 10 × 6 = 64.
const LEVELS: usize = 11;
const SLOTS: usize = 64;

/// Timers up to this level, whose slots last 65.536 µs, may share a wake-up.
const NEAR_LEVEL: usize = 3;

/// How much later than its deadline a timer in a crowd may fire, to share a wake-up: nanoseconds.
///
/// Going to sleep and waking up costs 3 µs on bare metal, up to 30 µs in a virtual machine. With
/// 100,000 timers within a second, this is some 5,000 wake-ups and a median lateness below 100 µs,
/// to which the kernel's own slack (50 µs by default) contributes; exact ones would be twice as
/// many with the slack and five times as many without.
const COALESCE: u64 = 90_000;

/// How many timers close together are still fired exactly; more are a crowd.
const CROWD: usize = 4;

/// Scratch space above this many entries (16 bytes each) is given back after use.
const BATCH_KEPT: usize = 4096;

/// The end of a list.
const NIL: u32 = u32::MAX;

/// Names one timer of one wheel until it has fired or been removed; from then on it names nothing.
///
/// An entry's generation makes the difference. It comes round after 2^32 timers in the same entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: NonZeroU32,
}

/// Timers by deadline, each with an action that is handed out when it is due.
pub(crate) struct Wheel<A> {
    /// Everything up to and including this time has been expired.
    base: u64,
    len: usize,
    /// First of the unused entries, which are linked through `next`.
    free: u32,
    /// One bit a level with timers, and one a slot with timers.
    levels: u16,
    slots: [u64; LEVELS],
    /// `SLOTS` lists a level; empty until the first timer.
    lists: Vec<List>,
    entries: Vec<Entry<A>>,
    /// The timers of one slot while they are being gathered and sorted.
    batch: Vec<(u64, u32)>,
    second_half: Vec<(u64, u32)>,
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

struct Entry<A> {
    deadline: u64,
    /// `None` in an unused entry.
    action: Option<A>,
    prev: u32,
    next: u32,
    generation: NonZeroU32,
    /// The list it is in: level × `SLOTS` + slot.
    list: u16,
}

impl<A> Wheel<A> {
    /// An empty wheel at time 0. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self {
            base: 0,
            len: 0,
            free: NIL,
            levels: 0,
            slots: [0; LEVELS],
            lists: Vec::new(),
            entries: Vec::new(),
            batch: Vec::new(),
            second_half: Vec::new(),
        }
    }

    /// How many timers are alive.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is alive.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a timer behind those with the same deadline. One that has passed is due at once.
    // Always inlined, since the action is best made where it stays: see `Timers::wake_at`.
    #[inline(always)]
    pub(crate) fn insert(&mut self, deadline: u64, action: A) -> TimerKey {
        if self.lists.is_empty() {
            self.lists = vec![List::EMPTY; LEVELS * SLOTS];
        }
        let index = self.free;
        let key = if let Some(entry) = self.entries.get_mut(index as usize) {
            self.free = entry.next;
            entry.deadline = deadline;
            // There was none in an unused entry: nothing to drop, and so no path on which the new one must wait elsewhere.
            std::mem::forget(entry.action.replace(action));
            TimerKey {
                index,
                generation: entry.generation,
            }
        } else {
            self.grow(deadline, action)
        };
        self.len += 1;
        self.link(key.index);
        key
    }

    /// Takes a timer out and returns its action; `None` if it has fired or was removed before.
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<A> {
        self.live(key)?;
        self.unlink(key.index);
        self.release(key.index)
    }

    /// The action of a timer that is alive.
    pub(crate) fn get_mut(&mut self, key: TimerKey) -> Option<&mut A> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        entry.action.as_mut()
    }

    /// The deadline of a timer that is alive, as it was given. The loop remembers it where it needs it.
    #[cfg(test)]
    pub(crate) fn deadline(&self, key: TimerKey) -> Option<u64> {
        self.live(key).map(|entry| entry.deadline)
    }

    /// Gives a timer another deadline, behind those that have the same; the key stays valid.
    ///
    /// Returns `false` if the timer has fired or was removed.
    pub(crate) fn reschedule(&mut self, key: TimerKey, deadline: u64) -> bool {
        if self.live(key).is_none() {
            return false;
        }
        self.unlink(key.index);
        self.entries[key.index as usize].deadline = deadline;
        self.link(key.index);
        true
    }

    /// Moves time on to `now` and appends to `due` the action of every timer whose deadline is not
    /// after it, by deadline and, among equals, in the order of insertion.
    ///
    /// Costs O(slots with timers that are passed + timers fired or re-filed), whatever the
    /// distance. A `now` before an earlier one counts as the earlier one: time does not go back.
    pub(crate) fn expire(&mut self, now: u64, due: &mut Vec<A>) {
        let now = now.max(self.base);
        // Up to `top` the digits of old and new base differ. What is below it has passed whole;
        // what is above it is not touched.
        let top = level_of(self.base ^ now);
        let levels = self.levels & ((2 << top) - 1);
        // Set first, so that what is not due yet is filed where it belongs from now on: on levels
        // below `top`, which are done with by then, because the loop goes upwards.
        self.base = now;
        for level in Bits(levels.into()) {
            let mut slots = self.slots[level];
            if level == top {
                slots &= u64::MAX >> (SLOTS - 1 - slot_of(now, level));
            }
            for slot in Bits(slots) {
                self.expire_slot(level, slot, due);
            }
        }
    }

    /// When to call [`expire`](Self::expire) next, or `None` without timers.
    ///
    /// The earliest deadline itself unless a crowd is found there, so that a far timer costs one
    /// wake-up. For a crowd within reach at most [`COALESCE`] after the earliest deadline. For a
    /// crowd further away the beginning of their slot, which is after the time of the last
    /// `expire`: expiring then files them more finely. A deadline that has passed is returned as
    /// it is. Looks at no more than a handful of timers.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        let (first_level, first_slot) = self.first_slot()?;
        let start = self.slot_start(first_level, first_slot);
        let (last_level, until) = if first_level <= NEAR_LEVEL {
            (NEAR_LEVEL, start.saturating_add(COALESCE))
        } else {
            (first_level, start)
        };
        let mut earliest = u64::MAX;
        let mut seen = 0;
        for level in first_level..=last_level {
            for slot in Bits(self.slots[level]) {
                if self.slot_start(level, slot) > until {
                    return Some(earliest);
                }
                for entry in self.iter(level, slot) {
                    if entry.deadline <= self.base {
                        return Some(entry.deadline);
                    }
                    if seen == CROWD {
                        return Some(until);
                    }
                    seen += 1;
                    earliest = earliest.min(entry.deadline);
                }
            }
        }
        Some(earliest)
    }

    /// The earliest deadline, exactly. O(timers in its slot), for clocks that jump to it: expiring
    /// then takes that slot apart, so that no timer is looked at more than once a level.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let (level, slot) = self.first_slot()?;
        self.iter(level, slot).map(|entry| entry.deadline).min()
    }

    /// Fires what is due in a slot that time has passed or entered, and files the rest anew.
    fn expire_slot(&mut self, level: usize, slot: usize, due: &mut Vec<A>) {
        let list = std::mem::replace(&mut self.lists[level * SLOTS + slot], List::EMPTY);
        self.slots[level] &= !(1 << slot);
        if self.slots[level] == 0 {
            self.levels &= !(1 << level);
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.gather(list, &mut batch);
        batch.retain(|&(deadline, index)| {
            let due = deadline <= self.base;
            if !due {
                self.link(index);
            }
            due
        });
        batch.sort_by_key(|&(deadline, _)| deadline);
        due.extend(batch.drain(..).filter_map(|(_, index)| self.release(index)));
        if batch.capacity() <= BATCH_KEPT {
            self.batch = batch;
        }
    }

    /// Appends deadlines and indices of a list to `all`, front to back.
    ///
    /// It walks from both ends at once. Timers of one slot lie anywhere in memory, each step waits for it, and two can wait
    /// at the same time: with many timers this is most of what firing them costs.
    fn gather(&mut self, list: List, all: &mut Vec<(u64, u32)>) {
        let mut second_half = std::mem::take(&mut self.second_half);
        let (mut front, mut back) = (list.head, list.tail);
        loop {
            let (first, last) = (&self.entries[front as usize], &self.entries[back as usize]);
            all.push((first.deadline, front));
            if front == back {
                break;
            }
            second_half.push((last.deadline, back));
            if first.next == back {
                break;
            }
            (front, back) = (first.next, last.prev);
        }
        all.extend(second_half.drain(..).rev());
        if second_half.capacity() <= BATCH_KEPT {
            self.second_half = second_half;
        }
    }

    /// Appends an entry to the list where its deadline belongs at present.
    fn link(&mut self, index: u32) {
        let at = self.entries[index as usize].deadline.max(self.base);
        let level = level_of(self.base ^ at);
        let slot = slot_of(at, level);
        self.levels |= 1 << level;
        self.slots[level] |= 1 << slot;

        let list = level * SLOTS + slot;
        let prev = std::mem::replace(&mut self.lists[list].tail, index);
        if prev == NIL {
            self.lists[list].head = index;
        } else {
            self.entries[prev as usize].next = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.prev = prev;
        entry.next = NIL;
        entry.list = list as u16;
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        let (prev, next, list) = (entry.prev, entry.next, entry.list as usize);
        if next == NIL {
            self.lists[list].tail = prev;
        } else {
            self.entries[next as usize].prev = prev;
        }
        if prev != NIL {
            self.entries[prev as usize].next = next;
            return;
        }
        self.lists[list].head = next;
        if next == NIL {
            let level = list / SLOTS;
            self.slots[level] &= !(1 << (list % SLOTS));
            if self.slots[level] == 0 {
                self.levels &= !(1 << level);
            }
        }
    }

    /// Adds an entry to the store, not linked yet.
    fn grow(&mut self, deadline: u64, action: A) -> TimerKey {
        let index = u32::try_from(self.entries.len()).unwrap_or(NIL);
        assert_ne!(
            index, NIL,
            "invariant: fewer than 2^32 - 1 timers are alive"
        );
        let generation = NonZeroU32::MIN;
        self.entries.push(Entry {
            deadline,
            action: Some(action),
            prev: NIL,
            next: NIL,
            generation,
            list: 0,
        });
        TimerKey { index, generation }
    }

    /// Makes an entry that is in no list available again; its keys name nothing from here on.
    fn release(&mut self, index: u32) -> Option<A> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        entry.next = std::mem::replace(&mut self.free, index);
        self.len -= 1;
        entry.action.take()
    }

    /// The entry that a key names, if its timer is alive.
    fn live(&self, key: TimerKey) -> Option<&Entry<A>> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation && entry.action.is_some()).then_some(entry)
    }

    /// The slot whose timers are the earliest.
    fn first_slot(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some((level, self.slots[level].trailing_zeros() as usize))
    }

    /// The first nanosecond of a slot.
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let above = (self.base >> shift(level)) & !(SLOTS as u64 - 1);
        (above | slot as u64) << shift(level)
    }

    /// The timers of a slot, front to back.
    fn iter(&self, level: usize, slot: usize) -> impl Iterator<Item = &Entry<A>> {
        let mut index = self.lists[level * SLOTS + slot].head;
        std::iter::from_fn(move || {
            let entry = self.entries.get(index as usize)?;
            index = entry.next;
            Some(entry)
        })
    }
}

impl<A> fmt::Debug for Wheel<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("base", &self.base)
            .field("len", &self.len)
            .field("next_wake", &self.next_wake())
            .finish_non_exhaustive()
    }
}

impl List {
    const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
    };
}

/// The positions of the set bits, lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let position = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(position)
    }
}

/// The level of the most significant digit that is not 0.
const fn level_of(difference: u64) -> usize {
    (((difference | 1).ilog2() + 2) / 6) as usize
}

/// The lowest bit of a level's digit.
const fn shift(level: usize) -> u32 {
    (6 * level as u32).saturating_sub(2)
}

/// The digit of a time on a level. On level 0 two bits of level 1 come along, which are the same
/// for all that is filed there: 16 of its 64 slots are in use at any time.
const fn slot_of(time: u64, level: usize) -> usize {
    (time >> shift(level)) as usize % SLOTS
}
