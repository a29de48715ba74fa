//! The table of registrations: dense slots, each with a generation.

use crate::Key;
use std::fmt;

pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// Vacant slots, the most recently used last: it is the one in the cache.
    vacant: Vec<u32>,
}

struct Slot<T> {
    /// Of the entry, or of the next one if there is none.
    generation: u32,
    entry: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// `None` if every index is taken. `u32::MAX` is never given out, so the
    /// key whose bits are all set stays free for a selector's own purposes.
    pub(crate) fn insert(&mut self, entry: T) -> Option<Key> {
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len())
                    .ok()
                    .filter(|index| *index != u32::MAX)?;
                self.slots.push(Slot {
                    generation: 0,
                    entry: None,
                });
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.entry = Some(entry);
        Some(Key::new(index, slot.generation))
    }

    #[cfg(any(test, target_os = "linux"))]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index())?;
        if slot.generation != key.generation() {
            return None;
        }
        slot.entry.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation != key.generation() {
            return None;
        }
        slot.entry.as_mut()
    }

    /// The key and entry in a slot, for back ends that know slots only.
    pub(crate) fn at_mut(&mut self, index: usize) -> Option<(Key, &mut T)> {
        let slot = self.slots.get_mut(index)?;
        let key = Key::new(u32::try_from(index).ok()?, slot.generation);
        Some((key, slot.entry.as_mut()?))
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation != key.generation() {
            return None;
        }
        let entry = slot.entry.take()?;
        // A slot that has been through all its generations is not used again:
        // 16 lost bytes every four thousand million registrations, and no key
        // ever means two things.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.vacant.push(key.index() as u32);
        }
        Some(entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slab({} live)", self.iter().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn a_slot_out_of_generations_is_retired() {
        let mut slab = Slab::new();
        let key = slab.insert('a').unwrap();
        slab.remove(key);
        slab.slots[0].generation = u32::MAX;
        let last = slab.insert('b').unwrap();
        assert_eq!((last.index(), last.generation()), (0, u32::MAX));
        assert_eq!(slab.remove(last), Some('b'));
        assert_eq!(slab.get(last), None);
        assert_eq!(slab.remove(last), None);
        let next = slab.insert('c').unwrap();
        assert_eq!(next.index(), 1);
        assert_eq!(slab.get(last), None);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16),
        RemoveLive(usize),
        RemoveDead(usize),
        Change(usize, u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<u16>().prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::RemoveLive),
            1 => any::<usize>().prop_map(Step::RemoveDead),
            1 => (any::<usize>(), any::<u16>()).prop_map(|(n, v)| Step::Change(n, v)),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_whose_keys_never_repeat(
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut slab = Slab::new();
            let mut model: HashMap<Key, u16> = HashMap::new();
            let mut live: Vec<Key> = Vec::new();
            let mut dead: Vec<Key> = Vec::new();
            let mut seen: HashSet<Key> = HashSet::new();
            for step in steps {
                match step {
                    Step::Insert(value) => {
                        let key = slab.insert(value).unwrap();
                        prop_assert!(seen.insert(key), "{key:?} was given out twice");
                        model.insert(key, value);
                        live.push(key);
                    }
                    Step::RemoveLive(n) if !live.is_empty() => {
                        let key = live.swap_remove(n % live.len());
                        prop_assert_eq!(slab.remove(key), model.remove(&key));
                        dead.push(key);
                    }
                    Step::RemoveDead(n) if !dead.is_empty() => {
                        let key = dead[n % dead.len()];
                        prop_assert_eq!(slab.remove(key), None);
                    }
                    Step::Change(n, value) if !live.is_empty() => {
                        let key = live[n % live.len()];
                        *slab.get_mut(key).unwrap() = value;
                        model.insert(key, value);
                    }
                    _ => {}
                }
                for key in &live {
                    prop_assert_eq!(slab.get(*key), model.get(key));
                    let (found, entry) = slab.at_mut(key.index()).unwrap();
                    prop_assert_eq!((found, &*entry), (*key, &model[key]));
                }
                for key in &dead {
                    prop_assert_eq!(slab.get(*key), None);
                }
                prop_assert_eq!(slab.iter().count(), live.len());
            }
            // Slots are used again: never more of them than were live at once.
            prop_assert!(slab.slots.len() <= seen.len());
            prop_assert_eq!(slab.slots.len(), live.len() + slab.vacant.len());
        }
    }
}
