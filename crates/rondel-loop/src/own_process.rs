//! Whether this is the process that the threads of this crate belong to.

use std::sync::atomic::{AtomicU32, Ordering};

/// Whether this is the process that asked first. The child of a fork has copies of its locks, perhaps held by threads that it has
/// not.
pub(crate) fn is_ours() -> bool {
    static PROCESS: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id();
    let known = PROCESS.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed);
    known.is_ok() || known == Err(own)
}
