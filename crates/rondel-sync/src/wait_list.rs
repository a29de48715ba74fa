//! The queue of waiting tasks that every primitive of this crate is built on, for primitives of
//! your own too.
//!
//! A primitive has a [`WaitList<W, H>`](WaitList); a future that may have to wait has a [`Waiter`]
//! pinned inside it, and the list links these waiters together. Nothing is allocated. `W` is what a
//! waiter *wants* (a number of permits, read or write access), `H` is what it is *handed* when its
//! turn has come (nothing, an index, an item).
//!
//! # Hand-over
//!
//! A waiter is not merely woken and left to try again; it is **handed** what it waits for by
//! whoever makes it available, at that moment, the longest waiting first. From then on the thing
//! belongs to the waiter, though its task has not run yet. That is what makes a primitive fair: a
//! task that comes along between the wake and the run finds nothing to snatch.
//!
//! ```text
//!           enqueue, first poll               give                    guard dropped
//!   idle ------------------------> waiting ----------> handed over ------------------> woken
//!    ^                                |                     |                            |
//!    +--- cancel, drop ---------------+                     |                            |
//!    +--- poll (takes H), cancel (gives H back), drop ------+----------------------------+
//! ```
//!
//! To hand over, take the guard [`WaitList::hand_over`], [`give`](HandOver::give) to as many as
//! there is something for, and let the guard go; it wakes them then, in order. A waker is foreign
//! code: it may call the primitive again, poll or drop other waiters, even drop the last handle to
//! the primitive, and it may panic. Therefore settle your own state first and let the guard go
//! last, holding no borrow of your own.
//!
//! What was handed to a waiter that is dropped before it could take it must go to the next one. The
//! future that contains the waiter calls [`Waiter::cancel`] when it is dropped and passes on what
//! comes back. Remember that a waiter which leaves the front may have been all that kept the one
//! behind it waiting.
//!
//! # Example: a gate that lets tasks through one at a time
//!
//! ```
//! use std::cell::Cell;
//! use std::future::{Future, poll_fn};
//! use std::pin::{Pin, pin};
//! use std::task::{Context, Waker};
//! use rondel_sync::wait_list::{WaitList, Waiter};
//!
//! /// Lets one task through for each `open`.
//! #[derive(Default)]
//! struct Turnstile {
//!     spare: Cell<usize>,
//!     waiters: WaitList,
//! }
//!
//! impl Turnstile {
//!     fn open(&self) {
//!         if self.waiters.hand_over().give(()).is_err() {
//!             self.spare.set(self.spare.get() + 1);
//!         }
//!     }
//!
//!     async fn pass(&self) {
//!         if let Some(rest) = self.spare.get().checked_sub(1) {
//!             return self.spare.set(rest);
//!         }
//!         let waiter = pin!(Waiter::new(&self.waiters, ()));
//!         let mut turn = Turn { stile: self, waiter };
//!         poll_fn(|cx| turn.waiter.as_mut().poll(cx)).await
//!     }
//! }
//!
//! struct Turn<'s, 'w> {
//!     stile: &'s Turnstile,
//!     waiter: Pin<&'w mut Waiter<&'s WaitList>>,
//! }
//!
//! impl Drop for Turn<'_, '_> {
//!     fn drop(&mut self) {
//!         // Only if the task is dropped between being handed its turn and taking it.
//!         if self.waiter.as_mut().cancel().is_some() {
//!             self.stile.open();
//!         }
//!     }
//! }
//!
//! let stile = Turnstile::default();
//! let mut cx = Context::from_waker(Waker::noop());
//! let (mut first, mut second) = (pin!(stile.pass()), pin!(stile.pass()));
//! assert!(first.as_mut().poll(&mut cx).is_pending());
//! assert!(second.as_mut().poll(&mut cx).is_pending());
//! stile.open();
//! assert!(second.as_mut().poll(&mut cx).is_pending(), "the turn belongs to the first already");
//! assert!(first.as_mut().poll(&mut cx).is_ready());
//! ```
//!
//! # Why it is sound
//!
//! This is the only file of the crate with `unsafe` in it. A list holds raw pointers to nodes, a
//! node lives inside a `Waiter`, and the following keeps them true.
//!
//! 1. **A linked node neither moves nor disappears.** Only a pinned waiter can be linked (`enqueue`
//!    and `poll` take `Pin<&mut Self>`, and `Waiter` is `!Unpin`). Pinning promises that its memory
//!    stays put and is not used again before its destructor has run, and the destructor unlinks. A
//!    waiter that is *leaked* (`mem::forget` of a pinned box) is never unlinked, but for the same
//!    reason its memory is never used again: its node stays valid for ever.
//! 2. **A node is unlinked from the list that it is linked in.** A waiter is tied to one list from
//!    its birth, through a [`ListRef`], of which there are two here. `&'a WaitList` borrows: the
//!    list can be neither moved nor dropped while the waiter may still be used or dropped.
//!    [`RcList`] owns a share of what contains the list, which stays where it is for as long as a
//!    share exists. The node's state says which of the list's two chains it is in.
//! 3. **No node points to its list.** So a list may be moved, swapped or dropped when the borrow
//!    has ended although leaked waiters are still linked in it: they are the only ones left, and
//!    nothing that belongs to them will run. Dropping a list therefore touches no node; all it does
//!    is have its number forgotten, by which reports know it.
//! 4. **One thread.** `NonNull` makes list and waiter neither `Send` nor `Sync`.
//! 5. **Nothing is borrowed while foreign code runs.** Every mutable field is a `Cell`, whose
//!    contents are moved in and out. References to nodes of other waiters exist only inside
//!    functions of this file that call nothing foreign. Foreign code runs at four places: a waker's
//!    clone and the drop of the waker it replaces (in `poll`, which looks at the state again
//!    afterwards), waking (after all shares have been handed out, and the one who is woken has left
//!    the chain), and the drop of a waker or an `H` when a waiter is dropped (after it was
//!    unlinked). At each of them list and nodes are in order.
//! 6. **Types stay true.** `WaitList` is invariant in `W` and `H`, so that a value goes out with
//!    the lifetime that it came in with; and a waiter's `Drop` makes the compiler keep its borrows
//!    alive until then.
//!
//! As to aliasing (Stacked and Tree Borrows): pointers to a node are made from `&Node`, never from
//! `&mut`, and this file only ever turns a `Pin<&mut Waiter>` into `&Waiter`. All that is written
//! through them lies in `UnsafeCell`s, so that shared references to a node and the list's pointers
//! may coexist. What remains is the `&mut` to the whole future that its owner makes for each poll
//! and at its drop. For types that are `!Unpin` such a reference makes no claim of uniqueness: this
//! is what the compiler grants to all self-referential and intrusive futures by means of
//! `PhantomPinned`, until `UnsafePinned` takes its place.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomPinned;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::label::{self, Anchor, Awaited};
use crate::waker_slot::WakerSlot;

