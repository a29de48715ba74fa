//! Closures to be called once, in blocks that are used again.
//!
//! Most callbacks capture a few pointers. For them an allocation, and its release, is dearer than all the rest of being
//! scheduled, so a closure of up to five words is put into a block of one size, and the executor keeps blocks that have
//! served. (A larger one is put into a box, and the box into a block.) A block is an `Rc`, shared by the queue and the
//! [`Handle`](crate::Handle); what is unsafe in here is only that closures of any type take turns in the same room.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::rc::Rc;

use super::Callback;
use crate::site::Site;

/// Where the closure lies.
type Room = MaybeUninit<[usize; 5]>;

/// Where a callback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Called,
    Cancelled,
}

/// One share of a scheduled closure.
#[derive(Clone)]
pub(crate) struct Once(Rc<Block>);

struct Block {
    /// What is inside: a closure of this kind exactly while its state is `Waiting`. Whoever takes the closure out changes
    /// this first.
    content: Cell<&'static Content>,
    site: Cell<Site>,
    room: UnsafeCell<Room>,
}

/// What a block has inside, and what can be done with it.
struct Content {
    state: State,
    /// Both take the closure out.
    call: unsafe fn(*mut Room),
    drop: unsafe fn(*mut Room),
}

static CALLED: Content = Content::none(State::Called);
static CANCELLED: Content = Content::none(State::Cancelled);

impl Content {
    const fn none(state: State) -> Self {
        const unsafe fn nothing(_: *mut Room) {}
        Self {
            state,
            call: nothing,
            drop: nothing,
        }
    }
}

/// The content that is a closure of type `F`.
struct Of<F>(F);

impl<F: FnOnce()> Of<F> {
    const FITS: bool = size_of::<F>() <= size_of::<Room>() && align_of::<F>() <= align_of::<Room>();

    const CONTENT: Content = Content {
        state: State::Waiting,
        call: Self::call,
        drop: Self::drop,
    };

    /// # Safety
    /// There must be a closure of this type in the room. It is moved out.
    unsafe fn call(room: *mut Room) {
        // SAFETY: as the caller promises.
        let closure = unsafe { room.cast::<F>().read() };
        closure();
    }

    /// # Safety
    /// As for `call`.
    unsafe fn drop(room: *mut Room) {
        // SAFETY: as the caller promises.
        drop(unsafe { room.cast::<F>().read() });
    }
}

impl Once {
    /// Puts `closure` into a spare block, or a new one.
    #[inline]
    pub(crate) fn new<F: FnOnce() + 'static>(spare: &Spare, site: Site, closure: F) -> Self {
        spare.take().with(site, closure)
    }

    /// Puts `closure` into a new block.
    pub(crate) fn allocate<F: FnOnce() + 'static>(site: Site, closure: F) -> Self {
        Self::empty().with(site, closure)
    }

    #[cold]
    fn empty() -> Self {
        Self(Rc::new(Block {
            content: Cell::new(&CALLED),
            site: Cell::new(std::panic::Location::caller()),
            room: UnsafeCell::new(MaybeUninit::uninit()),
        }))
    }

    #[inline]
    fn with<F: FnOnce() + 'static>(self, site: Site, closure: F) -> Self {
        self.0.site.set(site);
        if Of::<F>::FITS {
            self.0.fill(closure);
        } else {
            let boxed: Box<dyn FnOnce()> = Box::new(closure);
            self.0.fill(boxed);
        }
        self
    }

    /// Calls the closure, unless it has been cancelled.
    #[inline]
    pub(crate) fn call(&self) {
        self.0.call_content();
    }

    /// Drops the closure before it is called. `false` if there is none any more.
    pub(crate) fn cancel(&self) -> bool {
        self.0.cancel()
    }

    pub(crate) fn into_callback(self) -> Rc<dyn Callback> {
        self.0
    }

    pub(super) fn state(&self) -> State {
        self.0.content.get().state
    }

    #[inline]
    pub(crate) fn site(&self) -> Site {
        self.0.site.get()
    }

    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<()> {
        let block = Rc::into_raw(self.0).cast_mut().cast();
        // SAFETY: an `Rc` points to something.
        unsafe { NonNull::new_unchecked(block) }
    }

    /// # Safety
    /// `block` must come from `into_raw`, and each such block comes back once.
    #[inline]
    pub(crate) unsafe fn from_raw(block: *mut ()) -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { Rc::from_raw(block.cast_const().cast()) })
    }
}

