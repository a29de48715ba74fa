//! Items in a store of limited size, and those who wait for room: what queues and channels share.

use std::cell::{Cell, RefCell, RefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::label::{self, Anchor, Awaited};
use crate::store::sealed::Order;
use crate::wait_list::{HandOver, WaitList, Waiter};

/// The room of a buffer without a limit; no number of items in memory uses it up.
const UNLIMITED: isize = isize::MAX;
/// The room of a closed buffer: none, whatever is taken out.
const CLOSED: isize = isize::MIN / 2;

/// The store, and the room in it.
///
/// One who waits for room is handed a *place*: from then on it is his, and nobody else can use it.
/// The item stays with him until he has run and put it in; dropped before that, the place goes to
/// the next one, and the item has not been put.
///
/// Invariant: somebody waits for room only if there is none and the buffer is open.
pub(crate) struct Buffer<S> {
    store: RefCell<S>,
    /// Places that are neither taken nor handed to anyone. Negative if an item was put back, or
    /// closed.
    room: Cell<isize>,
    state: Cell<State>,
    putters: WaitList,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing goes in any more.
    Closed,
    /// And nothing comes out.
    Cleared,
}

/// An item was not taken in.
pub(crate) struct Refused<T> {
    pub(crate) item: T,
    pub(crate) closed: bool,
}

impl<S: Order> Buffer<S> {
    /// For at most so many items, or any number.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        let room = limit.map_or(UNLIMITED, |limit| {
            isize::try_from(limit).unwrap_or(UNLIMITED)
        });
        Self {
            store: RefCell::default(),
            room: Cell::new(room),
            state: Cell::new(State::Open),
            putters: WaitList::new(),
        }
    }

    fn store(&self) -> RefMut<'_, S> {
        self.store
            .try_borrow_mut()
            .expect("the comparison of a priority queue's items must not use that queue")
    }

    pub(crate) fn len(&self) -> usize {
        self.store.try_borrow().map_or(0, |store| store.len())
    }

    pub(crate) fn has_room(&self) -> bool {
        self.room.get() > 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.get() != State::Open
    }

    pub(crate) fn putters(&self) -> &WaitList {
        &self.putters
    }

    /// What the queue or channel is known by to whoever waits at either end.
    #[inline]
    pub(crate) fn anchor(&self) -> &Anchor {
        self.putters.anchor()
    }

    /// Puts the item in if there is room.
    #[inline]
    pub(crate) fn try_push(&self, item: S::Item) -> Result<(), Refused<S::Item>> {
        let room = self.room.get();
        if room <= 0 {
            let closed = self.is_closed();
            return Err(Refused { item, closed });
        }
        self.store().push(item);
        self.room.set(room - 1);
        label::gave(self.anchor());
        Ok(())
    }

    /// Puts the item in, once there is room; gives it back if the buffer is closed.
    ///
    /// # Panics
    ///
    /// If the item is gone, after this was ready.
    #[inline]
    pub(crate) fn poll_push<'a>(
        &'a self,
        item: &mut Option<S::Item>,
        waiter: Pin<&mut Option<Waiter<&'a WaitList>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Item>> {
        // Room that nobody waits for is not there while this one waits.
        if self.has_room() && waiter.is_none() {
            // A comparison may panic; hence the room is taken last.
            self.store().push(take(item));
            self.room.set(self.room.get() - 1);
            label::gave(self.anchor());
            return Poll::Ready(Ok(()));
        }
        self.poll_place(item, waiter, cx)
    }

    fn poll_place<'a>(
        &'a self,
        item: &mut Option<S::Item>,
        waiter: Pin<&mut Option<Waiter<&'a WaitList>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Item>> {
        if !self.is_closed() {
            ready!(waiting(waiter, &self.putters).poll_for(Awaited::Room, cx));
        }
        if self.is_closed() {
            return Poll::Ready(Err(take(item)));
        }
        let place = Place(self);
        self.store().push(take(item));
        std::mem::forget(place);
        label::gave(self.anchor());
        Poll::Ready(Ok(()))
    }

    /// To be called when a future of [`poll_push`](Self::poll_push) is dropped.
    #[inline]
    pub(crate) fn give_up(&self, waiter: Pin<&mut Waiter<&WaitList>>) {
        if waiter.cancel().is_some() {
            drop(self.vacate());
        }
    }

    /// Takes the next item out. Its place is to be [vacated](Self::vacate) next.
    #[inline]
    pub(crate) fn take(&self) -> Option<S::Item> {
        let taken = self.store().pop();
        if taken.is_some() {
            label::took(self.anchor());
        }
        taken
    }

    /// Undoes [`take`](Self::take) after the place has been vacated. False if it was too late, and
    /// the item was dropped with the rest.
    pub(crate) fn put_back(&self, item: S::Item) -> bool {
        if self.state.get() == State::Cleared {
            drop(item);
            return false;
        }
        self.store().put_back(item);
        self.room.set(self.room.get() - 1);
        true
    }

    /// Makes a place free, or hands it to the first who waits. The guard wakes him; `None` if there
    /// is nobody to wake.
    #[inline]
    pub(crate) fn vacate(&self) -> Option<HandOver<'_, (), ()>> {
        let room = self.room.get() + 1;
        self.room.set(room);
        if self.putters.is_empty() {
            return None;
        }
        self.hand_on(room)
    }

    #[inline]
    fn hand_on(&self, room: isize) -> Option<HandOver<'_, (), ()>> {
        if room <= 0 {
            return None;
        }
        let mut round = self.putters.hand_over();
        if round.give(()).is_ok() {
            self.room.set(room - 1);
        }
        Some(round)
    }

    /// Takes nothing in any more, and lets all go who wait for room; the guard wakes them.
    pub(crate) fn close(&self) -> HandOver<'_, (), ()> {
        let mut round = self.putters.hand_over();
        if self.state.get() == State::Open {
            self.state.set(State::Closed);
            self.room.set(CLOSED);
            while round.give(()).is_ok() {}
        }
        round
    }

    /// After [`close`](Self::close): takes everything out, to be dropped by the caller.
    pub(crate) fn clear(&self) -> S {
        self.state.set(State::Cleared);
        std::mem::take(&mut *self.store())
    }
}

fn take<T>(item: &mut Option<T>) -> T {
    item.take()
        .expect("an item is put or sent by a future that is not polled after it was ready")
}

/// A waiter of `list` that a future has from when it has to wait.
type Lazy<'a, H> = Option<Waiter<&'a WaitList<(), H>, (), H>>;

/// That waiter, made now if it was not yet.
pub(crate) fn waiting<'a, 'w, H>(
    mut waiter: Pin<&'w mut Lazy<'a, H>>,
    list: &'a WaitList<(), H>,
) -> Pin<&'w mut Waiter<&'a WaitList<(), H>, (), H>> {
    if waiter.is_none() {
        waiter.set(Some(Waiter::new(list, ())));
    }
    waiter
        .as_pin_mut()
        .expect("the waiter was put there just now")
}

/// A place that is given back if a comparison panics.
struct Place<'a, S: Order>(&'a Buffer<S>);

impl<S: Order> Drop for Place<'_, S> {
    fn drop(&mut self) {
        drop(self.0.vacate());
    }
}
