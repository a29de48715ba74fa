//! Debug mode: what is slow, what waits too long, what was left open.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rondel_executor::{LateWakeHandler, Spawner};
use rondel_sync::label;

use crate::notice::Notice;
use crate::overseer::{Modes, Overseer};
use crate::report::{Level, report};
use crate::state::{LocalLoop, State};
use crate::task_graph::TaskGraph;

/// From when on an entry counts as slow, unless set. asyncio's default.
pub(crate) const SLOW: Duration = Duration::from_millis(100);

/// At most so many tasks are named when a loop closes on them.
const NAMED_AT_CLOSE: usize = 10;
/// And so many of those that are woken after that.
const NAMED_LATE: usize = 10;

impl LocalLoop {
    /// Turns debug mode on or off; `RONDEL_DEBUG=1` turns it on from the start. asyncio: `set_debug`.
    ///
    /// It [notices](crate::Notice) tasks and callbacks that run for long without giving way, a ready queue that is too long,
    /// what is dropped before its work is done ([`Notice::Dropped`]), and what is still open when the loop is closed. What it
    /// notices goes to standard error, or to [a handler](LocalLoop::set_notice_handler). A task that somebody wakes after its loop was closed on it is reported as well, once,
    /// where the loop's reports go without a handler: there is nobody left to call one.
    ///
    /// It is cheap enough for staging, a few nanoseconds for an entry; a loop without it pays nothing. Called from inside, it
    /// takes effect with the next entry. [Accounts](LocalLoop::set_accounts), which cost more, are apart.
    ///
    /// The clock is read at each look around, and after an entry only if a thread, `rondel-ticker`, says that time has gone on: eight
    /// times within [`slow_callback_duration`](LocalLoop::set_slow_callback_duration) while the loop runs, and never while it waits. So
    /// what is slow is never missed, but counts as up to an eighth of that longer than it was; and if the thread has been held up,
    /// [`Notice::SlowTurn`] says that nobody saw which entry it was. Below 50 ms, or where there can be no thread, in the child of a
    /// fork, the clock is read after each entry.
    ///
    /// What asyncio's debug mode does beyond that needs no mode here: wrong-thread calls do not compile, and where tasks and
    /// callbacks come from is always known.
    pub fn set_debug(&self, on: bool) {
        self.state().change_modes(|modes| modes.debug = on);
    }

    /// Whether debug mode is on. asyncio: `get_debug`.
    #[doc(alias = "get_debug")]
    pub fn is_debug(&self) -> bool {
        self.state().modes.get().debug
    }

    /// Tells of something that is being dropped before what it was there for has been done, if debug mode is on: a
    /// [notice](crate::Notice::Dropped) with the task and the children of groups that are running, or being dropped. While the loop
    /// closes, nothing is told: of what it finds open it tells itself, in a line each.
    ///
    /// rondel's own transports and children do it. So may a resource of yours, in its `Drop`:
    ///
    /// ```
    /// use rondel_loop::LocalLoop;
    ///
    /// struct Transaction {
    ///     committed: bool,
    /// }
    ///
    /// impl Drop for Transaction {
    ///     fn drop(&mut self) {
    ///         if !self.committed && let Ok(local) = LocalLoop::current() {
    ///             local.notice_dropped(|| "a transaction was dropped before its commit".into());
    ///         }
    ///     }
    /// }
    ///
    /// rondel_loop::run(async {
    ///     LocalLoop::current().unwrap().set_debug(true);
    ///     drop(Transaction { committed: false });
    /// }).unwrap();
    /// ```
    pub fn notice_dropped(&self, what: impl FnOnce() -> String) {
        let state = self.state();
        if self.is_debug() && !state.closed.get() {
            state.notice(&Notice::Dropped {
                what: what(),
                task: Spawner::current_task(),
                groups: Spawner::current_children(),
            });
        }
    }

    /// Sets from when on debug mode notices that something ran or waited for long. Default: 100 ms. With zero, every entry is
    /// noticed. asyncio: `slow_callback_duration`.
    #[doc(alias = "slow_callback_duration")]
    pub fn set_slow_callback_duration(&self, limit: Duration) {
        let state = self.state();
        state.slow.set(limit);
        state.change_modes(|_| {});
    }

