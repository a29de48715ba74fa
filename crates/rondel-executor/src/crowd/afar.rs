//! Wakes from other threads: the only part of a crowd that threads share.

use std::fmt;
use std::mem;
use std::sync::PoisonError;
use std::task::Waker;

#[cfg(rondel_loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(rondel_loom))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

/// What was woken elsewhere, until the owner looks.
///
/// Bounded by the number of members: each is here at most once, by its [`Mark`].
pub(super) struct Afar<K> {
    /// Whether a look is worth the lock.
    any: AtomicBool,
    state: Mutex<State<K>>,
}

struct State<K> {
    woken: Vec<K>,
    /// Taken by whoever wakes first; the owner puts it back when it takes what was woken.
    owner: Option<Waker>,
    retired: bool,
}

impl<K> Default for Afar<K> {
    fn default() -> Self {
        Self {
            any: AtomicBool::new(false),
            state: Mutex::new(State {
                woken: Vec::new(),
                owner: None,
                retired: false,
            }),
        }
    }
}

impl<K> Afar<K> {
    /// Notes a wake, on any thread. Whom it gives must be woken, after this has returned: a waker is foreign code.
    #[must_use]
    pub(super) fn push(&self, key: K) -> Option<Waker> {
        let mut state = self.lock();
        if state.retired {
            return None;
        }
        state.woken.push(key);
        // Release: with the owner's look. The lock orders the list itself.
        self.any.store(true, Ordering::Release);
        state.owner.take()
    }

    /// Whether something was woken since the last look. Misses nothing for good: whoever wakes after this look takes the
    /// owner's waker, and so the owner looks again.
    #[inline]
    pub(super) fn has_woken(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Takes what was woken, and leaves `owner` to be told of the next. Gives the waker that stood there to be dropped.
    pub(super) fn drain(&self, owner: Waker) -> (Vec<K>, Option<Waker>) {
        let mut state = self.lock();
        // Under the lock, so that it is never false while something is on the list.
        self.any.store(false, Ordering::Relaxed);
        let before = state.owner.replace(owner);
        (mem::take(&mut state.woken), before)
    }

    /// Nobody will look any more. Gives what was left, to be dropped.
    pub(super) fn retire(&self) -> (Vec<K>, Option<Waker>) {
        let mut state = self.lock();
        state.retired = true;
        (mem::take(&mut state.woken), state.owner.take())
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing foreign runs under the lock, so a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> fmt::Debug for Afar<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Afar")
            .field("any", &self.has_woken())
            .finish_non_exhaustive()
    }
}

/// Whether a member is on the list of [`Afar`].
pub(super) struct Mark(AtomicBool);

impl Default for Mark {
    fn default() -> Self {
        Self(AtomicBool::new(false))
    }
}

impl Mark {
    /// Sets it, before a push; `false` if it was set.
    pub(super) fn set(&self) -> bool {
        // AcqRel: with `clear`. If it is set already, what this thread did before is seen by the poll that the clearing leads to.
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Clears it, after the drain and before the member is polled.
    pub(super) fn clear(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mark")
            .field(&self.0.load(Ordering::Relaxed))
            .finish()
    }
}
