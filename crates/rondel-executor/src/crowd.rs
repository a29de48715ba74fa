//! Many futures inside one: each woken and polled singly, though to the executor they are one task.
//!
//! What groups, `gather`, `race`, `wait` and `as_completed` stand on. A crowd owns its members (or has them lent by whoever
//! polls), gives each a waker of its own, and remembers which were woken, in order. Nothing but the crowd's owner ever
//! reaches a member: queue and wakers hold keys. So a crowd that is forgotten leaks, and a late wake finds its own memory
//! and nothing else.
//!
//! ```text
//!   a member's waker ── home thread ──> queue of keys, and the owner's waker, once a turn
//!                    ── elsewhere ────> Afar: list of keys, and the owner's waker; drained at the owner's next poll
//! ```

mod afar;
mod wakes;

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Waker};

pub(crate) use self::wakes::{Key, Wakes};

use self::wakes::{Home, MemberWake};

/// Members `P`, each with something to be told about it, `M`.
pub(crate) struct Crowd<P, M = ()> {
    wakes: Arc<Wakes>,
    slots: RefCell<Slots<P, M>>,
    /// The queue is at home on one thread, so whoever polls stays there.
    _stays_home: PhantomData<*const ()>,
}

struct Slots<P, M> {
    slots: Vec<Slot<P, M>>,
    /// The first empty slot, or `NONE`.
    free: u32,
    len: usize,
    /// Members there have ever been: the order of arrival.
    arrived: u64,
}

struct Slot<P, M> {
    /// Stays when its member goes: the next one takes it over if nobody else holds it.
    wake: Arc<MemberWake>,
    state: State<P, M>,
}

enum State<P, M> {
    /// Empty; the next empty one, or `NONE`.
    Free(u32, Waker),
    Taken(Taken<P, M>),
}

struct Taken<P, M> {
    /// `None` while its turn lasts.
    member: Option<(P, Waker)>,
    arrived: u64,
    about: M,
}

const NONE: u32 = u32::MAX;

/// A member's turn: it is out of the crowd until it is given back.
pub(crate) struct Turn<P> {
    pub(crate) key: Key,
    pub(crate) member: P,
    waker: Waker,
}

impl<P> Turn<P> {
    /// The member, and the context it is to be polled with.
    pub(crate) fn parts(&mut self) -> (&mut P, Context<'_>) {
        (&mut self.member, Context::from_waker(&self.waker))
    }
}

impl<P, M> Crowd<P, M> {
    /// A crowd of nobody, at home on this thread.
    pub(crate) fn new() -> Self {
        Self {
            wakes: Wakes::new(),
            slots: RefCell::new(Slots {
                slots: Vec::new(),
                free: NONE,
                len: 0,
                arrived: 0,
            }),
            _stays_home: PhantomData,
        }
    }