impl Block {
    /// Puts a closure into the empty room.
    #[inline]
    fn fill<F: FnOnce() + 'static>(&self, closure: F) {
        assert!(Of::<F>::FITS, "a closure that does not fit is boxed");
        debug_assert!(
            self.content.get().state != State::Waiting,
            "the room is empty"
        );
        // SAFETY: it fits, and nobody is in the room: it holds something only while the state is `Waiting`, during which
        // nobody fills it.
        unsafe { self.room.get().cast::<F>().write(closure) };
        self.content.set(const { &Of::<F>::CONTENT });
    }

    #[inline]
    fn call_content(&self) {
        let content = self.content.get();
        if content.state == State::Waiting {
            self.content.set(&CALLED);
            // SAFETY: a closure of this kind is inside. It is taken out once, since the block says from now on that there is
            // none; and what it does, moved out, cannot get at the room.
            unsafe { (content.call)(self.room.get()) };
        }
    }

    fn cancel(&self) -> bool {
        let content = self.content.get();
        let waiting = content.state == State::Waiting;
        if waiting {
            self.content.set(&CANCELLED);
            // SAFETY: as in `call_content`.
            unsafe { (content.drop)(self.room.get()) };
        }
        waiting
    }
}

/// For those that are not queued right away.
impl Callback for Block {
    fn call(self: Rc<Self>) {
        self.call_content();
    }

    fn discard(&self) {
        self.cancel();
    }

    fn site(&self) -> Site {
        self.site.get()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let content = self.content.get();
        // SAFETY: what the block says is inside is, and nobody will look again.
        unsafe { (content.drop)(self.room.get()) };
    }
}

/// Blocks that have served and nobody else has a share of: at most [`AT_MOST`](Self::AT_MOST), 72 bytes each.
#[derive(Default)]
pub(crate) struct Spare(RefCell<Vec<Once>>);

impl Spare {
    const AT_MOST: usize = 1024;

    #[inline]
    fn take(&self) -> Once {
        let block = self.0.borrow_mut().pop();
        block.unwrap_or_else(Once::empty)
    }

    /// Keeps the block of a closure that has been called or cancelled, if nobody else has a share of it.
    #[inline]
    pub(crate) fn keep(&self, call: Once) {
        if Rc::strong_count(&call.0) == 1 && call.state() != State::Waiting {
            let mut blocks = self.0.borrow_mut();
            if blocks.len() < Self::AT_MOST {
                blocks.push(call);
            }
        }
    }

    pub(crate) fn release_room(&self) {
        let blocks = self.0.take();
        drop(blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::Location;

    /// An `Rc` and so many words, to see that all of a closure arrives and none of it stays.
    fn carry<const WORDS: usize>(spare: &Spare, out: &Rc<Cell<usize>>) -> Once {
        let (out, words) = (
            Rc::clone(out),
            std::array::from_fn::<usize, WORDS, _>(|n| n + 1),
        );
        Once::new(spare, Location::caller(), move || {
            out.set(out.get() + words.iter().sum::<usize>());
        })
    }

    #[test]
    fn closures_of_any_size_arrive_whole() {
        let (spare, out) = (Spare::default(), Rc::default());
        for once in [
            carry::<0>(&spare, &out),
            carry::<1>(&spare, &out),
            carry::<4>(&spare, &out),
            carry::<5>(&spare, &out),
            carry::<100>(&spare, &out),
        ] {
            once.call();
            assert_eq!(once.state(), State::Called);
            once.call();
            assert!(!once.cancel());
            spare.keep(once);
        }
        assert_eq!(out.get(), 1 + 10 + 15 + 5050);
        assert_eq!(Rc::strong_count(&out), 1);
    }

    #[test]
    fn aligned_closures_are_boxed() {
        #[repr(align(64))]
        struct Aligned(u8);
        let (spare, out) = (Spare::default(), Rc::new(Cell::new(0)));
        let (value, result) = (Aligned(7), Rc::clone(&out));
        let once = Once::new(&spare, Location::caller(), move || {
            let value = &value;
            assert_eq!((&raw const *value).addr() % 64, 0);
            result.set(value.0);
        });
        once.call();
        assert_eq!(out.get(), 7);
    }

    #[test]
    fn cancelling_and_letting_go_drop_what_was_captured() {
        let (spare, out) = (Spare::default(), Rc::default());
        let once = carry::<2>(&spare, &out);
        assert!(once.cancel());
        assert_eq!(
            (once.state(), Rc::strong_count(&out)),
            (State::Cancelled, 1)
        );
        once.call();
        for make in [carry::<2>, carry::<20>] {
            let once = make(&spare, &out);
            assert_eq!(Rc::strong_count(&out), 2);
            drop(once);
            assert_eq!(Rc::strong_count(&out), 1);
        }
        assert_eq!(out.get(), 0);
    }

    #[test]
    fn only_blocks_that_nobody_shares_are_kept() {
        let (spare, out) = (Spare::default(), Rc::default());
        let (waiting, called) = (carry::<0>(&spare, &out), carry::<0>(&spare, &out));
        let handle = called.clone();
        called.call();
        spare.keep(waiting);
        spare.keep(called);
        assert!(spare.0.borrow().is_empty());
        spare.keep(handle);
        assert_eq!(spare.0.borrow().len(), 1);
        drop(carry::<0>(&spare, &out));
        assert!(spare.0.borrow().is_empty());
    }
}