/// A first-in-first-out queue of waiting tasks.
///
/// `W` is what each waiter wants, `H` what it is handed; see the [module](self) for how they play
/// together. It belongs to one thread, allocates nothing and takes five words. Every operation
/// takes constant time.
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// send(rondel_sync::wait_list::WaitList::<(), ()>::new());
/// ```
pub struct WaitList<W = (), H = ()> {
    /// Those who wait, the longest waiting first.
    waiting: Chain<W, H>,
    /// Those who have been handed something and are still to be woken.
    handed: Chain<W, H>,
    len: Cell<usize>,
    anchor: Anchor,
}

impl<W, H> WaitList<W, H> {
    /// Makes a list in which nobody waits.
    pub const fn new() -> Self {
        Self {
            waiting: Chain::new(),
            handed: Chain::new(),
            len: Cell::new(0),
            anchor: Anchor,
        }
    }

    /// What labels know it by; see [`label`](crate::label).
    #[inline]
    pub(crate) fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// How many wait; those who have been handed something no longer count.
    pub fn len(&self) -> usize {
        self.len.get()
    }

    /// Whether nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// What the one at the front wants, `None` if nobody waits.
    #[inline]
    pub fn front(&self) -> Option<W>
    where
        W: Copy,
    {
        self.waiting.front().map(|node| node.want)
    }

