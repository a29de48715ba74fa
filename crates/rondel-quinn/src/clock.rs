//! The loop's clock, also asked from other threads.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rondel_executor::LoopBound;
use rondel_loop::LocalLoop;

/// Tells the loop's time. Elsewhere, where the loop cannot be asked, it goes on from the last answer at the system's pace.
///
/// Connections are made, closed and dropped on other threads as well, and each of these asks for the time. On the system's clock the
/// answers agree; a manual clock is overtaken by the real time since it was last asked at home.
#[derive(Debug)]
pub(crate) struct Clock {
    last: Mutex<Reading>,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    of_loop: Instant,
    of_system: Instant,
}

impl Reading {
    fn take(local: &LocalLoop) -> Self {
        Self {
            of_loop: local.time(),
            of_system: Instant::now(),
        }
    }
}

impl Clock {
    pub(crate) fn new(local: &LocalLoop) -> Self {
        Self {
            last: Mutex::new(Reading::take(local)),
        }
    }

    pub(crate) fn now(&self, local: &LoopBound<LocalLoop>) -> Instant {
        // Nothing panics under the lock.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match local.try_get() {
            Ok(local) => {
                *last = Reading::take(local);
                last.of_loop
            }
            Err(_) => last.of_loop + last.of_system.elapsed(),
        }
    }
}
