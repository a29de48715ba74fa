//! A growing ring: what is pushed at one end comes out of the other.
//!
//! In place of a `VecDeque` in a `RefCell`, because every wake pushes here and every poll pops: no borrow to note, no
//! destructor to provide for, and one mask where a `VecDeque` compares and subtracts. It can do without the borrow because
//! none of its methods calls anything that could come back to it: items are moved, never cloned, compared or dropped.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;

/// Items are moved in and out. What is left inside when it is dropped is forgotten: whoever owns a ring empties it first.
pub(super) struct Ring<T> {
    /// `capacity` slots; null without any.
    slots: Cell<*mut MaybeUninit<T>>,
    /// A power of two, or 0.
    capacity: Cell<usize>,
    /// Counts pops. The item popped next is in slot `head` modulo `capacity`.
    head: Cell<usize>,
    /// Counts pushes: the slots from `head` up to it are filled. Both wrap around.
    tail: Cell<usize>,
}

const FIRST_CAPACITY: usize = 16;

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            slots: Cell::new(ptr::null_mut()),
            capacity: Cell::new(0),
            head: Cell::new(0),
            tail: Cell::new(0),
        }
    }
}

impl<T> Ring<T> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.tail.get().wrapping_sub(self.head.get())
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.tail.get() == self.head.get()
    }

    #[inline]
    pub(super) fn push(&self, item: T) {
        if self.len() == self.capacity.get() {
            self.grow();
        }
        let tail = self.tail.get();
        let slot = self.slot(tail);
        // SAFETY: there is a capacity now, so the slot lies in the allocation; it is empty, as fewer than `capacity` are filled.
        unsafe { slot.write(MaybeUninit::new(item)) };
        self.tail.set(tail.wrapping_add(1));
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<T> {
        let head = self.head.get();
        if head == self.tail.get() {
            return None;
        }
        self.head.set(head.wrapping_add(1));
        // SAFETY: the slot was filled, and is empty from now on, since `head` has passed it.
        Some(unsafe { self.read(head) })
    }

    /// Where the item with this count is or would be. To be used only while there is a capacity.
    #[inline]
    fn slot(&self, count: usize) -> *mut MaybeUninit<T> {
        let index = count & self.capacity.get().wrapping_sub(1);
        self.slots.get().wrapping_add(index)
    }

    /// # Safety
    /// The item with this count must be inside, and is moved out: it must not be read again.
    #[inline]
    unsafe fn read(&self, count: usize) -> T {
        // SAFETY: a filled slot lies in the allocation.
        let item = unsafe { self.slot(count).read() };
        // SAFETY: it was filled.
        unsafe { item.assume_init() }
    }

    #[cold]
    fn grow(&self) {
        let capacity = (self.capacity.get() * 2).max(FIRST_CAPACITY);
        self.move_to(capacity);
    }

    /// Gives the room back, if it is empty.
    pub(super) fn release_room(&self) {
        if self.is_empty() {
            self.move_to(0);
        }
    }

    /// Moves what is inside to an allocation of another size.
    fn move_to(&self, capacity: usize) {
        let mut slots = Box::new_uninit_slice(capacity);
        let len = self.len();
        for (index, slot) in slots.iter_mut().enumerate().take(len) {
            // SAFETY: each item is moved once, out of slots that are given up below.
            let item = unsafe { self.read(self.head.get().wrapping_add(index)) };
            slot.write(item);
        }
        self.free();
        self.slots.set(Box::into_raw(slots).cast());
        self.capacity.set(capacity);
        self.head.set(0);
        self.tail.set(len);
    }

    /// Frees the allocation. The pointer is stale afterwards.
    fn free(&self) {
        let capacity = self.capacity.get();
        if capacity > 0 {
            let slots = ptr::slice_from_raw_parts_mut(self.slots.get(), capacity);
            // SAFETY: `move_to` has taken them from a box of this length, and they are freed once: it replaces them, or the
            // ring is gone.
            drop(unsafe { Box::from_raw(slots) });
        }
    }
}

impl<T: Copy> Ring<T> {
    /// What is inside, in order. What is pushed meanwhile may or may not show.
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        let head = self.head.get();
        (0..self.len()).map_while(move |index| {
            let count = head.wrapping_add(index);
            // Asked each time, lest it should have been popped meanwhile.
            let inside = count.wrapping_sub(self.head.get()) < self.len();
            // SAFETY: it is inside. It is copied, not moved out.
            inside.then(|| unsafe { self.read(count) })
        })
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// The same pushes and pops on a ring and on a `VecDeque`.
    #[test]
    fn first_in_first_out_however_full_it_is() {
        let ring = Ring::default();
        let mut model = VecDeque::new();
        let mut random = 1_u64;
        for step in 0..20_000_u64 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            // Rising and falling tides, so that it grows, wraps around, and runs dry.
            let pushes = random >> 60 < if step % 4000 < 2000 { 10 } else { 6 };
            if pushes {
                ring.push(step);
                model.push_back(step);
            } else {
                assert_eq!(ring.pop(), model.pop_front());
            }
            assert_eq!(ring.len(), model.len());
            assert_eq!(ring.is_empty(), model.is_empty());
            if step % 97 == 0 {
                assert!(ring.iter().eq(model.iter().copied()));
                ring.release_room();
            }
        }
        assert!(ring.capacity.get() > FIRST_CAPACITY, "it has grown");
    }

    #[test]
    fn counts_may_wrap_around() {
        let ring = Ring::default();
        ring.push(0);
        ring.pop();
        ring.head.set(usize::MAX - 2);
        ring.tail.set(usize::MAX - 2);
        for item in 1..=40 {
            ring.push(item);
        }
        assert!(ring.iter().eq(1..=40));
        for item in 1..=40 {
            assert_eq!(ring.pop(), Some(item));
        }
        assert_eq!(ring.pop(), None);
    }

    #[test]
    fn items_are_moved_not_dropped() {
        let ring = Ring::default();
        let item = std::rc::Rc::new(());
        for _ in 0..100 {
            ring.push(std::rc::Rc::clone(&item));
        }
        assert_eq!(std::rc::Rc::strong_count(&item), 101);
        while let Some(popped) = ring.pop() {
            drop(popped);
        }
        assert_eq!(std::rc::Rc::strong_count(&item), 1);
        ring.release_room();
        assert_eq!(ring.capacity.get(), 0);
    }
}