    /// What wakes members by their key.
    pub(crate) fn wakes(&self) -> &Arc<Wakes> {
        &self.wakes
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.borrow().len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a member in, to be polled with the next batch.
    pub(crate) fn insert(&self, member: P, about: M) -> Key {
        let (key, queued) = {
            let mut slots = self.slots.borrow_mut();
            let (key, wake) = slots.insert(&self.wakes, member, about);
            (key, !wake.mark())
        };
        if !queued {
            self.wakes.push(key);
        }
        key
    }

    /// Takes a member in and gives it its turn at once.
    pub(crate) fn begin(&self, member: P, about: M) -> Turn<P> {
        let mut slots = self.slots.borrow_mut();
        let (key, _) = slots.insert(&self.wakes, member, about);
        match slots.take(key) {
            Some(turn) => turn,
            None => unreachable!("inserted above"),
        }
    }

    /// Begins a batch: the owner is being polled. Those who are ready now have their turns in it, and nobody else.
    #[inline]
    pub(crate) fn batch(&self, cx: &Context<'_>) -> Batch<'_, P, M> {
        let home = self.wakes.home();
        if !home.begin(cx.waker()) || self.wakes.has_woken_afar() {
            self.begin_anew(cx);
        }
        Batch {
            crowd: self,
            left: home.queued(),
            home,
        }
    }

    /// The owner has another waker, or there were wakes from other threads.
    #[cold]
    fn begin_anew(&self, cx: &Context<'_>) {
        for key in self.wakes.renew(cx.waker()) {
            if self.slots.borrow().woken_from_afar(key) {
                self.wakes.push(key);
            }
        }
    }

    /// Gives a member its turn out of turn; `None` if it has left or its turn is now.
    pub(crate) fn call(&self, key: Key) -> Option<Turn<P>> {
        self.slots.borrow_mut().take(key)
    }

    /// Puts a member into the queue, unless it is there.
    pub(crate) fn queue(&self, key: Key) {
        let queued = {
            let slots = self.slots.borrow();
            let wake = &slots.slots[key.index()].wake;
            wake.key() != key || !wake.mark()
        };
        if !queued {
            self.wakes.push(key);
        }
    }

    /// Ends a turn: the member stays.
    #[inline]
    pub(crate) fn keep(&self, turn: Turn<P>) {
        self.slots.borrow_mut().put_back(turn);
    }

    /// Ends a turn: the member stays, and this is to be said about it now.
    #[inline]
    pub(crate) fn keep_noting(&self, turn: Turn<P>, note: impl FnOnce(&mut M)) {
        note(&mut self.slots.borrow_mut().put_back(turn).about);
    }

    /// Ends a turn: the member leaves, and its place is free.
    pub(crate) fn release(&self, turn: Turn<P>) -> P {
        self.release_with(turn).0
    }

    /// The same, with what was said about it.
    pub(crate) fn release_with(&self, turn: Turn<P>) -> (P, M) {
        let Turn { key, member, waker } = turn;
        let about = self.slots.borrow_mut().free(key, waker);
        (member, about)
    }

    /// The keys of all, in the order of their arrival.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let slots = self.slots.borrow();
        let mut keys: Vec<_> = slots
            .taken()
            .map(|(key, taken)| (taken.arrived, key))
            .collect();
        keys.sort_unstable_by_key(|(arrived, _)| *arrived);
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// What is to be said about a member; `None` if it has left.
    pub(crate) fn about_of(&self, key: Key) -> Option<M>
    where
        M: Clone,
    {
        let slots = self.slots.borrow();
        let slot = slots.slots.get(key.index())?;
        match &slot.state {
            State::Taken(taken) if slot.wake.key() == key => Some(taken.about.clone()),
            _ => None,
        }
    }

    /// What is to be said about each, in the order of their arrival.
    pub(crate) fn about(&self) -> Vec<M>
    where
        M: Clone,
    {
        let slots = self.slots.borrow();
        let mut all: Vec<_> = slots
            .taken()
            .map(|(_, taken)| (taken.arrived, taken.about.clone()))
            .collect();
        all.sort_by_key(|(arrived, _)| *arrived);
        all.into_iter().map(|(_, about)| about).collect()
    }

    /// The end: gives back all members in the order of their arrival, and lets go of the owner's waker. Wakes do nothing
    /// from here on, whoever still holds one.
    pub(crate) fn clear(&self) -> Vec<P> {
        let members = self.clear_with();
        members.into_iter().map(|(member, _)| member).collect()
    }

    /// The same, each with what was said about it.
    pub(crate) fn clear_with(&self) -> Vec<(P, M)> {
        let slots = std::mem::take(&mut self.slots.borrow_mut().slots);
        {
            let mut left = self.slots.borrow_mut();
            left.free = NONE;
            left.len = 0;
        }
        self.wakes.retire();
        let mut members: Vec<_> = slots
            .into_iter()
            .filter_map(|slot| match slot.state {
                State::Taken(taken) => {
                    let (member, _) = taken.member?;
                    Some((taken.arrived, (member, taken.about)))
                }
                State::Free(..) => None,
            })
            .collect();
        members.sort_unstable_by_key(|(arrived, _)| *arrived);
        members.into_iter().map(|(_, member)| member).collect()
    }
}

/// A batch under way. Dropped before its [`end`](Batch::end), it leaves the rest to the next one, and nobody is told of them:
/// the owner knows.
pub(crate) struct Batch<'a, P, M> {
    crowd: &'a Crowd<P, M>,
    home: &'a Home,
    left: usize,
}

impl<P, M> Batch<'_, P, M> {
    /// Whose turn it is; `None` at the end of the batch.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Turn<P>> {
        while self.left > 0 {
            self.left -= 1;
            let key = self.home.pop()?;
            // Some have left since they were woken.
            let turn = self.crowd.slots.borrow_mut().take(key);
            if turn.is_some() {
                return turn;
            }
        }
        None
    }

    /// Ends it: if somebody is ready still or again, the owner is woken; otherwise the next wake will.
    #[inline]
    pub(crate) fn end(self, cx: &Context<'_>) {
        self.home.end(cx.waker());
    }
}

