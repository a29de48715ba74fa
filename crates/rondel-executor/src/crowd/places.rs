//! The places of a crowd's members.
//!
//! A place is an allocation of its own, so that a member stays where it is while it is polled, whoever comes or goes meanwhile.
//! A place outlives its member, and the next one takes it over.

use std::cell::{Cell, RefCell, RefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::wakes::{Home, Key, MemberWake, NONE, PLACES, Wakes};

pub(super) struct Places<P, M> {
    places: RefCell<Vec<Rc<Place<P, M>>>>,
    /// The first free place, or `NONE`.
    free: Cell<u32>,
    /// Members there are.
    len: Cell<usize>,
    /// Members there have ever been: the order of arrival.
    arrived: Cell<u64>,
}

/// One member's place.
pub(crate) struct Place<P, M> {
    wake: Arc<MemberWake>,
    /// The same as a waker.
    waker: Waker,
    /// Borrowed while it is polled, and pinned, unless it is `Unpin`. `None` for whoever is kept elsewhere.
    member: RefCell<Option<P>>,
    state: Cell<State>,
    arrived: u64,
    about: M,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Taken,
    /// The member has gone, but the place is in a list and is free when it comes out of there.
    Leaving,
    /// The next free one, or `NONE`. In no list of those woken, and marked, so that it never is.
    Free(u32),
}

impl<P, M> Place<P, M> {
    fn new(wake: Arc<MemberWake>, member: Option<P>, arrived: u64, about: M) -> Rc<Self> {
        let waker = Waker::from(Arc::clone(&wake));
        Rc::new(Self {
            wake,
            waker,
            member: RefCell::new(member),
            state: Cell::new(State::Taken),
            arrived,
            about,
        })
    }

    #[inline]
    pub(crate) fn key(&self) -> Key {
        self.wake.key()
    }

    #[inline]
    pub(super) fn wake(&self) -> &Arc<MemberWake> {
        &self.wake
    }

    /// What is to be said about the member.
    #[inline]
    pub(crate) fn about(&self) -> &M {
        &self.about
    }

    /// What the member is to be polled with.
    #[inline]
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Runs `f` on the member, which is nobody else's meanwhile.
    #[inline]
    pub(crate) fn with_pinned<R>(&self, f: impl FnOnce(Pin<&mut Option<P>>) -> R) -> R {
        let mut member = self.member.borrow_mut();
        // SAFETY: a place is made inside an `Rc` and never moved out of there. What it holds is only moved by `member`, that is
        // if it may be, and otherwise overwritten or dropped where it is.
        f(unsafe { Pin::new_unchecked(&mut *member) })
    }
}

impl<P: Unpin, M> Place<P, M> {
    /// The member, which is nobody else's until this is given back.
    #[inline]
    pub(crate) fn member(&self) -> RefMut<'_, Option<P>> {
        self.member.borrow_mut()
    }
}

