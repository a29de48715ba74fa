//! Who looks over the loop's shoulder: times what runs for debug mode and metrics, and publishes it for the watchdog.

pub(crate) mod published;
mod ticker;

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rondel_executor::{Callback, Observer, Pulse, Running, Spawner, Took};

use crate::metrics::histogram::Histogram;
use crate::notice::Notice;
use crate::own_process::is_ours;
use published::Published;
use ticker::Ticker;

/// Below this, what is slow is too short for a ticker to see.
const EXACTLY_BELOW: Duration = Duration::from_millis(50);
/// How often the ticker beats within the time from which on something is slow; and at most how seldom.
const BEATS: u32 = 8;
const SELDOM: Duration = Duration::from_millis(500);

/// What a loop wants to have watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modes {
    /// Report what is slow.
    pub(crate) debug: bool,
    /// Keep accounts of tasks, and histograms.
    pub(crate) accounts: bool,
    /// Let the watchdog see what runs.
    pub(crate) watchdog: bool,
}

impl Modes {
    /// Whether times are of interest.
    pub(crate) const fn timed(self) -> bool {
        self.debug || self.accounts
    }

    /// Whether the clock is read after each entry, for accounts, or because what counts as slow is short.
    pub(crate) fn exact(self, slow: Duration) -> bool {
        self.accounts || (self.debug && (slow < EXACTLY_BELOW || !is_ours()))
    }

    /// Whether somebody is told of each entry.
    pub(crate) fn observed(self, slow: Duration) -> bool {
        self.watchdog || self.exact(slow)
    }

    /// Whether a ticker says when the clock is worth reading.
    pub(crate) fn ticked(self, slow: Duration) -> bool {
        self.debug && !self.exact(slow)
    }
}

/// The observer of a loop's executor, while one of its modes is on.
pub(crate) struct Overseer {
    /// Tells of what was noticed.
    tell: Box<dyn Fn(&Notice)>,
    /// From when on something counts as slow.
    slow: Rc<Cell<Duration>>,
    modes: Cell<Modes>,
    /// Whether the clock is read after each entry.
    exact: Cell<bool>,
    ticker: RefCell<Option<Ticker>>,
    /// When the loop began to look around.
    looked: Cell<Option<Instant>>,
    /// What its counter stood at when the clock was read last.
    beats: Cell<u32>,
    pub(crate) published: Arc<Published>,
    running: RefCell<Option<Running>>,
    began: Cell<Option<Instant>>,
    /// When the clock was read last. Exactly: when the last entry ended, and the next one begins, unless the loop has looked around
    /// in between.
    ended: Cell<Option<Instant>>,
    probe: Rc<Probe>,
    /// Called before each entry until it is taken away: who wants to know of a loop that has not looked around yet.
    before_entry: RefCell<Option<BeforeEntry>>,
    expects: Cell<bool>,
    pub(crate) times: RefCell<Times>,
}

pub(crate) type BeforeEntry = Rc<dyn Fn()>;

/// What has been measured so far.
#[derive(Clone, Default)]
pub(crate) struct Times {
    /// How long entries ran.
    pub(crate) entries: Histogram,
    /// How long what was ready waited for its turn.
    pub(crate) lag: Histogram,
    /// How long the loop ran between two looks around.
    pub(crate) turns: Histogram,
    pub(crate) turn_began: Option<Instant>,
}

impl Overseer {
    pub(crate) fn new(slow: Rc<Cell<Duration>>, tell: impl Fn(&Notice) + 'static) -> Rc<Self> {
        Rc::new_cyclic(|own| Self {
            tell: Box::new(tell),
            slow,
            modes: Cell::default(),
            exact: Cell::new(false),
            ticker: RefCell::default(),
            looked: Cell::new(None),
            beats: Cell::new(0),
            published: Arc::default(),
            running: RefCell::default(),
            began: Cell::new(None),
            ended: Cell::new(None),
            probe: Rc::new(Probe {
                overseer: own.clone(),
                queued: Cell::new(None),
                behind: Cell::new(0),
                explained: Cell::new(Duration::ZERO),
            }),
            before_entry: RefCell::default(),
            expects: Cell::new(false),
            times: RefCell::default(),
        })
    }

    /// Has something called before each entry; `None`: nothing any more.
    pub(crate) fn set_before_entry(&self, call: Option<BeforeEntry>) {
        self.expects.set(call.is_some());
        let before = self.before_entry.replace(call);
        drop(before);
    }

    #[cold]
    fn call_before_entry(&self) {
        let call = self.before_entry.borrow().clone();
        if let Some(call) = call {
            call();
        }
        // What it took is nobody's fault.
        if self.exact.get() {
            self.ended.set(None);
        } else {
            self.read_clock();
        }
    }

