//! Children without a loop: threads that wait for them, so that none stays a zombie.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rondel_loop::Outstanding;

use crate::process::exit::Exit;

/// Waiting needs next to nothing.
const STACK: usize = 64 * 1024;

/// Those for whom no thread could be started; looked after whenever a child is started.
static LEFT: Mutex<Vec<Arc<Exit>>> = Mutex::new(Vec::new());

/// Has a thread wait for the child's end, and reap it.
pub(super) fn wait_in_thread(exit: Arc<Exit>, outstanding: Option<Outstanding>) -> io::Result<()> {
    let name = format!("rondel-wait-{}", exit.id());
    thread::Builder::new()
        .name(name)
        .stack_size(STACK)
        .spawn(move || {
            exit.block();
            exit.look();
            // Only now may a virtual clock go on: whoever waits has been woken.
            drop(outstanding);
        })?;
    Ok(())
}

/// The child's loop is gone.
pub(super) fn adopt(exit: Arc<Exit>) {
    if exit.look().is_some() {
        return;
    }
    if wait_in_thread(Arc::clone(&exit), None).is_err() {
        LEFT.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(exit);
    }
}

/// Reaps those who have ended meanwhile.
pub(super) fn look_after() {
    let left = std::mem::take(&mut *LEFT.lock().unwrap_or_else(PoisonError::into_inner));
    for exit in left {
        adopt(exit);
    }
}
