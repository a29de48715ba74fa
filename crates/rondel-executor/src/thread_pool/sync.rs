//! Where threads meet: the standard library's types, or loom's when the pool is model-checked.
//!
//! `Arc` is the standard one in both cases: it is not what the models check, and loom's does not hold trait objects.

#[cfg(rondel_loom)]
pub(super) use loom::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
#[cfg(not(rondel_loom))]
pub(super) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::Duration;

/// Locks. Nothing that can panic runs under the pool's locks, so a poisoned one is as good as any.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Parks the thread, for `limit` at most if there is one. May return early.
pub(super) fn park(limit: Option<Duration>) {
    match limit {
        // Time does not pass in a model.
        #[cfg(not(rondel_loom))]
        Some(limit) => thread::park_timeout(limit),
        _ => thread::park(),
    }
}

/// Runs foreign code whose panic has nowhere to go: a waker, a guard's destructor, a hook.
pub(super) fn contain(foreign: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) {
        // Its destructor is foreign code, too, and must not end the thread either.
        std::mem::forget(payload);
    }
}
