//! In which order a queue gives out what was put into it.

use std::collections::VecDeque;
use std::fmt;

/// How a [`BaseQueue`](crate::queue::BaseQueue) keeps its items: [`Fifo`], [`Lifo`] or [`Lowest`].
///
/// Sealed: what is in here can be named, but not implemented elsewhere.
pub trait Store: sealed::Order {}

impl<S: sealed::Order> Store for S {}

pub(crate) mod sealed {
    /// Runs nothing foreign, but for the comparisons of [`Lowest`](super::Lowest); one that panics
    /// leaves the store as it was.
    #[allow(unnameable_types, reason = "this is what seals `Store`")]
    pub trait Order: Default {
        /// What is stored.
        type Item;

        /// Puts an item in, behind its equals.
        fn push(&mut self, item: Self::Item);

        /// Takes out the item whose turn it is.
        fn pop(&mut self) -> Option<Self::Item>;

        /// Undoes `pop`: the item is the next again.
        fn put_back(&mut self, item: Self::Item);

        /// How many there are.
        fn len(&self) -> usize;
    }
}

/// The order of [`Queue`](crate::queue::Queue): first in, first out.
pub struct Fifo<T>(VecDeque<T>);

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> sealed::Order for Fifo<T> {
    type Item = T;

    #[inline]
    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn put_back(&mut self, item: T) {
        self.0.push_front(item);
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> fmt::Debug for Fifo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fifo")
            .field("len", &self.0.len())
            .finish_non_exhaustive()
    }
}

/// The order of [`LifoQueue`](crate::queue::LifoQueue): last in, first out.
pub struct Lifo<T>(Vec<T>);

impl<T> Default for Lifo<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> sealed::Order for Lifo<T> {
    type Item = T;

    #[inline]
    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn put_back(&mut self, item: T) {
        self.0.push(item);
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> fmt::Debug for Lifo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifo")
            .field("len", &self.0.len())
            .finish_non_exhaustive()
    }
}

/// The order of [`PriorityQueue`](crate::queue::PriorityQueue): the lowest first, equals as they came.
///
/// A binary heap of its own rather than the standard one: here all comparisons, which are foreign
/// code, come before the first move, so that one which panics changes nothing.
pub struct Lowest<T> {
    heap: Vec<Entry<T>>,
    /// What the next item is numbered.
    next: i64,
    /// Below all numbers given out, for what is put back.
    before_all: i64,
}

struct Entry<T> {
    item: T,
    number: i64,
}

impl<T: Ord> Entry<T> {
    fn precedes(&self, other: &Self) -> bool {
        self.item
            .cmp(&other.item)
            .then(self.number.cmp(&other.number))
            .is_lt()
    }
}

impl<T: Ord> Lowest<T> {
    fn insert(&mut self, entry: Entry<T>) {
        let (mut place, mut levels) = (self.heap.len(), 0);
        while place > 0 && entry.precedes(&self.heap[(place - 1) / 2]) {
            place = (place - 1) / 2;
            levels += 1;
        }
        let mut place = self.heap.len();
        self.heap.push(entry);
        for _ in 0..levels {
            let parent = (place - 1) / 2;
            self.heap.swap(place, parent);
            place = parent;
        }
    }

    /// Where the last entry goes when the first one is taken out.
    fn place_of_last(&self, last: usize) -> usize {
        let mut place = 0;
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            if left >= last {
                return place;
            }
            let child = if right < last && self.heap[right].precedes(&self.heap[left]) {
                right
            } else {
                left
            };
            if !self.heap[child].precedes(&self.heap[last]) {
                return place;
            }
            place = child;
        }
    }
}

impl<T> Default for Lowest<T> {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            next: 0,
            before_all: -1,
        }
    }
}

impl<T: Ord> sealed::Order for Lowest<T> {
    type Item = T;

    fn push(&mut self, item: T) {
        let number = self.next;
        self.insert(Entry { item, number });
        self.next += 1;
    }

    fn pop(&mut self) -> Option<T> {
        let last = self.heap.len().checked_sub(1)?;
        let place = self.place_of_last(last);
        let first = self.heap.swap_remove(0);
        // Down the path to that place, whose turns are the binary digits of its number from one.
        let number = place + 1;
        for level in (0..number.ilog2()).rev() {
            let below = (number >> level) - 1;
            self.heap.swap((below - 1) / 2, below);
        }
        Some(first.item)
    }

    fn put_back(&mut self, item: T) {
        let number = self.before_all;
        self.insert(Entry { item, number });
        self.before_all -= 1;
    }

    fn len(&self) -> usize {
        self.heap.len()
    }
}

impl<T> fmt::Debug for Lowest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lowest")
            .field("len", &self.heap.len())
            .finish_non_exhaustive()
    }
}