impl<P, M> Slots<P, M> {
    fn insert(&mut self, wakes: &Arc<Wakes>, member: P, about: M) -> (Key, &MemberWake) {
        let arrived = self.arrived;
        self.arrived += 1;
        self.len += 1;
        let index = self.free;
        if index == NONE {
            let index = u32::try_from(self.slots.len())
                .ok()
                .filter(|index| *index != NONE)
                .expect("fewer than 2^32 members fit in memory");
            let wake = MemberWake::new(wakes, Key::new(index, 0));
            let taken = Taken {
                member: Some((member, Waker::from(Arc::clone(&wake)))),
                arrived,
                about,
            };
            self.slots.push(Slot {
                wake,
                state: State::Taken(taken),
            });
        } else {
            let slot = &mut self.slots[index as usize];
            let before = std::mem::replace(
                &mut slot.state,
                State::Taken(Taken {
                    member: None,
                    arrived,
                    about,
                }),
            );
            let State::Free(next, waker) = before else {
                unreachable!("the free list names free slots");
            };
            self.free = next;
            if let State::Taken(taken) = &mut slot.state {
                taken.member = Some((member, waker));
            }
        }
        let slot = if index == NONE {
            self.slots.last()
        } else {
            self.slots.get(index as usize)
        };
        let wake = &slot.expect("filled above").wake;
        (wake.key(), wake)
    }

    #[inline]
    fn take(&mut self, key: Key) -> Option<Turn<P>> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.wake.key() != key {
            return None;
        }
        slot.wake.unmark();
        let State::Taken(taken) = &mut slot.state else {
            return None;
        };
        let (member, waker) = taken.member.take()?;
        Some(Turn { key, member, waker })
    }

    #[inline]
    fn put_back(&mut self, turn: Turn<P>) -> &mut Taken<P, M> {
        let Turn { key, member, waker } = turn;
        match &mut self.slots[key.index()].state {
            State::Taken(taken) => {
                taken.member = Some((member, waker));
                taken
            }
            State::Free(..) => unreachable!("a place is taken until its turn ends"),
        }
    }

    /// Frees the place of a member that is out; gives what was said about it.
    fn free(&mut self, key: Key, waker: Waker) -> M {
        let slot = &mut self.slots[key.index()];
        let waker = if slot.wake.is_held_elsewhere() {
            // A late wake through it must not reach whoever comes next.
            slot.wake = slot.wake.successor();
            Waker::from(Arc::clone(&slot.wake))
        } else {
            waker
        };
        let before = std::mem::replace(&mut slot.state, State::Free(self.free, waker));
        self.free = key.index() as u32;
        self.len -= 1;
        match before {
            State::Taken(taken) => taken.about,
            State::Free(..) => unreachable!("a place is taken until its turn ends"),
        }
    }

    /// A wake has come in from another thread: whether the member is there and not in the queue already.
    fn woken_from_afar(&self, key: Key) -> bool {
        match self.slots.get(key.index()) {
            Some(slot) if slot.wake.key() == key => slot.wake.arrived_from_afar(),
            _ => false,
        }
    }

    fn taken(&self) -> impl Iterator<Item = (Key, &Taken<P, M>)> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            State::Taken(taken) => Some((slot.wake.key(), taken)),
            State::Free(..) => None,
        })
    }
}

/// Whoever drops a crowd has usually cleared it. If not, members go here, and the owner's waker with them, so that nothing of
/// it is left to a thread that still holds a member's waker.
impl<P, M> Drop for Crowd<P, M> {
    fn drop(&mut self) {
        self.wakes.retire();
    }
}

impl<P, M> fmt::Debug for Crowd<P, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd")
            .field("members", &self.len())
            .finish_non_exhaustive()
    }
}
