//! How a task keeps its executor's core alive without paying for it.
//!
//! A task may outlive its executor: a waker in another thread's hands keeps the task's memory, and the schedule function
//! reads the core from there. An `Arc` in every task would do, at two atomic operations a task. Instead the tasks are
//! counted: plainly on the home thread, where nearly all end, atomically elsewhere. While the executor lives, its own `Arc`
//! stands for all of them; when it goes, it *settles*, and every claim still open becomes a reference of its own.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::core::{Core, Local};

/// Set in [`Claims::elsewhere`] once the executor has settled.
const SETTLED: usize = 1 << (usize::BITS - 1);

/// The part that other threads touch.
#[derive(Default)]
pub(crate) struct Claims {
    /// Claims given up on other threads before the executor settled, and whether it has.
    elsewhere: AtomicUsize,
}

/// The part that belongs to the home thread.
#[derive(Default)]
pub(crate) struct LocalClaims {
    /// Claims given up here. As many have been made as task numbers taken.
    given_up: Cell<u64>,
    settled: Cell<bool>,
}

/// A task's claim on its core.
pub(crate) struct Claim(NonNull<Core>);

// SAFETY: a claim gives `&Core`, which is `Sync`, and may take part in freeing the core, which is `Send`.
unsafe impl Send for Claim {}
// SAFETY: as above.
unsafe impl Sync for Claim {}

impl Claim {
    /// Made on the home thread, by an executor that has not settled or by somebody who holds an `Arc` of the core. With it
    /// comes the task's number.
    #[inline]
    pub(crate) fn new(core: &Arc<Core>, local: &Local) -> (Self, u64) {
        if local.claims.settled.get() {
            // Nobody stands for it any more: it gets a reference of its own at once.
            std::mem::forget(Arc::clone(core));
        }
        // From the `Arc` and not from a reference to what it holds: the counts, which lie beside that, are reached through it.
        // SAFETY: the content of an `Arc` is somewhere.
        let core = unsafe { NonNull::new_unchecked(Arc::as_ptr(core).cast_mut()) };
        (Self(core), local.take_id())
    }

    /// A reference that outlives the claim.
    pub(crate) fn to_arc(&self) -> Arc<Core> {
        // SAFETY: the pointer is that of an `Arc`'s content, which the claim keeps alive; `ManuallyDrop` gives back the
        // reference that this conjures up, and only the clone is kept.
        let claimed = ManuallyDrop::new(unsafe { Arc::from_raw(self.0.as_ptr()) });
        Arc::clone(&claimed)
    }
}

impl Deref for Claim {
    type Target = Core;

    #[inline]
    fn deref(&self) -> &Core {
        // SAFETY: the core lives as long as the claim is open: before the executor has settled by the executor's `Arc`,
        // after that by the reference the claim was given.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Claim {
    #[inline]
    fn drop(&mut self) {
        if let Some(local) = self.local.get()
            && !local.claims.settled.get()
        {
            local.claims.given_up.set(local.claims.given_up.get() + 1);
            return;
        }
        give_up_elsewhere(self);
    }
}

#[cold]
fn give_up_elsewhere(claim: &Claim) {
    // AcqRel: ordered with the executor's settling; whichever comes second knows of the first. If this is the first, the
    // core is not touched after it, since the executor may be gone right away.
    let before = claim.claims.elsewhere.fetch_add(1, Ordering::AcqRel);
    if before & SETTLED != 0 {
        // SAFETY: the executor has given this claim a reference when it settled (or `new` did), and the claim ends here.
        drop(unsafe { Arc::from_raw(claim.0.as_ptr()) });
    }
}

/// Turns every claim still open into a reference of its own. The executor does this last, on the home thread.
pub(crate) fn settle(core: &Arc<Core>, local: &Local) {
    if local.claims.settled.replace(true) {
        return;
    }
    // First a reference for each that may be open, then the mark, then those back that were given up meanwhile: no claim
    // ever sees the mark without having its reference.
    for _ in local.claims.given_up.get()..local.made() {
        std::mem::forget(Arc::clone(core));
    }
    let given_up = core.claims.elsewhere.fetch_or(SETTLED, Ordering::AcqRel);
    for _ in 0..given_up {
        // SAFETY: one of the references made above; its claim was given up before it could take it.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(core)) });
    }
}
