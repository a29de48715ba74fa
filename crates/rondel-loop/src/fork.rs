//! What becomes of a running loop in the child of a fork: it is not running there.
//!
//! asyncio does the same (`_running_loop` is kept with the number of its process). Here a handler of `pthread_atfork` forgets
//! the loop in the child, so that asking for the current one costs no look at the process.

#![allow(unsafe_code)]

use std::io;
use std::sync::OnceLock;

use rondel_executor::Spawner;

use crate::current;

/// From now on, children see no running loop. Called before a loop is made.
pub(crate) fn watch() -> io::Result<()> {
    static WATCHED: OnceLock<i32> = OnceLock::new();
    let refused = *WATCHED.get_or_init(|| {
        // SAFETY: the handler stays for as long as the program, being a function of it. It does only what is async-signal-safe:
        // it sets cells of this thread which were there before the fork, and neither allocates, locks nor drops anything.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) }
    });
    match refused {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Runs in the thread that has forked, the only one the child has.
extern "C" fn in_child() {
    if current::forget() {
        Spawner::forget_current();
    }
}