    /// Sets what is wanted; gives the pulse for the executor, if there is to be one.
    pub(crate) fn set_modes(self: &Rc<Self>, modes: Modes) -> Option<Pulse> {
        let slow = self.slow.get();
        self.modes.set(modes);
        self.exact.set(modes.exact(slow));
        self.ended.set(None);
        if !modes.timed() {
            self.times.borrow_mut().turn_began = None;
        }
        if !modes.ticked(slow) {
            drop(self.ticker.take());
            return None;
        }
        let period = (slow / BEATS).min(SELDOM);
        let mut ticker = self.ticker.borrow_mut();
        let ticker = ticker.get_or_insert_with(|| Ticker::new(period));
        ticker.set_period(period);
        let own = Rc::downgrade(self);
        Some(Pulse::new(ticker.beat(), move |ran| {
            if let Some(overseer) = own.upgrade() {
                overseer.time_went_on(Some(ran));
            }
        }))
    }

    /// The loop begins to run.
    pub(crate) fn begin_run(&self) {
        if self.ticker.borrow().is_some() {
            self.read_clock();
        }
    }

    /// The loop does not run any more.
    pub(crate) fn end_run(&self) {
        if self.ticker.borrow().is_some() {
            self.end_turn(Instant::now());
        }
    }

    /// The loop is about to look around.
    pub(crate) fn before_look(&self) {
        let now = Instant::now();
        let mut times = self.times.borrow_mut();
        if let Some(began) = times.turn_began.take() {
            times.turns.record(now.saturating_duration_since(began));
        }
        drop(times);
        self.looked.set(Some(now));
        self.end_turn(now);
    }

    fn end_turn(&self, now: Instant) {
        match &*self.ticker.borrow() {
            Some(ticker) => ticker.rest(),
            None => return,
        }
        let read = self.ended.get();
        if read.is_some_and(|read| now.saturating_duration_since(read) >= self.slow.get()) {
            // It was not the ticker who said so.
            self.time_went_on(None);
            // To say so took its time, and the clock was read.
            self.looked.set(None);
            if let Some(ticker) = &*self.ticker.borrow() {
                ticker.rest();
            }
        }
    }

    /// The loop has looked around, and goes on with what is ready.
    /// `at_once`: it has not waited, nor asked the system.
    pub(crate) fn after_look(&self, spawner: &Spawner, at_once: bool) {
        let looked = self.looked.take().filter(|_| at_once);
        let now = match looked {
            Some(now) => self.go_on_at(now),
            None => self.read_clock(),
        };
        self.times.borrow_mut().turn_began = Some(now);
        let ready = spawner.ready_len();
        if ready > 0 && self.probe.queued.get().is_none() {
            self.probe.queued.set(Some(now));
            self.probe.behind.set(ready);
            self.probe.explained.set(Duration::ZERO);
            spawner.push(self.probe.clone());
        }
    }

    /// Whether an entry of its own stands in the ready queue.
    pub(crate) fn measures_lag(&self) -> bool {
        self.probe.queued.get().is_some()
    }

    /// So long the loop has stood still for somebody who looks at it: that is not its lag.
    pub(crate) fn excuse(&self, time: Duration) {
        let queued = self.probe.queued.get();
        self.probe
            .queued
            .set(queued.and_then(|queued| queued.checked_add(time)));
    }

    fn read_clock(&self) -> Instant {
        self.go_on_at(Instant::now())
    }

    fn go_on_at(&self, now: Instant) -> Instant {
        if let Some(ticker) = &*self.ticker.borrow() {
            ticker.go_on();
            self.beats.set(ticker.beats());
        }
        self.ended.set(Some(now));
        now
    }

    /// By the ticker, time has gone on since the clock was read last: while this ran, or, at the end of a turn, without the
    /// ticker's having said so.
    fn time_went_on(&self, ran: Option<&Running>) {
        let Some((period, beats)) = self.ticker.borrow().as_ref().map(|ticker| {
            let beats = ticker.beats().wrapping_sub(self.beats.get());
            (ticker.period(), beats)
        }) else {
            return;
        };
        let before = self.ended.get();
        let took = before.map(|before| self.read_clock().saturating_duration_since(before));
        let limit = self.slow.get();
        let Some(took) = took.filter(|took| *took >= limit) else {
            return;
        };
        // For so long at least this ran. A ticker that was held up itself may have missed something before it: if that cannot
        // have been slow, or was the lesser part, it is this one.
        let surely = period.saturating_mul(beats.saturating_sub(1));
        let others = took.saturating_sub(surely);
        match ran {
            Some(ran) if others < limit || others <= surely => {
                self.report_slow(ran.clone(), took);
            }
            last => {
                let explained = self.probe.explained.get();
                self.probe.explained.set(explained + took);
                let last = last.cloned();
                (self.tell)(&Notice::SlowTurn { took, last, limit });
            }
        }
        self.read_clock();
    }

    fn report_slow(&self, entry: Running, took: Duration) {
        let limit = self.slow.get();
        if took < limit {
            return;
        }
        let explained = self.probe.explained.get();
        self.probe.explained.set(explained + took);
        (self.tell)(&Notice::Slow { entry, took, limit });
        // What the handler took is nobody's fault.
        self.ended.set(None);
    }

    fn report_crowded(&self, waited: Duration, behind: usize) {
        let limit = self.slow.get();
        if waited >= limit && limit > Duration::ZERO {
            (self.tell)(&Notice::Crowded {
                waited,
                behind,
                limit,
            });
            if self.exact.get() {
                self.ended.set(None);
            } else {
                self.read_clock();
            }
        }
    }
}