    /// Begins handing over; the returned guard wakes those who were given something when it is
    /// dropped.
    #[inline]
    pub fn hand_over(&self) -> HandOver<'_, W, H> {
        HandOver { list: self }
    }

    /// Hands `value` to the waiter at the front, which then is in the chain of those to be woken.
    #[inline]
    fn give(&self, value: H) -> Result<(), H> {
        let Some(node) = self.waiting.pop_front() else {
            return Err(value);
        };
        self.len.set(self.len.get() - 1);
        // No value is dropped by this: only nodes that were handed something contain one.
        node.handed.set(Some(value));
        node.state.set(State::Handed);
        // SAFETY: the node has just left the other chain, and is valid as argued there (1).
        unsafe { self.handed.push_back(node) };
        Ok(())
    }

    /// The waker of the next of those to be woken, who then counts as woken.
    fn next_waker(&self) -> Option<Waker> {
        while let Some(node) = self.handed.pop_front() {
            node.state.set(State::Woken);
            // There is none if the waiter was enqueued and not polled yet, or is in the middle of
            // registering it.
            if let Some(waker) = node.waker.take() {
                return Some(waker);
            }
        }
        None
    }

    /// Wakes all that were handed something, in order, even if some of the wakers panic; then goes
    /// on with the first panic.
    fn wake_handed(&self) {
        let mut first: Option<Box<dyn Any + Send>> = None;
        while self.handed.front().is_some() {
            // The list is in order before each wake, so an unwinding waker leaves nothing half
            // done.
            let woken = panic::catch_unwind(AssertUnwindSafe(|| {
                while let Some(waker) = self.next_waker() {
                    waker.wake();
                }
            }));
            match woken {
                Err(payload) if first.is_none() => first = Some(payload),
                Err(payload) => discard(payload),
                Ok(()) => {}
            }
        }
        match first {
            // The guard is being dropped by unwinding: a second panic would abort, and one is on
            // its way already.
            Some(payload) if std::thread::panicking() => discard(payload),
            Some(payload) => panic::resume_unwind(payload),
            None => {}
        }
    }
}

/// Drops what a panic carries, which may panic in turn.
#[cold]
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

impl<W, H> Default for WaitList<W, H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W, H> fmt::Debug for WaitList<W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitList")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Hands things to waiters, and wakes them all when dropped.
///
/// Made by [`WaitList::hand_over`]. While it is held nobody is woken and no foreign code runs, so
/// that several waiters can be served as one step. Let it go last, when no borrow is held.
///
/// Every waker is woken even if one panics; the first panic goes on to the caller, unless he is
/// panicking already. If the guard is leaked, those who were given something are woken by the next
/// guard of the same list.
#[must_use = "waiters are woken when the guard is dropped"]
pub struct HandOver<'a, W, H> {
    list: &'a WaitList<W, H>,
}

impl<W, H> HandOver<'_, W, H> {
    /// What the one at the front wants, `None` if nobody waits (any more).
    #[inline]
    pub fn front(&self) -> Option<W>
    where
        W: Copy,
    {
        self.list.front()
    }

    /// Hands `value` to the one at the front; it is his from now on.
    ///
    /// # Errors
    ///
    /// Gives the value back if nobody waits.
    #[inline]
    pub fn give(&mut self, value: H) -> Result<(), H> {
        self.list.give(value)
    }
}

impl<W, H> Drop for HandOver<'_, W, H> {
    #[inline]
    fn drop(&mut self) {
        self.list.wake_handed();
    }
}

impl<W, H> fmt::Debug for HandOver<'_, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandOver").field("list", self.list).finish()
    }
}

/// One who waits: to be pinned inside the future that waits.
///
/// It is tied to its list from the start, by a borrow (`&WaitList`) or by a share of what owns the
/// list ([`RcList`]); it takes a place in the queue when first polled, or by
/// [`enqueue`](Self::enqueue), and gives it up when dropped. It can be used again and again.
///
/// A waiter that is leaked while it waits keeps its place, and what it is handed is lost with it.
pub struct Waiter<L: ListRef<W, H>, W = (), H = ()> {
    // Before `list`: dropping the node drops a waker, which is foreign code.
    node: Node<W, H>,
    list: L,
}

impl<L: ListRef<W, H>, W, H> Waiter<L, W, H> {
    /// Makes a waiter that wants `want` and does not wait yet.
    pub const fn new(list: L, want: W) -> Self {
        Self {
            node: Node::new(want),
            list,
        }
    }

    /// What it wants.
    pub fn want(&self) -> &W {
        &self.node.want
    }

    /// How it reaches its list.
    pub fn list_ref(&self) -> &L {
        &self.list
    }

