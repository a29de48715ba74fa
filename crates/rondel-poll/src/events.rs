//! The buffer that a wait fills.

use crate::{Key, Readiness};

/// One report: this registration is ready in this way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// Whose event it is.
    pub key: Key,
    /// What it says.
    pub readiness: Readiness,
}

/// The buffer that [`wait`](crate::Selector::wait) fills with events.
///
/// It is cleared at the start of each wait, so one buffer serves a loop's whole
/// life. If more sources are ready than it has room for, the rest comes with the
/// next waits; nothing is lost, also with [`Mode::Edge`](crate::Mode::Edge).
///
/// An event is a copy of what was true at the wait: by the time you look at it,
/// handling an earlier one may have deregistered its source. Look its key up in
/// your table and skip it if it is not there.
///
/// ```
/// use rondel_poll::{Event, Events, Key, Readiness};
///
/// let mut events = Events::new();
/// assert!(events.is_empty());
/// // Selectors of your own fill it like this.
/// events.push(Event { key: Key::from_bits(7), readiness: Readiness::READABLE });
/// for event in &events {
///     assert_eq!(event.key.index(), 7);
///     assert!(event.readiness.is_readable());
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Events {
    list: Vec<Event>,
    capacity: usize,
}

impl Events {
    /// A buffer for 1024 events (12 KiB).
    pub fn new() -> Self {
        Self::with_capacity(1024)
    }

    /// A buffer for this many events, at least one.
    ///
    /// It is how many events one wait asks the system for. A back end that
    /// cannot limit them (the one over `poll`) makes the buffer grow.
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            list: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// How many events one wait asks for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many events there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The events, in the order in which the system reported them.
    #[inline]
    pub fn iter(&self) -> std::slice::Iter<'_, Event> {
        self.list.iter()
    }

    /// Appends an event: for those who write selectors.
    #[inline]
    pub fn push(&mut self, event: Event) {
        self.list.push(event);
    }

    /// Removes all events.
    #[inline]
    pub fn clear(&mut self) {
        self.list.clear();
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