impl<P, M> Places<P, M> {
    pub(super) const fn new() -> Self {
        Self {
            places: RefCell::new(Vec::new()),
            free: Cell::new(NONE),
            len: Cell::new(0),
            arrived: Cell::new(0),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    /// Whoever has this key.
    pub(super) fn of(&self, key: Key) -> Option<Rc<Place<P, M>>> {
        let places = self.places.borrow();
        let place = places.get(key.index() as usize)?;
        (place.key() == key && place.state.get() == State::Taken).then(|| Rc::clone(place))
    }

    /// Whose turn it is, or was last, unless it has left.
    pub(super) fn turn(&self, home: &Home) -> Option<Rc<Place<P, M>>> {
        let places = self.places.borrow();
        let place = places.get(home.turn() as usize)?;
        (place.state.get() == State::Taken).then(|| Rc::clone(place))
    }

    /// Gives a member a place. Its waker is in no list.
    pub(super) fn insert(
        &self,
        wakes: &Arc<Wakes>,
        member: Option<P>,
        about: M,
    ) -> Rc<Place<P, M>> {
        let arrived = self.arrived.get();
        self.arrived.set(arrived + 1);
        self.len.set(self.len.get() + 1);
        let mut places = self.places.borrow_mut();
        let index = self.free.get();
        if index == NONE {
            let index = u32::try_from(places.len())
                .ok()
                .filter(|index| *index < PLACES)
                .expect("fewer than 2^32 members fit in memory");
            let wake = MemberWake::new(wakes, Key::new(index, 0));
            let place = Place::new(wake, member, arrived, about);
            places.push(Rc::clone(&place));
            return place;
        }
        let place = &mut places[index as usize];
        let State::Free(next) = place.state.get() else {
            unreachable!("the free list names free places");
        };
        self.free.set(next);
        // Replaced as a whole if somebody has a late wake's way to it, or the place itself still.
        match Rc::get_mut(place) {
            Some(free) if !free.wake.is_held_elsewhere() => {
                free.wake.unlink();
                *free.member.get_mut() = member;
                free.state.set(State::Taken);
                free.arrived = arrived;
                free.about = about;
            }
            _ => *place = Place::new(place.wake.successor(), member, arrived, about),
        }
        Rc::clone(place)
    }

    /// Makes a batch of those who were woken, behind what is left of the batch before.
    pub(super) fn gather(&self, home: &Home) {
        let places = self.places.borrow();
        let (first, _) = turned_round(&places, home);
        if home.next() == NONE {
            home.set_next(first);
        } else {
            append(&places, home, first);
        }
    }

    /// The same, and whose turn it is first.
    #[inline]
    pub(super) fn first(&self, home: &Home) -> Option<Rc<Place<P, M>>> {
        let places = self.places.borrow();
        let (first, earliest) = turned_round(&places, home);
        if home.next() == NONE {
            // At hand already, which is all that most batches come to.
            let earliest = earliest?;
            if earliest.state.get() == State::Taken {
                home.give_turn(first, earliest.wake.unlink());
                return Some(Rc::clone(earliest));
            }
            home.set_next(first);
        } else {
            append(&places, home, first);
        }
        drop(places);
        self.first_there(home)
    }

    #[cold]
    fn first_there(&self, home: &Home) -> Option<Rc<Place<P, M>>> {
        self.next(home)
    }

    /// Whose turn it is next.
    #[inline]
    pub(super) fn next(&self, home: &Home) -> Option<Rc<Place<P, M>>> {
        if home.next() == NONE {
            return None;
        }
        let places = self.places.borrow();
        loop {
            let index = home.next();
            let place = places.get(index as usize)?;
            home.give_turn(index, place.wake.unlink());
            if place.state.get() == State::Taken {
                return Some(Rc::clone(place));
            }
            self.came_out(place);
        }
    }

    /// A place whose member has gone has come out of its list.
    #[cold]
    fn came_out(&self, place: &Place<P, M>) {
        // So that late wakes leave it where it is.
        place.wake.mark();
        place.state.set(State::Free(self.free.get()));
        self.free.set(place.key().index());
    }

    /// The member has gone, or is about to be dropped.
    pub(super) fn release(&self, place: &Place<P, M>) {
        self.len.set(self.len.get() - 1);
        if place.wake.is_marked() {
            place.state.set(State::Leaving);
        } else {
            self.came_out(place);
        }
    }

    /// Wakes have come in from other threads: puts those members that are there on the list of those woken.
    pub(super) fn woken_from_afar(&self, woken: Vec<Key>, home: &Home) {
        let places = self.places.borrow();
        for key in woken {
            if let Some(place) = places.get(key.index() as usize)
                && place.key() == key
            {
                place.wake.arrive_from_afar();
                if place.state.get() == State::Taken && place.wake.mark() {
                    home.link(&place.wake);
                }
            }
        }
    }

    /// All there are, in the order of their arrival.
    pub(super) fn taken(&self) -> Vec<Rc<Place<P, M>>> {
        let places = self.places.borrow();
        let taken = places
            .iter()
            .filter(|place| place.state.get() == State::Taken);
        let mut taken: Vec<_> = taken.map(Rc::clone).collect();
        taken.sort_unstable_by_key(|place| place.arrived);
        taken
    }

    /// Nobody is left. Gives those there were, in the order of their arrival.
    pub(super) fn clear(&self) -> Vec<Rc<Place<P, M>>> {
        let taken = self.taken();
        let places = self.places.take();
        self.len.set(0);
        self.free.set(NONE);
        drop(places);
        taken
    }
}

/// Takes all who were woken out of their list and turns it round: the place of the earliest, and that one itself.
#[inline]
fn turned_round<'a, P, M>(
    places: &'a [Rc<Place<P, M>>],
    home: &Home,
) -> (u32, Option<&'a Rc<Place<P, M>>>) {
    // Nobody, once in a while: the owner was woken for something else.
    let last = home.take_woken();
    let Some(mut place) = places.get(last as usize) else {
        return (NONE, None);
    };
    let mut first = last;
    let mut index = place.wake.follow(NONE);
    while let Some(earlier) = places.get(index as usize) {
        let next = earlier.wake.follow(first);
        (place, first, index) = (earlier, index, next);
    }
    (first, Some(place))
}

/// Puts a list behind what is left of the batch.
#[cold]
fn append<P, M>(places: &[Rc<Place<P, M>>], home: &Home, first: u32) {
    let mut index = home.next();
    while let Some(place) = places.get(index as usize) {
        index = place.wake.next();
        if index == NONE {
            place.wake.follow(first);
        }
    }
}