    /// Whether it has neither a place in the queue nor something handed to it.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.node.state.get() == State::Idle
    }

    /// Whether it has been handed something that it has not taken yet.
    pub fn is_handed(&self) -> bool {
        matches!(self.node.state.get(), State::Handed | State::Woken)
    }

    /// Takes the last place in the queue, without a waker; does nothing unless idle.
    ///
    /// It can be handed something from now on, but nobody is woken for it before it has been
    /// [polled](Self::poll).
    pub fn enqueue(self: Pin<&mut Self>) {
        self.into_ref().get_ref().link();
    }

    /// Waits for something to be handed over, and takes it.
    ///
    /// Takes the last place in the queue if it has none. The waker of `cx` is cloned unless the one
    /// from the poll before would wake the same task. After `Ready` the waiter is idle again.
    #[inline]
    pub fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<H> {
        let this = self.into_ref().get_ref();
        // First the place, then the waker: what happens while the waker is being cloned then finds
        // us in the queue.
        this.link();
        if this.node.state.get() == State::Waiting {
            this.node.waker.register(cx.waker());
        }
        if this.node.state.get() == State::Waiting {
            return Poll::Pending;
        }
        // A waker that is still registered stays for the next wait or the drop: dropping it could
        // panic and lose this.
        match this.leave() {
            Some(handed) => Poll::Ready(handed),
            None => unreachable!(
                "a waiter that left the queue by hand-over without being handed anything"
            ),
        }
    }

    /// The same, and [says](crate::label) what is awaited if it is not there yet.
    #[inline]
    pub(crate) fn poll_for(
        self: Pin<&mut Self>,
        awaited: Awaited,
        cx: &mut Context<'_>,
    ) -> Poll<H> {
        let number = label::number(self.list.list().anchor());
        self.poll_as(awaited, number, cx)
    }

    /// The same for a list that goes by another number than its own.
    #[inline]
    pub(crate) fn poll_as(
        self: Pin<&mut Self>,
        awaited: Awaited,
        number: u32,
        cx: &mut Context<'_>,
    ) -> Poll<H> {
        let polled = self.poll(cx);
        if polled.is_pending() {
            label::waits(awaited, number);
        }
        polled
    }

    /// Gives up waiting, and returns what had been handed over and not been taken: pass it on to
    /// the next one.
    ///
    /// The waiter is idle afterwards.
    #[must_use = "what was handed over belongs to the next waiter"]
    pub fn cancel(self: Pin<&mut Self>) -> Option<H> {
        self.into_ref().get_ref().leave()
    }

    #[inline]
    fn link(&self) {
        if self.node.state.get() == State::Idle {
            let list = self.list.list();
            self.node.state.set(State::Waiting);
            list.len.set(list.len.get() + 1);
            // SAFETY: the node is in no chain. Both callers have the waiter pinned, and its `Drop`
            // unlinks it (1).
            unsafe { list.waiting.push_back(&self.node) };
        }
    }

    /// Makes it idle, whatever it was; returns what it had been handed. Runs nothing foreign.
    #[inline]
    fn leave(&self) -> Option<H> {
        let list = self.list.list();
        match self.node.state.replace(State::Idle) {
            State::Idle => return None,
            State::Waiting => {
                list.len.set(list.len.get() - 1);
                // SAFETY: the state said that the node is in this chain (2).
                unsafe { list.waiting.unlink(&self.node) };
            }
            // SAFETY: the state said that the node is in this chain (2).
            State::Handed => unsafe { list.handed.unlink(&self.node) },
            State::Woken => {}
        }
        self.node.handed.take()
    }
}

impl<L: ListRef<W, H>, W, H> Drop for Waiter<L, W, H> {
    fn drop(&mut self) {
        // What had been handed over is dropped here if the future around did not ask for it by
        // `cancel`.
        drop(self.leave());
    }
}

impl<L: ListRef<W, H>, W, H> fmt::Debug for Waiter<L, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter")
            .field("state", &self.node.state.get())
            .finish_non_exhaustive()
    }
}

/// How a [`Waiter`] reaches its list: `&WaitList` or [`RcList`].
///
/// # Safety
///
/// `list` returns the same list every time and never panics. As long as `self` has not been dropped
/// that list is neither moved nor dropped nor borrowed mutably, also if `self` itself is moved.
pub unsafe trait ListRef<W, H> {
    /// The list.
    fn list(&self) -> &WaitList<W, H>;
}

// SAFETY: it borrows the list for as long as it lives.
unsafe impl<W, H> ListRef<W, H> for &WaitList<W, H> {
    #[inline]
    fn list(&self) -> &WaitList<W, H> {
        self
    }
}

/// A wait list together with a share of what contains it, for futures that own what they wait for.
///
/// ```
/// use std::rc::Rc;
/// use rondel_sync::wait_list::{RcList, WaitList, Waiter};
///
/// struct Channel { readers: WaitList, writers: WaitList<usize> }
///
/// struct Read { waiter: Waiter<RcList<Channel>> }
///
/// let channel = Rc::new(Channel { readers: WaitList::new(), writers: WaitList::new() });
/// let read = Read { waiter: Waiter::new(RcList::new(channel, |channel| &channel.readers), ()) };
/// assert!(read.waiter.list_ref().owner().writers.is_empty());
/// ```
pub struct RcList<T: ?Sized, W = (), H = ()> {
    list: NonNull<WaitList<W, H>>,
    owner: Rc<T>,
}

