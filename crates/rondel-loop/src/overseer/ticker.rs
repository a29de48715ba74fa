//! A thread that moves counters now and then, so that a loop need not read the clock to see that time goes on.
//!
//! ```text
//!                 the loop goes on          a period, the loop runs: beat
//!     asleep ──────────────────────> awake <──┐
//!       ^  └── the thread waits        │  ────┘
//!       └──────────────────────────────┘ the loop has been waiting for some periods
//! ```
//!
//! It beats while a loop of the process runs, and sleeps while all wait: a program that does nothing is not woken.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::own_process::is_ours;

/// So many periods a loop may wait before it is taken to be idle.
const IDLE: u32 = 16;

/// One loop's counter, while it has one.
pub(crate) struct Ticker(Arc<Ticking>);

struct Ticking {
    beat: Arc<AtomicU32>,
    /// In nanoseconds.
    period: AtomicU64,
    /// Whether the loop waits, or does not run at all.
    waits: AtomicBool,
    /// Whether the thread has stopped beating for it.
    asleep: AtomicBool,
    /// For how many periods it has been waiting; the thread's own.
    idle: AtomicU32,
}

struct Ticked {
    /// Each with when it beat last.
    loops: Vec<(Arc<Ticking>, Instant)>,
    /// Whether the thread is there.
    begun: bool,
}

static TICKED: Mutex<Ticked> = Mutex::new(Ticked {
    loops: Vec::new(),
    begun: false,
});
static CHANGED: Condvar = Condvar::new();

fn ticked() -> MutexGuard<'static, Ticked> {
    TICKED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ticker {
    /// A counter that is moved every `period` while its loop runs. It begins asleep, and in the child of a fork stays so.
    pub(crate) fn new(period: Duration) -> Self {
        let ticking = Arc::new(Ticking {
            beat: Arc::default(),
            period: AtomicU64::new(nanoseconds(period)),
            waits: AtomicBool::new(true),
            asleep: AtomicBool::new(true),
            idle: AtomicU32::new(0),
        });
        if is_ours() {
            let own = Arc::clone(&ticking);
            ticked().loops.push((own, Instant::now()));
        }
        Self(ticking)
    }

    pub(crate) fn beat(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.0.beat)
    }

    pub(crate) fn period(&self) -> Duration {
        self.0.period()
    }

    pub(crate) fn set_period(&self, period: Duration) {
        self.0.period.store(nanoseconds(period), Ordering::Relaxed);
    }

    /// How often it has been moved.
    pub(crate) fn beats(&self) -> u32 {
        self.0.beat.load(Ordering::Relaxed)
    }

    /// The loop is about to wait.
    pub(crate) fn rest(&self) {
        self.0.waits.store(true, Ordering::Relaxed);
    }

    /// The loop goes on.
    pub(crate) fn go_on(&self) {
        // SeqCst, as in `fall_asleep`: either the thread sees that the loop goes on, or the loop that the thread is asleep.
        self.0.waits.store(false, Ordering::SeqCst);
        if self.0.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        if !is_ours() {
            return;
        }
        let mut ticked = ticked();
        self.0.idle.store(0, Ordering::Relaxed);
        self.0.asleep.store(false, Ordering::SeqCst);
        if !ticked.begun {
            let begun = thread::Builder::new().name("rondel-ticker".into());
            // Without a thread nothing beats: what is slow is noticed at the end of a turn, and not who.
            ticked.begun = begun.spawn(tick).is_ok();
        }
        CHANGED.notify_one();
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if is_ours() {
            let mut ticked = ticked();
            ticked
                .loops
                .retain(|(other, _)| !Arc::ptr_eq(other, &self.0));
            CHANGED.notify_one();
        }
    }
}

fn nanoseconds(period: Duration) -> u64 {
    u64::try_from(period.as_nanos()).unwrap_or(u64::MAX)
}

/// The thread.
fn tick() {
    let mut ticked = ticked();
    loop {
        if ticked.loops.is_empty() {
            ticked.begun = false;
            return;
        }
        let loops = ticked.loops.iter().map(|(ticking, _)| ticking);
        let period = loops
            .filter(|ticking| !ticking.fall_asleep())
            .map(|ticking| ticking.period())
            .min();
        ticked = match period {
            None => CHANGED.wait(ticked).unwrap_or_else(PoisonError::into_inner),
            Some(period) => {
                let (mut ticked, _) = CHANGED
                    .wait_timeout(ticked, period)
                    .unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                for (ticking, last) in &mut ticked.loops {
                    // Another loop's period may be shorter.
                    if now.saturating_duration_since(*last) >= ticking.period() {
                        *last = now;
                        ticking.beat();
                    }
                }
                ticked
            }
        };
    }
}

impl Ticking {
    fn period(&self) -> Duration {
        Duration::from_nanos(self.period.load(Ordering::Relaxed))
    }

    fn beat(&self) {
        if self.asleep.load(Ordering::Relaxed) {
            return;
        }
        self.beat.fetch_add(1, Ordering::Relaxed);
        if self.waits.load(Ordering::Relaxed) {
            self.idle.fetch_add(1, Ordering::Relaxed);
        } else {
            self.idle.store(0, Ordering::Relaxed);
        }
    }

    /// Whether it is asleep; it falls asleep if its loop has been waiting for long.
    fn fall_asleep(&self) -> bool {
        if self.asleep.load(Ordering::Relaxed) {
            return true;
        }
        if self.idle.load(Ordering::Relaxed) < IDLE {
            return false;
        }
        self.asleep.store(true, Ordering::SeqCst);
        if self.waits.load(Ordering::SeqCst) {
            return true;
        }
        // It went on meanwhile, and may not have seen it.
        self.asleep.store(false, Ordering::SeqCst);
        self.idle.store(0, Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_for(mut what: impl FnMut() -> bool) {
        while !what() {
            thread::yield_now();
        }
    }

    #[test]
    fn it_beats_while_the_loop_runs_and_sleeps_while_it_waits() {
        let ticker = Ticker::new(Duration::from_millis(1));
        assert!(ticker.0.asleep.load(Ordering::SeqCst), "nothing runs yet");
        for _ in 0..3 {
            let before = ticker.beats();
            ticker.go_on();
            wait_for(|| ticker.beats() > before + 2 * IDLE);
            assert!(!ticker.0.asleep.load(Ordering::SeqCst), "it runs");
            ticker.rest();
            wait_for(|| ticker.0.asleep.load(Ordering::SeqCst));
        }
    }

    #[test]
    fn every_loop_has_its_own() {
        let (one, other) = (
            Ticker::new(Duration::from_millis(1)),
            Ticker::new(Duration::from_millis(1)),
        );
        one.go_on();
        wait_for(|| one.beats() > 3);
        assert_eq!(other.beats(), 0);
        drop(one);
        other.go_on();
        wait_for(|| other.beats() > 3);
    }
}
