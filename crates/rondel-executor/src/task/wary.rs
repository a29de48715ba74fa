//! The wakers that tasks are polled with while late wakes are told of: one that borrows, and the lasting one that its clones are.

#![allow(
    unsafe_code,
    reason = "a waker that borrows from the poll that it is passed to"
)]

use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::context;
use crate::core::Local;
use crate::late_wake::{LateWake, LateWaker, Watch};
use crate::task::header::Header;
use crate::task::id::TaskId;

/// The waker to poll the task with that runs, if it has one that others have been cloned from: whoever has such a clone sees that
/// it is the same.
#[inline]
pub(super) fn kept(header: &Header, local: &Local) -> Option<Waker> {
    if !header.may_have_waker() {
        return None;
    }
    let late = local
        .extras(header, |extras| extras.late.clone())
        .flatten()?;
    let hooks = local.hooks.borrow();
    let watch = hooks.late_wakes.as_ref()?;
    late.is_watched_by(watch).then(|| Waker::from(late))
}

/// The same for one that has none yet: it borrows the task's own, and is lent out for the time of the poll.
///
/// # Safety
/// It must not be used once `inner` is gone.
#[inline]
pub(super) unsafe fn passed(inner: &Waker) -> ManuallyDrop<Waker> {
    let raw = RawWaker::new(ptr::from_ref(inner).cast(), &PASSED);
    // SAFETY: each function of the table takes the data for a reference to a waker, and the caller vouches that it is there, on
    // whatever thread they are called.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}

static PASSED: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: see `passed`.
        let inner = unsafe { inner(data) };
        let raw = ManuallyDrop::new(lasting(inner));
        RawWaker::new(raw.data(), raw.vtable())
    },
    // Owned by nobody but us, it is neither woken by value nor dropped.
    wake_passed,
    wake_passed,
    |_| {},
);

fn wake_passed(data: *const ()) {
    // SAFETY: see `passed`.
    let inner = unsafe { inner(data) };
    // The executor is open: it is polling this very task.
    inner.wake_by_ref();
}

/// # Safety
/// `data` must be what `passed` made its waker of, and that one must be there.
#[inline]
unsafe fn inner<'a>(data: *const ()) -> &'a Waker {
    // SAFETY: the caller vouches for it.
    unsafe { &*data.cast() }
}

/// A waker for after the poll. From any thread: the reference to the waker may be lent to another one.
fn lasting(inner: &Waker) -> Waker {
    let kept = context::with_task(|task| {
        // Only at home it is known who watches, and whose waker it is: that of the task that runs.
        let header = task?;
        let local = header.home.local.get()?;
        let watch = local.hooks.borrow().late_wakes.clone()?;
        let kept = local.extras(header, |extras| extras.late.clone()).flatten();
        let kept = kept.filter(|late| late.is_watched_by(&watch));
        Some(kept.unwrap_or_else(|| keep(header, local, watch, inner)))
    });
    match kept {
        Some(late) => Waker::from(late),
        None => inner.clone(),
    }
}

/// Makes the waker that a task's wakers are clones of, and keeps it for the next time.
#[cold]
fn keep(header: &Header, local: &Local, watch: Arc<Watch>, inner: &Waker) -> Arc<LateWaker> {
    let name = local.extras(header, |extras| extras.name.clone()).flatten();
    let about = LateWake {
        task: TaskId(header.id()),
        site: header.site,
        name,
    };
    let late = Arc::new(LateWaker::new(inner.clone(), about, watch));
    let own = Arc::clone(&late);
    header.note_waker();
    let before = local.with_extras(header, |extras| extras.late.replace(own));
    // Not under the borrow: a waker goes with it.
    drop(before);
    late
}
