//! Who looks over the loop's shoulder: times what runs for debug mode and metrics, and publishes it for the watchdog.

pub(crate) mod published;

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rondel_executor::{Callback, Observer, Running, Spawner, Took};

use crate::metrics::histogram::Histogram;
use crate::notice::Notice;
use published::Published;

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
    pub(crate) const fn any(self) -> bool {
        self.debug || self.timed() || self.watchdog
    }

    /// Whether the clock is read after each entry.
    pub(crate) const fn timed(self) -> bool {
        self.debug || self.accounts
    }
}

/// The observer of a loop's executor, while one of its modes is on.
pub(crate) struct Overseer {
    /// Tells of what was noticed.
    tell: Box<dyn Fn(&Notice)>,
    /// From when on something counts as slow.
    slow: Rc<Cell<Duration>>,
    modes: Cell<Modes>,
    pub(crate) published: Arc<Published>,
    running: RefCell<Option<Running>>,
    began: Cell<Option<Instant>>,
    /// When the last entry ended: the next one begins then, unless the loop has looked around in between.
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
        self.ended.set(None);
    }

    pub(crate) fn set_modes(&self, modes: Modes) {
        self.modes.set(modes);
        self.ended.set(None);
        if !modes.timed() {
            self.times.borrow_mut().turn_began = None;
        }
    }

    /// The loop is about to look around.
    pub(crate) fn before_look(&self) {
        let mut times = self.times.borrow_mut();
        if let Some(began) = times.turn_began.take() {
            times.turns.record(began.elapsed());
        }
    }

    /// The loop has looked around, and goes on with what is ready.
    pub(crate) fn after_look(&self, spawner: &Spawner) {
        let now = Instant::now();
        self.ended.set(Some(now));
        self.times.borrow_mut().turn_began = Some(now);
        let ready = spawner.ready_len();
        if ready > 0 && self.probe.queued.get().is_none() {
            self.probe.queued.set(Some(now));
            self.probe.behind.set(ready);
            self.probe.explained.set(Duration::ZERO);
            spawner.push(self.probe.clone());
        }
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
            self.ended.set(None);
        }
    }
}

impl Observer for Overseer {
    fn begin(&self, entry: &Running) {
        self.published.begin(entry);
        if self.expects.get() {
            self.call_before_entry();
        }
        if self.modes.get().timed() {
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
        self.modes.get().timed()
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
