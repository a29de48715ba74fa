//! Which cores a thread runs on.

use std::io;

/// Has this thread, and those that it starts, keep to the core that is number `place` of those it may use; again from the first
/// behind the last.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn keep_to(place: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let allowed = sched_getaffinity(None)?;
    let cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let mut only = CpuSet::new();
    // A thread that runs is allowed somewhere.
    if let Some(core) = cores.cycle().nth(place) {
        only.set(core);
        sched_setaffinity(None, &only)?;
    }
    Ok(())
}

/// There is no portable way.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn keep_to(_: usize) -> io::Result<()> {
    Ok(())
}
