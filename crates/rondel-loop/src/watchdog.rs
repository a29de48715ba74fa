//! The watchdog: says that a loop is blocked while it is, and by what.

pub(crate) mod options;
pub(crate) mod stack;

use std::any::Any;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::overseer::published::{Published, Seen};
use crate::own_process::is_ours;
use crate::report::{Level, report};
use crate::state::{LocalLoop, State};
use options::{Blocked, Watchdog};
use stack::{Stack, ThreadNumber};

/// How often a loop that runs is looked at, as a part of its limit; and the bounds of that.
const LOOKS: u32 = 4;
const OFTEN: Duration = Duration::from_millis(2);
const SELDOM: Duration = Duration::from_millis(250);
/// For so long the same place is not reported again by another blockage.
const QUIET: Duration = Duration::from_secs(10);

impl LocalLoop {
    /// Sets a watchdog, which reports, while it is so, that one task or callback keeps the loop from going on; `None`: none.
    /// Default: one in debug builds, none in release builds; `RONDEL_WATCHDOG=1` and `RONDEL_WATCHDOG=0` decide for both, and
    /// `RONDEL_WATCHDOG=stack` sets one that shows the [stack](Watchdog::stack), too.
    ///
    /// One thread, `rondel-watchdog`, looks at all loops of the process now and then; it begins when the first of them runs, and
    /// ends with the last. For a loop it costs a few stores an entry, no system call and no reading of the clock. asyncio
    /// has only [debug mode](LocalLoop::set_debug), which reports when it is over.
    ///
    /// In the child of a fork there is none.
    pub fn set_watchdog(&self, watchdog: Option<Watchdog>) {
        let state = self.state();
        let wanted = watchdog.is_some();
        let before = state.watchdog.replace(watchdog);
        drop(before);
        drop(state.leash.take());
        if state.running.get() {
            begin(state);
        }
        if !wanted {
            state.change_modes(|modes| modes.watchdog = false);
        }
    }
}

/// The loop begins to run: has it watched, if that is wanted and not done yet.
pub(crate) fn begin(state: &Rc<State>) {
    if state.leash.borrow().is_some() {
        return;
    }
    let Some(watchdog) = state.watchdog.borrow().clone() else {
        return;
    };
    state.change_modes(|modes| modes.watchdog = true);
    let published = Arc::clone(&state.overseer().published);
    let leash = Leash::put_on(published, watchdog);
    *state.leash.borrow_mut() = leash.map(|leash| Box::new(leash) as Box<dyn Any>);
}

/// Keeps a loop watched.
struct Leash(Arc<Watched>);

/// A loop in the eyes of the watchdog.
struct Watched {
    published: Arc<Published>,
    watchdog: Watchdog,
    thread: Option<String>,
    number: ThreadNumber,
    track: Mutex<Track>,
}

/// What the watchdog remembers of a loop.
#[derive(Default)]
struct Track {
    /// What it saw running last, and when it first did.
    seen: Option<(u64, Instant)>,
    /// For how long that must have been running to be reported (again).
    next: Duration,
    reported: Option<(&'static Location<'static>, Instant)>,
    unreported: u64,
}

/// All that are watched.
struct Watches {
    watched: Vec<Arc<Watched>>,
    /// Whether the thread is there.
    awake: bool,
}

static WATCHES: Mutex<Watches> = Mutex::new(Watches {
    watched: Vec::new(),
    awake: false,
});
static CHANGED: Condvar = Condvar::new();

fn watches() -> MutexGuard<'static, Watches> {
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leash {
    /// `None` if there can be no watchdog: in the child of a fork, or if the system has no thread left.
    fn put_on(published: Arc<Published>, watchdog: Watchdog) -> Option<Self> {
        if !is_ours() {
            return None;
        }
        let watched = Arc::new(Watched {
            published,
            watchdog,
            thread: thread::current().name().map(ToOwned::to_owned),
            number: ThreadNumber::current(),
            track: Mutex::default(),
        });
        let mut watches = watches();
        watches.watched.push(Arc::clone(&watched));
        if !watches.awake {
            let begun = thread::Builder::new()
                .name("rondel-watchdog".into())
                .spawn(watch);
            watches.awake = begun.is_ok();
        }
        CHANGED.notify_one();
        Some(Self(watched))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if is_ours() {
            let mut watches = watches();
            watches
                .watched
                .retain(|watched| !Arc::ptr_eq(watched, &self.0));
            CHANGED.notify_one();
        }
    }
}