impl Observer for Overseer {
    fn begin(&self, entry: &Running) {
        self.published.begin(entry);
        if self.expects.get() {
            self.call_before_entry();
        }
        if self.exact.get() {
            self.began
                .set(Some(self.ended.take().unwrap_or_else(Instant::now)));
            if self.modes.get().debug {
                self.running.replace(Some(entry.clone()));
            }
        }
    }

    fn end(&self) -> Option<Took> {
        self.published.end();
        let since = self.began.take()?;
        let now = Instant::now();
        let time = now.saturating_duration_since(since);
        self.ended.set(Some(now));
        self.times.borrow_mut().entries.record(time);
        let running = self.running.take();
        if let Some(entry) = running {
            self.report_slow(entry, time);
        }
        Some(Took { since, time })
    }

    fn keeps_accounts(&self) -> bool {
        self.modes.get().accounts
    }
}

/// An entry of the ready queue whose wait for its turn is measured.
struct Probe {
    overseer: Weak<Overseer>,
    queued: Cell<Option<Instant>>,
    behind: Cell<usize>,
    /// How much of the wait has been reported as the fault of single entries.
    explained: Cell<Duration>,
}

impl Callback for Probe {
    fn call(self: Rc<Self>) {
        let (Some(queued), Some(overseer)) = (self.queued.take(), self.overseer.upgrade()) else {
            return;
        };
        let waited = queued.elapsed();
        overseer.times.borrow_mut().lag.record(waited);
        if overseer.modes.get().debug {
            let crowd = waited.saturating_sub(self.explained.get());
            overseer.report_crowded(crowd, self.behind.get());
        }
    }

    fn site(&self) -> &'static Location<'static> {
        Location::caller()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    const SLOW: Duration = Duration::from_millis(80);

    /// One whose ticker beats when it is told to, and what it has told of.
    fn overseer() -> (Rc<Overseer>, Rc<RefCell<Vec<Notice>>>) {
        let told = Rc::new(RefCell::new(Vec::new()));
        let note = Rc::clone(&told);
        let overseer = Overseer::new(Rc::new(Cell::new(SLOW)), move |notice| {
            note.borrow_mut().push(notice.clone());
        });
        let modes = Modes {
            debug: true,
            ..Modes::default()
        };
        assert!(overseer.set_modes(modes).is_some());
        // A period that no test lives to see.
        let ticker = Ticker::new(Duration::from_secs(3600));
        overseer.ticker.replace(Some(ticker));
        (overseer, told)
    }

    fn ran() -> Running {
        let executor = rondel_executor::Executor::new();
        let seen = Rc::new(RefCell::new(None));
        struct Note(Rc<RefCell<Option<Running>>>);
        impl Observer for Note {
            fn begin(&self, entry: &Running) {
                self.0.replace(Some(entry.clone()));
            }
            fn end(&self) -> Option<Took> {
                None
            }
        }
        executor
            .spawner()
            .set_observer(Some(Rc::new(Note(Rc::clone(&seen)))));
        executor.call_soon(|| {});
        executor.run_until_idle();
        seen.take().unwrap()
    }

    /// As if the clock had been read so long ago, and the ticker had beaten so often since.
    fn pass(overseer: &Overseer, time: Duration, beats: u32) {
        overseer.read_clock();
        overseer.ended.set(Instant::now().checked_sub(time));
        let ticker = overseer.ticker.borrow();
        let ticker = ticker.as_ref().unwrap();
        ticker.set_period(SLOW / BEATS);
        ticker.beat().fetch_add(beats, Ordering::Relaxed);
    }

    #[test]
    fn who_ran_while_time_passed_is_named() {
        let (overseer, told) = overseer();
        for (time, beats) in [(SLOW, 8), (SLOW, 3), (SLOW * 10, 79), (SLOW * 10, 45)] {
            pass(&overseer, time, beats);
            overseer.time_went_on(Some(&ran()));
            let told = told.take();
            let [Notice::Slow { took, .. }] = &told[..] else {
                panic!("{time:?} and {beats} beats: {told:?}");
            };
            assert!(*took >= time);
        }
        pass(&overseer, SLOW / 2, 4);
        overseer.time_went_on(Some(&ran()));
        assert!(told.take().is_empty(), "not slow");
    }

    #[test]
    fn a_ticker_that_was_held_up_blames_nobody() {
        let (overseer, told) = overseer();
        pass(&overseer, SLOW * 2, 1);
        overseer.time_went_on(Some(&ran()));
        assert!(
            matches!(&told.take()[..], [Notice::SlowTurn { took, last: Some(_), .. }] if *took >= SLOW * 2)
        );
        // Not even one beat: found when the loop looks around, or its run ends. Once.
        for end in [Overseer::before_look, Overseer::end_run] {
            pass(&overseer, SLOW * 2, 0);
            end(&overseer);
            assert!(matches!(
                &told.take()[..],
                [Notice::SlowTurn { last: None, .. }]
            ));
            end(&overseer);
            assert!(told.take().is_empty());
        }
    }
}
