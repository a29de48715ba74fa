//! The descriptors that a loop has registered, and who waits for them.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::Waker;

use rondel_executor::{Callback, Executor};
use rondel_poll::{Key, Readiness, ReadyState};

use crate::descriptor;
use crate::state::LocalLoop;

/// The sources of a loop, by the index of their key.
#[derive(Default)]
pub(crate) struct Sources {
    by_index: Vec<Option<Rc<Source>>>,
    len: usize,
}

impl Sources {
    pub(crate) fn insert(&mut self, source: Rc<Source>) {
        let index = source.key.index();
        if index >= self.by_index.len() {
            self.by_index.resize_with(index + 1, || None);
        }
        self.by_index[index] = Some(source);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Rc<Source>> {
        let place = self.by_index.get_mut(key.index())?;
        // Another generation: the index has been given to a later source.
        let removed = place.take_if(|source| source.key == key)?;
        self.len -= 1;
        Some(removed)
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&Rc<Source>> {
        let source = self.by_index.get(key.index())?.as_ref()?;
        (source.key == key).then_some(source)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The sources' descriptors, described.
    pub(crate) fn descriptors(&self) -> Vec<String> {
        let sources = self.by_index.iter().flatten();
        sources.map(|source| source.describe()).collect()
    }

    /// The descriptor of the source with this index, described.
    pub(crate) fn describe(&self, index: usize) -> Option<String> {
        let source = self.by_index.get(index)?.as_ref()?;
        Some(source.describe())
    }

    pub(crate) fn take_all(&mut self) -> Vec<Rc<Source>> {
        self.len = 0;
        std::mem::take(&mut self.by_index)
            .into_iter()
            .flatten()
            .collect()
    }
}

/// One registered descriptor. There may be very many.
pub(crate) struct Source {
    pub(super) key: Key,
    pub(super) fd: Rc<OwnedFd>,
    /// A circle, until the last registration is dropped or the loop is closed.
    pub(super) local: LocalLoop,
    pub(super) waiters: Waiters,
    /// Called, through the ready queue, whenever something becomes ready: instead of tasks that wait, or beside them.
    pub(super) callback: Cell<Option<Rc<dyn Callback>>>,
    pub(super) ready: Cell<ReadyState>,
    pub(super) closed: Cell<bool>,
}

impl Source {
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    fn describe(&self) -> String {
        descriptor::describe(self.fd.as_fd())
    }

    /// The selector has something to say.
    pub(super) fn on_event(&self, executor: &Executor, readiness: Readiness) {
        let mut ready = self.ready.get();
        ready.on_event(readiness);
        self.ready.set(ready);
        if let Some(callback) = self.callback.take() {
            self.callback.set(Some(Rc::clone(&callback)));
            executor.spawner().push(callback);
        }
        if readiness.is_readable() {
            self.waiters.wake(Way::Read);
        }
        if readiness.is_writable() {
            self.waiters.wake(Way::Write);
        }
    }

    /// The loop is closed: whoever waits learns it from the next attempt, and the callback at once.
    pub(crate) fn on_loop_closed(&self) {
        self.closed.set(true);
        if let Some(callback) = self.callback.take() {
            callback.discard();
        }
        self.let_go();
    }

    /// Nothing can wait for it any more.
    pub(super) fn let_go(&self) {
        self.closed.set(true);
        drop(self.callback.take());
        self.waiters.dismiss();
    }
}

/// What a task waits for.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Read,
    Write,
}

/// The tasks that wait for a source: for each way nearly always at most one, and the same again and again.
///
/// So its waker is kept when it has been woken: coming back costs no atomic operation.
#[derive(Default)]
pub(super) struct Waiters {
    first: [Cell<Option<Waker>>; 2],
    /// Those behind the first, for both ways; hardly any source has some.
    others: Cell<Option<Box<[Vec<Waker>; 2]>>>,
    /// Whether the first one waits; if not, it only has been.
    waiting: [Cell<bool>; 2],
}

impl Waiters {
    #[inline]
    pub(super) fn add(&self, way: Way, waker: &Waker) {
        let place = &self.first[way as usize];
        let first = place.take();
        let known = first.as_ref().is_some_and(|first| first.will_wake(waker));
        place.set(first);
        if known {
            self.waiting[way as usize].set(true);
        } else {
            self.add_other(way, waker);
        }
    }

    fn add_other(&self, way: Way, waker: &Waker) {
        let others = self.others.take();
        let known = others
            .iter()
            .flat_map(|others| others[way as usize].iter())
            .any(|other| other.will_wake(waker));
        self.others.set(others);
        if known {
            return;
        }
        // Cloning wakers is foreign code: nothing is borrowed, or taken out, meanwhile. So is dropping them.
        let waker = waker.clone();
        if self.waiting[way as usize].get() {
            let mut others = self.others.take().unwrap_or_default();
            others[way as usize].push(waker);
            self.others.set(Some(others));
        } else {
            self.waiting[way as usize].set(true);
            let before = self.first[way as usize].replace(Some(waker));
            drop(before);
        }
    }

    #[inline]
    fn wake(&self, way: Way) {
        if self.waiting[way as usize].get() {
            self.wake_waiting(way);
        }
    }

    fn wake_waiting(&self, way: Way) {
        self.waiting[way as usize].set(false);
        let place = &self.first[way as usize];
        if let Some(first) = place.take() {
            first.wake_by_ref();
            match place.take() {
                // Nobody new has come while it was woken.
                None => place.set(Some(first)),
                newer => {
                    place.set(newer);
                    drop(first);
                }
            }
        }
        if let Some(mut others) = self.others.take() {
            let woken = std::mem::take(&mut others[way as usize]);
            if others.iter().any(|others| !others.is_empty()) {
                self.others.set(Some(others));
            }
            for other in woken {
                other.wake();
            }
        }
    }

    /// Wakes who waits, and forgets who has.
    fn dismiss(&self) {
        for way in [Way::Read, Way::Write] {
            self.wake(way);
            let first = self.first[way as usize].take();
            drop(first);
        }
    }
}
