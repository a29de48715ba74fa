//! The loop that runs here, for what cannot do without.

use rondel_loop::LocalLoop;

/// The loop that runs on this thread.
///
/// # Panics
/// If there is none.
#[track_caller]
pub(crate) fn here(call: &str) -> LocalLoop {
    match LocalLoop::current() {
        Ok(local) => local,
        Err(error) => panic!("{call}: {error}"),
    }
}