/// The watchdog's thread.
fn watch() {
    let mut idle = 0_u32;
    loop {
        let guard = watches();
        let watched = guard.watched.clone();
        let Some(limit) = watched.iter().map(|watched| watched.watchdog.limit).min() else {
            let mut guard = guard;
            guard.awake = false;
            return;
        };
        drop(guard);
        // Not `any`, which would stop at the first.
        let busy = watched
            .iter()
            .filter(|watched| watched.look(Instant::now()))
            .count();
        idle = if busy == 0 { idle.saturating_add(1) } else { 0 };
        // A process that does nothing is not to be woken all the time.
        let pause = if idle > LOOKS * 2 {
            limit.clamp(OFTEN, SELDOM * LOOKS)
        } else {
            (limit / LOOKS).clamp(OFTEN, SELDOM)
        };
        drop(watched);
        let before = Instant::now();
        let guard = watches();
        if !guard.watched.is_empty() {
            drop(CHANGED.wait_timeout(guard, pause));
        }
        if before.elapsed() > pause * 4 + limit {
            // The whole process was stopped, or the machine is overloaded: that is nobody's fault.
            for watched in &watches().watched {
                watched.track().seen = None;
            }
        }
    }
}

impl Watched {
    fn track(&self) -> MutexGuard<'_, Track> {
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks once, and reports; whether the loop was doing something.
    fn look(&self, now: Instant) -> bool {
        let Some(seen) = self.published.look() else {
            self.track().seen = None;
            return false;
        };
        if let Some(mut blocked) = self.judge(&seen, now) {
            if self.watchdog.stack {
                blocked.stack = Some(self.stack(&seen));
            }
            self.report(&blocked);
        }
        true
    }

    fn judge(&self, seen: &Seen, now: Instant) -> Option<Blocked> {
        let mut track = self.track();
        let since = match track.seen {
            Some((turn, since)) if turn == seen.turn => since,
            _ => {
                track.seen = Some((seen.turn, now));
                track.next = self.watchdog.limit;
                return None;
            }
        };
        let for_at_least = now.saturating_duration_since(since);
        if for_at_least < track.next {
            return None;
        }
        let first = track.next == self.watchdog.limit;
        // After one second, after two, after four …
        track.next = for_at_least * 2;
        let lately = track
            .reported
            .is_some_and(|(site, at)| site == seen.site && now.duration_since(at) < QUIET);
        if first && lately {
            track.unreported += 1;
            return None;
        }
        track.reported = Some((seen.site, now));
        Some(Blocked {
            thread: self.thread.clone(),
            task: seen.task_name(),
            task_id: seen.task,
            site: seen.site,
            for_at_least,
            unreported: std::mem::take(&mut track.unreported),
            stack: None,
        })
    }

    /// The stack of what blocks the loop.
    fn stack(&self, seen: &Seen) -> Stack {
        let stack = Stack::of(self.number);
        // Looked at again: else it may be that of whatever ran next.
        match self.published.look() {
            Some(now) if now.turn == seen.turn => stack,
            _ => Stack::none("the loop has gone on meanwhile".to_owned()),
        }
    }

    fn report(&self, blocked: &Blocked) {
        match &self.watchdog.on_blocked {
            Some(report) => {
                // Nobody to tell: the loop is blocked, and this thread is ours.
                let _ = catch_unwind(AssertUnwindSafe(|| report(blocked)));
            }
            None => report(Level::Warning, blocked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(limit: Duration) -> Watched {
        Watched {
            published: Arc::default(),
            watchdog: Watchdog::new().limit(limit),
            thread: None,
            number: ThreadNumber::current(),
            track: Mutex::default(),
        }
    }

    fn seen(turn: u64, site: &'static Location<'static>) -> Seen {
        Seen {
            turn,
            task: Some(7),
            site,
            name: None,
        }
    }

    #[test]
    fn a_blockage_is_reported_after_the_limit_then_ever_more_seldom() {
        let dog = watched(Duration::from_secs(1));
        let (start, here) = (Instant::now(), Location::caller());
        let after = |turn, seconds| {
            dog.judge(&seen(turn, here), start + Duration::from_secs(seconds))
                .map(|blocked| blocked.for_at_least.as_secs())
        };
        let told: Vec<_> = (0..10).filter_map(|second| after(1, second)).collect();
        assert_eq!(told, [1, 2, 4, 8]);
        assert_eq!(after(3, 11), None, "another entry, seen for the first time");
    }

    #[test]
    fn the_same_place_is_not_reported_all_the_time() {
        let dog = watched(Duration::from_secs(1));
        let (start, here, there) = (Instant::now(), Location::caller(), Location::caller());
        let block = |turn, site, second| {
            let begin = start + Duration::from_secs(second);
            assert!(dog.judge(&seen(turn, site), begin).is_none());
            dog.judge(&seen(turn, site), begin + Duration::from_secs(1))
        };
        assert!(block(1, here, 0).is_some());
        assert!(block(3, here, 2).is_none());
        assert!(block(5, here, 4).is_none());
        let again = block(7, here, 20).unwrap();
        assert_eq!(again.unreported, 2);
        assert!(again.to_string().ends_with("(it was 2 more times lately)"));
        assert!(block(9, there, 22).is_some(), "another place");
    }

    #[test]
    fn entries_that_come_and_go_are_not_blockages() {
        let dog = watched(Duration::from_secs(1));
        let (start, here) = (Instant::now(), Location::caller());
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            assert!(dog.judge(&seen(2 * second + 1, here), now).is_none());
        }
    }
}
