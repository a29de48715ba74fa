//! Values that belong to one thread, behind handles that may travel.
//!
//! An executor's tasks, callbacks and queues are not `Send`. Wakers and remote handles are, and they point at the same
//! executor. What keeps the two apart is one comparison: [`HomeCell`] lets its content be seen on the thread that made
//! it and on no other. This file and [`LoopBound`](crate::LoopBound) are where that argument is made; everything above
//! relies on it through safe calls.

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};

/// The identity of a thread, never used again after the thread has ended.
///
/// A counter rather than the address of a thread-local: an address can be handed to a later thread, and would then make
/// a stranger look like the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId(u64);

impl ThreadId {
    /// The identity of the calling thread.
    ///
    /// ```
    /// use rondel_executor::ThreadId;
    ///
    /// let here = ThreadId::current();
    /// assert_eq!(here, ThreadId::current());
    /// let there = std::thread::spawn(ThreadId::current).join().unwrap();
    /// assert_ne!(here, there);
    /// ```
    #[inline]
    pub fn current() -> Self {
        let known = THREAD.with(Cell::get);
        if known != 0 {
            Self(known)
        } else {
            Self::assign()
        }
    }

    #[cold]
    fn assign() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness matters. 2^64 threads are out of reach.
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        THREAD.with(|known| known.set(id));
        Self(id)
    }
}

thread_local! {
    // Constant and without a destructor: one load relative to the thread pointer, readable at any point of a thread's life.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// A value that can be seen on the thread that made it, and carried by any.
///
/// [`get`](HomeCell::get) answers `None` elsewhere. Dropped elsewhere, the content is leaked rather than dropped on a
/// thread it does not belong to; whoever needs it dropped sends it home first, as [`LoopBound`](crate::LoopBound) does.
///
/// ```
/// use rondel_executor::HomeCell;
/// use std::{cell::Cell, sync::Arc};
///
/// let cell = Arc::new(HomeCell::new(Cell::new(1)));
/// cell.get().unwrap().set(2);
/// let away = Arc::clone(&cell);
/// std::thread::spawn(move || assert!(away.get().is_none())).join().unwrap();
/// assert_eq!(cell.get().unwrap().get(), 2);
/// ```
pub struct HomeCell<T> {
    home: ThreadId,
    value: ManuallyDrop<T>,
}

// SAFETY: moving the cell moves the bytes of `value` and nothing else. Every access to `value` compares thread ids
// first, ids are never reused, and a drop on another thread leaves `value` alone.
unsafe impl<T> Send for HomeCell<T> {}
// SAFETY: as above; a shared reference gives access to `value` on its own thread only, and what it gives, `&T`, cannot
// leave that thread unless `T: Sync`.
unsafe impl<T> Sync for HomeCell<T> {}

impl<T> HomeCell<T> {
    /// A cell whose home is the calling thread.
    pub fn new(value: T) -> Self {
        Self {
            home: ThreadId::current(),
            value: ManuallyDrop::new(value),
        }
    }

    /// The value, on its own thread; `None` on any other.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.is_home().then(|| &*self.value)
    }

    /// The value, on its own thread.
    ///
    /// # Safety
    /// The calling thread must be the one that made the cell.
    #[inline]
    pub(crate) unsafe fn get_at_home(&self) -> &T {
        debug_assert!(self.is_home(), "the caller is at home");
        &self.value
    }

    /// The value, mutably, on its own thread; `None` on any other.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        if self.is_home() {
            Some(&mut self.value)
        } else {
            None
        }
    }

    /// Whether the calling thread is the one that made the cell.
    #[inline]
    pub fn is_home(&self) -> bool {
        // An unnumbered thread has 0, which is nobody's home.
        THREAD.with(Cell::get) == self.home.0
    }

    /// The thread that made the cell.
    pub fn home(&self) -> ThreadId {
        self.home
    }

    /// Takes the value out, on its own thread.
    ///
    /// # Errors
    /// On any other thread the cell comes back unchanged.
    pub fn into_inner(self) -> Result<T, Self> {
        if !self.is_home() {
            return Err(self);
        }
        let mut cell = ManuallyDrop::new(self);
        // SAFETY: we are on the home thread, and `cell` is never used or dropped again, so the value is taken once.
        Ok(unsafe { ManuallyDrop::take(&mut cell.value) })
    }
}

impl<T> Drop for HomeCell<T> {
    fn drop(&mut self) {
        if self.is_home() {
            // SAFETY: the value is still there, since `into_inner` forgets the cell it takes from, and this is its thread.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}

// Not the content: showing it would need the home thread.
impl<T> fmt::Debug for HomeCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HomeCell")
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}
