//! A waker whose every operation runs the test's own code: cloning, waking, dropping.

use std::rc::Rc;
use std::task::{RawWaker, RawWakerVTable, Waker};

type Hook = Rc<dyn Fn(&'static str)>;

/// A waker that calls `hook` with "clone", "wake" and "drop". It must not leave this thread: futures polled with it belong to
/// loops of this thread.
pub(crate) fn prying_waker(hook: impl Fn(&'static str) + 'static) -> Waker {
    let hook: Hook = Rc::new(hook);
    // SAFETY: each waker owns one box with a hook, and the table's functions treat it so.
    unsafe { Waker::from_raw(raw(hook)) }
}

fn raw(hook: Hook) -> RawWaker {
    RawWaker::new(Box::into_raw(Box::new(hook)).cast(), &TABLE)
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// # Safety
/// `data` must be a waker's, and the waker must be alive.
unsafe fn hook(data: *const ()) -> Hook {
    // SAFETY: the waker's box, as the caller promises. A share of our own: the waker may go while the hook runs.
    Rc::clone(unsafe { &*data.cast::<Hook>() })
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: called for a waker that is alive.
    let hook = unsafe { hook(data) };
    hook("clone");
    raw(hook)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: waking by value ends the waker, so its box is ours.
    let hook = unsafe { Box::from_raw(data.cast::<Hook>().cast_mut()) };
    hook("wake");
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: called for a waker that is alive.
    let hook = unsafe { hook(data) };
    hook("wake");
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker ends here, so its box is ours.
    let hook = unsafe { Box::from_raw(data.cast::<Hook>().cast_mut()) };
    hook("drop");
}
