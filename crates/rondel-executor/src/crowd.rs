//! Many futures inside one: each woken and polled singly, though to the executor they are one task.
//!
//! What groups, `gather`, `race`, `wait` and `as_completed` stand on. A crowd owns its members (or has them lent by whoever
//! polls), gives each a waker of its own, and remembers which were woken, in order. Nothing but the crowd's owner ever
//! reaches a member: lists and wakers hold numbers. So a crowd that is forgotten leaks, and a late wake finds its own memory
//! and nothing else.
//!
//! ```text
//!   a member's waker ── home thread ──> list through the wakers, and the owner's waker, once a turn
//!                    ── elsewhere ────> Afar: list of keys, and the owner's waker; drained at the owner's next poll
//! ```

mod afar;
mod places;
mod wakes;

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

pub(crate) use self::places::Place;
pub(crate) use self::wakes::{Key, MemberWake};

use self::places::Places;
use self::wakes::{Home, Wakes};

/// Members `P`, each with something to be told about it, `M`.
pub(crate) struct Crowd<P, M = ()> {
    wakes: Arc<Wakes>,
    places: Places<P, M>,
    /// The lists are at home on one thread, so whoever polls stays there.
    _stays_home: PhantomData<*const ()>,
}

impl<P, M> Crowd<P, M> {
    /// A crowd of nobody, at home on this thread.
    pub(crate) fn new() -> Self {
        Self {
            wakes: Wakes::new(),
            places: Places::new(),
            _stays_home: PhantomData,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a member in, to be polled with the next batch.
    pub(crate) fn insert(&self, member: P, about: M) {
        self.insert_and(Some(member), about, |_| ());
    }

    /// The same for one that the owner keeps.
    pub(crate) fn insert_apart(&self, about: M) {
        self.insert_and(None, about, |_| ());
    }

    /// The same; gives what wakes it, apart from its waker. To be let go of before the member leaves, or its place will not
    /// use it again.
    pub(crate) fn insert_with_wake(&self, member: P, about: M) -> Arc<MemberWake> {
        self.insert_and(Some(member), about, Arc::clone)
    }

    fn insert_and<R>(
        &self,
        member: Option<P>,
        about: M,
        of: impl FnOnce(&Arc<MemberWake>) -> R,
    ) -> R {
        let place = self.places.insert(&self.wakes, member, about);
        let wake = place.wake();
        wake.mark();
        let home = self.wakes.home();
        home.link(wake);
        let given = of(wake);
        home.tell();
        given
    }

    /// Takes a member in, to be given its turn at once.
    pub(crate) fn begin(&self, member: P, about: M) -> Rc<Place<P, M>> {
        self.places.insert(&self.wakes, Some(member), about)
    }

    /// Has the owner polled, and no member.
    pub(crate) fn rouse(&self) {
        self.wakes.rouse();
    }

    /// Begins a batch: the owner is being polled. Those who are ready now have their turns in it, and nobody else.
    pub(crate) fn batch(&self, cx: &Context<'_>) -> Batch<'_, P, M> {
        let batch = self.begin_batch(cx);
        self.places.gather(batch.home);
        batch
    }

    /// The same, but [`first`](Batch::first) is to be called next, which makes the batch.
    #[inline]
    pub(crate) fn begin_batch(&self, cx: &Context<'_>) -> Batch<'_, P, M> {
        let wakes = &*self.wakes;
        // SAFETY: a crowd is `!Send`, and makes its `Wakes` with itself.
        let home = unsafe { wakes.home_here() };
        if !home.begin(cx.waker()) || wakes.has_woken_afar() {
            self.begin_anew(cx);
        }
        Batch { crowd: self, home }
    }

    /// The owner has another waker, or there were wakes from other threads.
    #[cold]
    fn begin_anew(&self, cx: &Context<'_>) {
        let woken = self.wakes.renew(cx.waker());
        self.places.woken_from_afar(woken, self.wakes.home());
    }

    /// Whose turn it is, or was last, unless it has left.
    pub(crate) fn turn(&self) -> Option<Rc<Place<P, M>>> {
        self.places.turn(self.wakes.home())
    }

    /// A member that is to have a turn out of turn; `None` if it has left.
    pub(crate) fn call(&self, key: Key) -> Option<Rc<Place<P, M>>> {
        self.places.of(key)
    }

    /// Puts a member on the list, unless it is there.
    pub(crate) fn queue(&self, place: &Place<P, M>) {
        if place.wake().mark() {
            let home = self.wakes.home();
            home.link(place.wake());
            home.tell();
        }
    }

    /// The member leaves, and its place is free. The member itself is still to be taken, or dropped.
    pub(crate) fn release(&self, place: &Place<P, M>) {
        self.places.release(place);
    }

    /// All there are, in the order of their arrival.
    pub(crate) fn members(&self) -> Vec<Rc<Place<P, M>>> {
        self.places.taken()
    }

    /// The end: gives back all there are in the order of their arrival, and lets go of the owner's waker. Wakes do nothing
    /// from here on, whoever still holds one.
    pub(crate) fn clear(&self) -> Vec<Rc<Place<P, M>>> {
        let members = self.places.clear();
        self.wakes.retire();
        members
    }
}

/// A batch under way. Dropped before its [`end`](Batch::end), it leaves the rest to the next one, and nobody is told of them:
/// the owner knows.
pub(crate) struct Batch<'a, P, M> {
    crowd: &'a Crowd<P, M>,
    home: &'a Home,
}

impl<P, M> Batch<'_, P, M> {
    /// Makes the batch, and gives whose turn it is first.
    #[inline]
    pub(crate) fn first(&mut self) -> Option<Rc<Place<P, M>>> {
        self.crowd.places.first(self.home)
    }

    /// Whose turn it is; `None` at the end of the batch.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Rc<Place<P, M>>> {
        self.crowd.places.next(self.home)
    }

    /// Whose turn it is, or was last, unless it has left.
    pub(crate) fn turn(&self) -> Option<Rc<Place<P, M>>> {
        self.crowd.turn()
    }

    /// Ends it: if somebody is ready still or again, the owner is woken; otherwise the next wake will.
    #[inline]
    pub(crate) fn end(self, cx: &Context<'_>) {
        self.home.end(cx.waker());
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
