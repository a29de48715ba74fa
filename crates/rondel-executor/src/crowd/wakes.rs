//! Who was woken: the lists of a crowd, the wakers of its members.
//!
//! The lists run through the members' own wakers, so that a wake allocates nothing and costs two stores beside the mark:
//!
//! - A wake puts its member in front of `woken`. When a batch begins, that list is turned round and is the `batch`; so members
//!   have their turns in the order of their wakes, and those woken meanwhile are left to the next one.
//! - A member is in at most one of the lists, and there once: as long as its waker is marked. It leaves a list only from the
//!   front of the batch. A member that goes meanwhile leaves its place behind until then; see `Slots`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::task::{Wake, Waker};

use super::afar::{Afar, Mark};
use crate::home::HomeCell;

/// A member's place, and which of those it is that have had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    pub(super) const fn new(index: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | index as u64)
    }

    /// The same place, for whoever has it next.
    const fn successor(self) -> Self {
        // It wraps after 2^32 members of one place whose wakers were all kept; then a late wake is a wake too many.
        Self(self.0.wrapping_add(1 << 32))
    }

    pub(super) const fn index(self) -> u32 {
        self.0 as u32
    }
}

/// The end of a list; no place has this number.
pub(super) const NONE: u32 = u32::MAX;
/// The end of a list that has nobody in it and is not to count as empty. Nor has any place this one.
const NOBODY: u32 = NONE - 1;
/// How many places there may be.
pub(super) const PLACES: u32 = NOBODY;

/// What the wakers of a crowd's members share.
pub(crate) struct Wakes {
    home: HomeCell<Home>,
    afar: Afar<Key>,
}

/// The half that belongs to the crowd's own thread.
pub(super) struct Home {
    /// The place of whoever was woken last, and from there on back in time.
    woken: Cell<u32>,
    /// The place of whoever has the next turn of the batch, and from there on in order.
    batch: Cell<u32>,
    /// The place of whoever had the turn before that.
    turn: Cell<u32>,
    /// Who polls the crowd. One word, since it is taken out and put back with every wake.
    owner: Cell<Option<Rc<Waker>>>,
    /// Whether the owner knows that somebody is ready: it was woken, or is looking right now.
    told: Cell<bool>,
}

impl Wakes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            home: HomeCell::new(Home {
                woken: Cell::new(NONE),
                batch: Cell::new(NONE),
                turn: Cell::new(NONE),
                owner: Cell::default(),
                told: Cell::new(false),
            }),
            afar: Afar::default(),
        })
    }

    pub(super) fn home(&self) -> &Home {
        self.home
            .get()
            .expect("a crowd is `!Send`: it stays on the thread that made it")
    }

    /// The same for the one place that each wake goes through.
    ///
    /// # Safety
    /// The calling thread must be the one that made this.
    #[inline]
    pub(super) unsafe fn home_here(&self) -> &Home {
        // SAFETY: the caller vouches for it.
        unsafe { self.home.get_at_home() }
    }

    /// Wakes the owner, and no member.
    pub(super) fn rouse(&self) {
        let home = self.home();
        if home.woken.get() == NONE {
            home.woken.set(NOBODY);
        }
        home.tell();
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

    /// Nobody polls any more: lets go of the owner's waker, which must not be left to be dropped on another thread.
    pub(super) fn retire(&self) {
        let home = self.home();
        home.told.set(true);
        let owner = home.owner.take();
        let afar = self.afar.retire();
        drop((owner, afar));
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

    /// Whose turn it is; [`NONE`] or no place at the end of the batch.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.batch.get()
    }

    /// Puts a member's waker, which must have been marked for that, on the list. The owner is to be told, then.
    #[inline]
    pub(super) fn link(&self, wake: &MemberWake) {
        wake.follow(self.woken.replace(wake.key().index()));
    }

    /// Takes all that were woken out of their list; gives the last of them.
    #[inline]
    pub(super) fn take_woken(&self) -> u32 {
        self.woken.replace(NONE)
    }

    #[inline]
    pub(super) fn set_next(&self, place: u32) {
        self.batch.set(place);
    }

    /// It is this one's turn, and that one's next.
    #[inline]
    pub(super) fn give_turn(&self, place: u32, next: u32) {
        self.turn.set(place);
        self.batch.set(next);
    }

    /// Whose turn it is, or was last.
    pub(super) fn turn(&self) -> u32 {
        self.turn.get()
    }

    /// The poll of the owner ends.
    #[inline]
    pub(super) fn end(&self, owner: &Waker) {
        if self.woken.get() == NONE && self.batch.get() == NONE {
            self.told.set(false);
        } else {
            owner.wake_by_ref();
        }
    }

    /// Has the owner know that somebody is ready.
    #[inline]
    pub(super) fn tell(&self) {
        if self.told.replace(true) {
            return;
        }
        // Taken out while it is called: it is foreign code, which may come back here.
        if let Some(owner) = self.owner.take() {
            owner.wake_by_ref();
            if let Some(newer) = self.owner.replace(Some(owner)) {
                self.take_over(newer);
            }
        }
    }

    /// The owner's waker has changed while the one before was called.
    #[cold]
    fn take_over(&self, owner: Rc<Waker>) {
        let before = self.owner.replace(Some(owner));
        drop(before);
    }
}

/// The waker of one member.
///
/// Two marks, one for each side: a mark that both sides set would need an atomic read-modify-write at home as well.
pub(crate) struct MemberWake {
    wakes: Arc<Wakes>,
    key: Key,
    /// Whoever comes after this one in its list. As the mark, touched on the home thread only; atomic for the type's sake.
    next: AtomicU32,
    /// In one of the lists at home, or never to be again. Touched on the home thread only.
    marked: AtomicBool,
    /// On its way there from another thread.
    marked_afar: Mark,
}

impl MemberWake {
    pub(super) fn new(wakes: &Arc<Wakes>, key: Key) -> Arc<Self> {
        Arc::new(Self {
            wakes: Arc::clone(wakes),
            key,
            next: AtomicU32::new(NONE),
            marked: AtomicBool::new(false),
            marked_afar: Mark::default(),
        })
    }

    /// For the same place, told apart from this one, which does nothing any more: it is marked, and in no list.
    pub(super) fn successor(&self) -> Arc<Self> {
        debug_assert!(self.is_marked(), "a late wake would put it on a list");
        Self::new(&self.wakes, self.key.successor())
    }

    #[inline]
    pub(super) const fn key(&self) -> Key {
        self.key
    }

    /// Marks it as being in a list; `false` if it was.
    #[inline]
    pub(super) fn mark(&self) -> bool {
        // Relaxed, and not a read-modify-write: only the home thread comes here.
        let free = !self.is_marked();
        if free {
            self.marked.store(true, Ordering::Relaxed);
        }
        free
    }

    pub(super) fn is_marked(&self) -> bool {
        self.marked.load(Ordering::Relaxed)
    }

    /// Puts it before another one in a list; gives the one that it was before.
    #[inline]
    pub(super) fn follow(&self, next: u32) -> u32 {
        let before = self.next();
        self.next.store(next, Ordering::Relaxed);
        before
    }

    /// Who comes after it in its list.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    /// It is out of its list: it was the first there. Gives who is now.
    #[inline]
    pub(super) fn unlink(&self) -> u32 {
        self.marked.store(false, Ordering::Relaxed);
        self.next()
    }

    /// A wake from another thread has reached home.
    pub(super) fn arrive_from_afar(&self) {
        self.marked_afar.clear();
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
                    home.link(self);
                    home.tell();
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
