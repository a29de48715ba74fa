//! A waker that runs the test's code whenever it is cloned, woken or dropped.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::task::{RawWaker, RawWakerVTable, Waker};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum On {
    Clone,
    Wake,
    Drop,
}

struct Hook(Box<dyn Fn(On)>);

/// The waker must stay on this thread, which tests that use it see to: the futures they poll with it live here.
pub(crate) fn hooked_waker(hook: impl Fn(On) + 'static) -> Waker {
    let data = Rc::into_raw(Rc::new(Hook(Box::new(hook))));
    // SAFETY: the functions of the table keep the counts of the `Rc`: each waker is one of its strong references.
    unsafe { Waker::from_raw(RawWaker::new(data.cast(), &VTABLE)) }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// # Safety
/// `data` must come from `Rc::into_raw`, and its strong reference must not be given up meanwhile.
unsafe fn peek(data: *const ()) -> ManuallyDrop<Rc<Hook>> {
    // SAFETY: as the caller promises.
    ManuallyDrop::new(unsafe { Rc::from_raw(data.cast()) })
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is cloned is a strong reference.
    let hook = unsafe { peek(data) };
    (hook.0)(On::Clone);
    RawWaker::new(Rc::into_raw(Rc::clone(&hook)).cast(), &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker that is woken gives its strong reference up.
    let hook: Rc<Hook> = unsafe { Rc::from_raw(data.cast()) };
    (hook.0)(On::Wake);
    (hook.0)(On::Drop);
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker is a strong reference.
    let hook = unsafe { peek(data) };
    (hook.0)(On::Wake);
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker that is dropped gives its strong reference up.
    let hook: Rc<Hook> = unsafe { Rc::from_raw(data.cast()) };
    (hook.0)(On::Drop);
}