    /// From when on debug mode notices that something ran or waited for long. asyncio: `slow_callback_duration`.
    pub fn slow_callback_duration(&self) -> Duration {
        self.state().slow.get()
    }

    /// Whether [account](crate::TaskInfo::account) is kept of how often and for how long each task is polled, and of who
    /// awaits whom, who holds locks and had to do with queues last, and times are measured for the [metrics](LocalLoop::metrics). Default:
    /// no; [inspection](LocalLoop::inspect) does it, too. Costs a reading of the clock for an entry, a place in a table for each task, and a
    /// look-up for each use of a lock or queue. What is noted of those goes on being noted when it is turned off: other loops may
    /// count on it.
    pub fn set_accounts(&self, on: bool) {
        self.state().change_modes(|modes| modes.accounts = on);
    }

    /// Whether accounts are kept.
    pub fn keeps_accounts(&self) -> bool {
        self.state().modes.get().accounts
    }
}

impl State {
    pub(crate) fn overseer(self: &Rc<Self>) -> &Rc<Overseer> {
        self.overseer.get_or_init(|| {
            let state = Rc::downgrade(self);
            Overseer::new(Rc::clone(&self.slow), move |notice| {
                if let Some(state) = state.upgrade() {
                    state.notice(notice);
                }
            })
        })
    }

    pub(crate) fn change_modes(self: &Rc<Self>, change: impl FnOnce(&mut Modes)) {
        let mut modes = self.modes.get();
        change(&mut modes);
        let slow = self.slow.get();
        // What counts as slow decides how it is found out.
        let same = modes == self.modes.get() && !modes.debug;
        if same || self.closed.get() {
            return;
        }
        let debug_changes = modes.debug != self.modes.get().debug;
        self.modes.set(modes);
        let overseer = self.overseer();
        let pulse = overseer.set_modes(modes);
        if modes.accounts {
            // For the whole process, and not taken back: other loops may count on it.
            label::keep_traces(true);
        }
        self.timed.set(modes.timed());
        let observer = modes.observed(slow).then(|| Rc::clone(overseer) as _);
        let spawner = self.executor.spawner();
        let before = spawner.set_observer(observer);
        drop(before);
        spawner.set_pulse(pulse);
        if self.running.get() {
            overseer.begin_run();
        }
        if debug_changes {
            spawner.set_late_wake_handler(modes.debug.then(late_wake_handler));
        }
        if self.in_batch.get() {
            // The batch that is running was begun in the old mode.
            self.mode_changed.set(true);
            self.attention.set(true);
        }
    }

    /// The loop is closing: says what it finds open or pending.
    pub(crate) fn notice_unclosed(self: &Rc<Self>) {
        if !self.modes.get().debug {
            return;
        }
        let graph = TaskGraph::of(self, NAMED_AT_CLOSE);
        let named = graph.tasks().iter().take(NAMED_AT_CLOSE);
        for task in named.clone() {
            let (info, waits_for) = (task.info(), task.waits_for());
            self.notice(&Notice::Unclosed {
                what: format!("{info} pending, last waiting for {waits_for}"),
            });
        }
        let more = self.executor.alive().saturating_sub(named.len());
        if more > 0 {
            self.notice(&Notice::Unclosed {
                what: format!("{more} more tasks pending"),
            });
        }
        let sources = self.sources.borrow().descriptors();
        for fd in sources {
            self.notice(&Notice::Unclosed {
                what: format!("a registered descriptor open ({fd})"),
            });
        }
        let sites = self.watches.borrow().sites();
        for site in sites {
            self.notice(&Notice::Unclosed {
                what: format!("the watch of a descriptor in place that was set at {site}"),
            });
        }
    }
}

/// Says on whatever thread it is that a task is woken whose loop has gone.
fn late_wake_handler() -> LateWakeHandler {
    let told = AtomicUsize::new(0);
    Arc::new(move |late| {
        let told = told.fetch_add(1, Ordering::Relaxed);
        if told > NAMED_LATE {
            return;
        }
        let thread = thread::current();
        let by = thread.name().unwrap_or("without a name");
        let late = format!("{late} was woken after its loop was closed, by the thread {by:?}");
        if told < NAMED_LATE {
            report(Level::Warning, &late);
        } else {
            report(
                Level::Warning,
                &format_args!("{late}; what else comes too late there is not reported"),
            );
        }
    })
}
