//! No system at all.

use crate::{Bell, Events, Interest, Key, Mode, Notifier, Selector, SelectorError, Wait};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A selector without descriptors whose clock jumps to the next deadline.
///
/// A program of timers runs on it in no time at all, always in the same order.
/// Time passes in [`wait`](Selector::wait) only: with a deadline, nothing
/// notified and nothing `outstanding`, [`now`](Selector::now) is the deadline at
/// once. With work outstanding it stands still until somebody notifies, so that
/// what other threads do takes no simulated time. [`Wait::Forever`] blocks until
/// somebody notifies, in either case.
///
/// Its clock starts at the real time of its making. Registering a descriptor is an
/// [`Unsupported`](io::ErrorKind::Unsupported) error: for sockets under a clock of
/// your own, see [`Clocked`](crate::Clocked).
///
/// ```
/// use rondel_poll::{Events, Selector, Virtual, Wait};
/// use std::time::Duration;
///
/// let selector = Virtual::new();
/// let next_year = selector.now() + Duration::from_secs(365 * 24 * 3600);
/// selector.wait(&mut Events::new(), Wait::Until(next_year), false)?;
/// assert_eq!(selector.now(), next_year);
/// assert_eq!(selector.elapsed().as_secs(), 31_536_000);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Virtual {
    start: Instant,
    now: Cell<Instant>,
    notifier: Notifier,
    bell: Arc<CondvarBell>,
}

impl Virtual {
    /// A selector on which no time has passed yet.
    pub fn new() -> Self {
        let start = Instant::now();
        let bell = Arc::<CondvarBell>::default();
        Self {
            start,
            now: Cell::new(start),
            notifier: Notifier::new(Arc::clone(&bell) as Arc<dyn Bell>),
            bell,
        }
    }

    /// How much simulated time has passed.
    pub fn elapsed(&self) -> Duration {
        self.now.get().saturating_duration_since(self.start)
    }

    fn block(&self) {
        // A ring for an earlier sleep that ended otherwise would only cost a
        // turn. It must go before this one starts, not after: then a ring
        // could already be for this one.
        self.bell.silence();
        if self.notifier.fall_asleep() {
            self.bell.listen();
        }
    }
}

impl Default for Virtual {
    fn default() -> Self {
        Self::new()
    }
}

impl Selector for Virtual {
    fn register(&self, source: Rc<OwnedFd>, _interest: Interest, _mode: Mode) -> io::Result<Key> {
        Err(SelectorError::refused(
            "register with the virtual selector",
            source.as_raw_fd(),
            io::ErrorKind::Unsupported,
            "it simulates time and has no descriptors; a real selector under a manual clock has both",
        ))
    }

    fn modify(&self, key: Key, _interest: Interest) -> io::Result<()> {
        Err(SelectorError::unknown_key("change the interest of", key))
    }

    fn deregister(&self, key: Key) -> io::Result<()> {
        Err(SelectorError::unknown_key(
            "deregister from the virtual selector",
            key,
        ))
    }

    fn needs_rearm(&self) -> bool {
        false
    }

    fn reports_read_closed(&self) -> bool {
        false
    }

    fn wait(&self, events: &mut Events, wait: Wait, outstanding: bool) -> io::Result<()> {
        events.clear();
        match wait {
            Wait::Poll => {}
            Wait::Until(deadline) if deadline <= self.now.get() => {}
            Wait::Until(deadline) if !outstanding => {
                // News goes first: it may bring an earlier deadline.
                if !self.notifier.wake_up() {
                    self.now.set(deadline);
                }
            }
            Wait::Until(_) | Wait::Forever => self.block(),
        }
        self.notifier.wake_up();
        Ok(())
    }

    fn now(&self) -> Instant {
        self.now.get()
    }

    fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    fn is_virtual(&self) -> bool {
        true
    }
}

#[derive(Debug, Default)]
struct CondvarBell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl CondvarBell {
    fn silence(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn listen(&self) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.heard
                .wait_while(rung, |rung| !*rung)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Bell for CondvarBell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_one();
    }
}