impl<T: ?Sized, W, H> RcList<T, W, H> {
    /// The list that `list` finds in `owner`.
    pub fn new(owner: Rc<T>, list: impl FnOnce(&T) -> &WaitList<W, H>) -> Self {
        Self {
            list: NonNull::from(list(&owner)),
            owner,
        }
    }

    /// What contains the list.
    pub fn owner(&self) -> &Rc<T> {
        &self.owner
    }
}

// SAFETY: the function given to `new` returns, for a borrow of the owner of any length, a reference
// that is valid as long as that borrow. A borrow that lasts as long as `self` is one of them: an
// `Rc` does not move its contents, lends them mutably or gives them up only when it is the last
// one, and `self` keeps one, to which it gives no mutable access.
unsafe impl<T: ?Sized, W, H> ListRef<W, H> for RcList<T, W, H> {
    #[inline]
    fn list(&self) -> &WaitList<W, H> {
        // SAFETY: valid as long as `self` is, see above.
        unsafe { self.list.as_ref() }
    }
}

impl<T: ?Sized, W, H> fmt::Debug for RcList<T, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RcList").field(self.list()).finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In no chain, nothing handed.
    Idle,
    /// In the chain `waiting`.
    Waiting,
    /// In the chain `handed`; the value is in the node.
    Handed,
    /// In no chain; the value is in the node.
    Woken,
}

/// The part of a waiter that the list points to. All that is written after its birth is in a cell.
struct Node<W, H> {
    prev: Link<W, H>,
    next: Link<W, H>,
    waker: WakerSlot,
    want: W,
    handed: Cell<Option<H>>,
    state: Cell<State>,
    _pinned: PhantomPinned,
}

type Link<W, H> = Cell<Option<NonNull<Node<W, H>>>>;

impl<W, H> Node<W, H> {
    const fn new(want: W) -> Self {
        Self {
            prev: Cell::new(None),
            next: Cell::new(None),
            waker: WakerSlot::new(),
            want,
            handed: Cell::new(None),
            state: Cell::new(State::Idle),
            _pinned: PhantomPinned,
        }
    }
}

/// A doubly linked chain of nodes.
///
/// Invariant: all pointers in a chain, its own and those of its nodes, point to valid nodes of the
/// same chain.
struct Chain<W, H> {
    head: Link<W, H>,
    tail: Link<W, H>,
}

impl<W, H> Chain<W, H> {
    const fn new() -> Self {
        Self {
            head: Cell::new(None),
            tail: Cell::new(None),
        }
    }

    /// The first node. The reference must be given up before foreign code runs, which could drop
    /// the node.
    #[inline]
    fn front(&self) -> Option<&Node<W, H>> {
        // SAFETY: the invariant.
        self.head.get().map(|head| unsafe { head.as_ref() })
    }

    /// Takes the first node out. The same holds for the reference.
    #[inline]
    fn pop_front(&self) -> Option<&Node<W, H>> {
        let node = self.front()?;
        // SAFETY: it is in this chain.
        unsafe { self.unlink(node) };
        Some(node)
    }

    /// Puts a node at the end.
    ///
    /// # Safety
    ///
    /// It is in no chain, and is unlinked before it is moved or its memory is used for something
    /// else.
    #[inline]
    unsafe fn push_back(&self, node: &Node<W, H>) {
        let link = Some(NonNull::from(node));
        let tail = self.tail.replace(link);
        node.prev.set(tail);
        match tail {
            // SAFETY: the invariant.
            Some(tail) => unsafe { tail.as_ref() }.next.set(link),
            None => self.head.set(link),
        }
    }

    /// Takes a node out.
    ///
    /// # Safety
    ///
    /// It is in this chain.
    #[inline]
    unsafe fn unlink(&self, node: &Node<W, H>) {
        let (prev, next) = (node.prev.take(), node.next.take());
        match prev {
            // SAFETY: the invariant.
            Some(prev) => unsafe { prev.as_ref() }.next.set(next),
            None => self.head.set(next),
        }
        match next {
            // SAFETY: the invariant.
            Some(next) => unsafe { next.as_ref() }.prev.set(prev),
            None => self.tail.set(prev),
        }
    }
}
