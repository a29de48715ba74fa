//! Who was woken: the queue of a crowd, the wakers of its members.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Wake, Waker};

use super::afar::{Afar, Mark};
use crate::home::HomeCell;

/// A member's place, and which of those it is that have had it. One word, so that the queue moves it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// The key of nobody: waking it wakes the owner and no member.
    pub(crate) const NOBODY: Self = Self::new(u32::MAX, u32::MAX);

    pub(super) const fn new(index: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | index as u64)
    }

    /// The same place, for whoever has it next.
    const fn successor(self) -> Self {
        // It wraps after 2^32 members of one place whose wakers were all kept; then a late wake is a wake too many.
        Self(self.0.wrapping_add(1 << 32))
    }

    pub(super) const fn index(self) -> usize {
        self.0 as u32 as usize
    }
}

/// What the wakers of a crowd's members share.
pub(crate) struct Wakes {
    home: HomeCell<Home>,
    afar: Afar<Key>,
}

/// The half that belongs to the crowd's own thread.
pub(super) struct Home {
    queue: RefCell<VecDeque<Key>>,
    /// Who polls the crowd. One word, since it is taken out and put back with every wake.
    owner: Cell<Option<Rc<Waker>>>,
    /// Whether the owner knows that somebody is ready: it was woken, or is looking right now.
    told: Cell<bool>,
}

impl Wakes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            home: HomeCell::new(Home {
                queue: RefCell::default(),
                owner: Cell::default(),
                told: Cell::new(false),
            }),
            afar: Afar::default(),
        })
    }

    #[inline]
    pub(super) fn home(&self) -> &Home {
        self.home
            .get()
            .expect("a crowd is `!Send`: it stays on the thread that made it")
    }

    /// Puts a member into the queue, on the home thread.
    pub(crate) fn push(&self, key: Key) {
        push_at_home(self.home(), key);
    }

    #[inline]
    pub(super) fn has_woken_afar(&self) -> bool {
        self.afar.has_woken()
    }

    /// Has `owner` woken from here on, and gives what was woken on other threads.
    pub(super) fn renew(&self, owner: &Waker) -> Vec<Key> {
        let home = self.home();
        // Cloned and dropped with nothing borrowed or locked: both are the waker's own code.
        let before = home.owner.replace(Some(Rc::new(owner.clone())));
        drop(before);
        let (woken, before) = self.afar.drain(owner.clone());
        drop(before);
        woken
    }

    /// Nobody polls any more: lets go of the owner's waker and of the queue's room, which must not be left to be dropped on
    /// another thread.
    pub(super) fn retire(&self) {
        let home = self.home();
        home.told.set(true);
        let owner = home.owner.take();
        let queue = home.queue.take();
        let afar = self.afar.retire();
        drop((owner, queue, afar));
    }
}

impl Home {
    /// The owner is being polled; whether it is known by this waker.
    #[inline]
    pub(super) fn begin(&self, owner: &Waker) -> bool {
        self.told.set(true);
        let known = self.owner.take();
        let same = known.as_ref().is_some_and(|known| known.will_wake(owner));
        self.owner.set(known);
        same
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<Key> {
        self.queue.borrow_mut().pop_front()
    }

    #[inline]
    pub(super) fn queued(&self) -> usize {
        self.queue.borrow().len()
    }

    /// The poll of the owner ends.
    #[inline]
    pub(super) fn end(&self, owner: &Waker) {
        if self.queue.borrow().is_empty() {
            self.told.set(false);
        } else {
            owner.wake_by_ref();
        }
    }
}

fn push_at_home(home: &Home, key: Key) {
    home.queue.borrow_mut().push_back(key);
    if !home.told.replace(true) {
        // Taken out while it is called: it is foreign code, which may come back here.
        if let Some(owner) = home.owner.take() {
            owner.wake_by_ref();
            let newer = home.owner.take();
            home.owner.set(newer.or(Some(owner)));
        }
    }
}

/// The waker of one member.
///
/// Two marks, one for each side: a mark that both sides set would need an atomic read-modify-write at home as well.
pub(super) struct MemberWake {
    wakes: Arc<Wakes>,
    key: Key,
    /// In the home queue. Touched on the home thread only; atomic for the type's sake, at the price of a plain byte.
    marked: AtomicBool,
    /// On its way there from another thread.
    marked_afar: Mark,
}

impl MemberWake {
    pub(super) fn new(wakes: &Arc<Wakes>, key: Key) -> Arc<Self> {
        Arc::new(Self {
            wakes: Arc::clone(wakes),
            key,
            marked: AtomicBool::new(false),
            marked_afar: Mark::default(),
        })
    }

    /// For the same place, told apart from this one.
    pub(super) fn successor(&self) -> Arc<Self> {
        Self::new(&self.wakes, self.key.successor())
    }

    pub(super) const fn key(&self) -> Key {
        self.key
    }

    /// Marks it as queued; `false` if it was.
    #[inline]
    pub(super) fn mark(&self) -> bool {
        // Relaxed, and not a read-modify-write: only the home thread comes here.
        let free = !self.marked.load(Ordering::Relaxed);
        if free {
            self.marked.store(true, Ordering::Relaxed);
        }
        free
    }

    #[inline]
    pub(super) fn unmark(&self) {
        self.marked.store(false, Ordering::Relaxed);
    }

    /// A wake from another thread has reached home; whether it is to be queued.
    pub(super) fn arrived_from_afar(&self) -> bool {
        self.marked_afar.clear();
        self.mark()
    }

    /// Whether anybody but the crowd holds this waker. The crowd itself holds it twice: as what it is, and as a `Waker`.
    pub(super) fn is_held_elsewhere(self: &Arc<Self>) -> bool {
        if Arc::strong_count(self) > 2 {
            return true;
        }
        // Pairs with the release of the last other holder's drop: what it did with the waker is over.
        fence(Ordering::Acquire);
        false
    }
}

impl Wake for MemberWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        match self.wakes.home.get() {
            Some(home) => {
                if self.mark() {
                    push_at_home(home, self.key);
                }
            }
            None => self.wake_from_afar(),
        }
    }
}

impl MemberWake {
    #[cold]
    fn wake_from_afar(&self) {
        if self.marked_afar.set()
            && let Some(owner) = self.wakes.afar.push(self.key)
        {
            owner.wake();
        }
    }
}
