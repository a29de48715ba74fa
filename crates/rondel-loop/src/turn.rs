//! A turn of the loop.
//!
//! ```text
//!   run what is ready ──> look: wait (or just peek) ──> I/O ──> timers ──> other threads ──┐
//!        ^        └ after each entry: send what it wrote                                   │
//!        └─────────────────────────── everything found becomes ready, in this order ───────┘
//! ```
//!
//! While there is something ready the loop peeks, without waiting, after 64 entries or 100 µs, whichever comes first.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rondel_executor::{BatchEnd, Entered};
use rondel_poll::Wait;

use crate::error::RunError;
use crate::readiness;
use crate::state::State;
use crate::timer;

/// After how many entries the clock is read first: reading it costs more than a short entry.
const FIRST_CHECK: u32 = 16;

/// What a run of the loop may still do before it must look around.
pub(crate) struct Budget {
    /// Entries until the next check: all that is counted after an ordinary entry.
    left: u32,
    /// How many entries will have run by then.
    check_at: u32,
    /// When this run of entries began, or, if not `exact`, some time before.
    since: Instant,
    /// A look does not read the clock for us. Most runs are so short that even with the one before they keep the limit, and
    /// then nobody needs to know when they began.
    exact: bool,
    /// When the clock was read last.
    last_read: Instant,
    /// Whether entries were long lately: then the clock is read before the first and after every one.
    slow: bool,
}

impl Budget {
    pub(crate) fn new(state: &State) -> Self {
        let now = state.now();
        let mut budget = Self {
            left: 0,
            check_at: 0,
            since: now,
            exact: true,
            last_read: now,
            slow: false,
        };
        budget.check_next(state, FIRST_CHECK);
        budget
    }

    /// One more entry has run; `false` if it is time to look around.
    #[inline]
    fn spend(&mut self, state: &State) -> bool {
        // Wraps if somebody goes on in spite of a `false`, as a single turn does; the next check is then far, not wrong.
        self.left = self.left.wrapping_sub(1);
        self.left != 0 || self.check(state)
    }

    fn check_next(&mut self, state: &State, at: u32) {
        let at = at.min(state.limits.entries);
        self.left = at - self.check_at.min(at);
        self.check_at = at;
    }

    #[cold]
    fn check(&mut self, state: &State) -> bool {
        let limits = &state.limits;
        let entries = self.check_at;
        if entries >= limits.entries {
            return false;
        }
        if state.selector.is_virtual() {
            // No time passes there. What the system's clock says would only make one run differ from the next.
            self.check_next(state, limits.entries);
            return true;
        }
        let now = state.now();
        self.last_read = now;
        let spent = now.saturating_duration_since(self.since);
        let short = spent <= limits.time / 4;
        if !self.exact && !short {
            // We have slept in between, or entries have become long: watch the next one.
            self.since = now;
            self.exact = true;
            self.check_next(state, entries + 1);
            return true;
        }
        self.slow = !short;
        if self.slow {
            self.check_next(state, entries + 1);
        } else if spent.saturating_mul(limits.entries) < limits.time.saturating_mul(entries) {
            // At this pace the entries run out before the time does.
            self.check_next(state, limits.entries);
        } else {
            self.check_next(state, entries + FIRST_CHECK);
        }
        spent < limits.time
    }

    /// The loop has looked around; `now` if it knows.
    fn renew(&mut self, state: &State, now: Option<Instant>) {
        let now = if self.slow {
            Some(now.unwrap_or_else(|| state.now()))
        } else {
            now
        };
        self.exact = now.is_some();
        self.since = now.unwrap_or(self.last_read);
        self.last_read = self.since;
        self.check_at = 0;
        self.check_next(state, if self.slow { 1 } else { FIRST_CHECK });
    }
}

/// Runs what is ready until nothing is, the budget is spent, or it is the main future's turn.
#[inline]
pub(crate) fn run_ready(state: &Rc<State>, turn: &Entered<'_>, budget: &mut Budget) -> BatchEnd {
    turn.run_batch(|| after_entry(state, budget))
}

/// What follows every entry, the main future's polls included.
#[inline]
pub(crate) fn after_entry(state: &Rc<State>, budget: &mut Budget) -> bool {
    if state.attention.get() && !attend(state) {
        return false;
    }
    budget.spend(state)
}

/// What rarely follows an entry: something was written, the loop is stopping, or a debug mode has changed. `false` if the run is over.
#[inline(never)]
fn attend(state: &Rc<State>) -> bool {
    if state.is_abandoned() {
        return false;
    }
    flush(state);
    let stopping = state.stopping.get();
    state.attention.set(stopping);
    let same_mode = !state.mode_changed.replace(false);
    (!stopping || state.finish_batch()) && same_mode
}

/// Sends what the entry that just ran has written.
pub(crate) fn flush(state: &Rc<State>) {
    loop {
        // One at a time: what is flushed may, by an error, lead to more.
        let next = state.unflushed.borrow_mut().pop();
        match next {
            Some(connection) => state.guarded(|| connection.flush()),
            None => return,
        }
    }
}

/// How to look, at most how long.
#[derive(Clone, Copy)]
pub(crate) enum Look {
    /// Asks the selector only if there is something to wait for.
    Around(Wait),
    /// Asks the selector in any case: what rang for a dozing loop stays readable in the host's eyes until then.
    AndListen(Wait),
}

/// Looks around: waits for I/O if nothing is ready, at most as long as `how` says, then queues what I/O, the clock and
/// other threads have brought.
pub(crate) fn look(
    state: &Rc<State>,
    turn: &Entered<'_>,
    budget: &mut Budget,
    how: Look,
) -> Result<(), RunError> {
    state.turns.set(state.turns.get() + 1);
    state.unlooked.set(0);
    if state.timed.get() {
        before_look(state);
    }
    let (at_most, listens) = match how {
        Look::Around(at_most) => (at_most, false),
        Look::AndListen(at_most) => (at_most, true),
    };
    let wait = if state.executor.has_ready() || state.stopping.get() {
        Wait::Poll
    } else {
        match (at_most, until(state)) {
            (Wait::Poll, _) => Wait::Poll,
            (Wait::Until(limit), Wait::Until(deadline)) => Wait::Until(limit.min(deadline)),
            (Wait::Until(limit), _) => Wait::Until(limit),
            (Wait::Forever, until) => until,
        }
    };
    // With nothing to wait for, a peek would be a system call for nothing: what other threads send shows without it.
    let asks = listens || !matches!(wait, Wait::Poll) || !nothing_registered(state);
    if asks {
        let mut events = state.events.take().unwrap_or_default();
        let outstanding = state.shared.outstanding.load(Ordering::Acquire) > 0;
        let waited = state.selector.wait(&mut events, wait, outstanding);
        readiness::dispatch(state, &events);
        state.events.set(Some(events));
        waited?;
    }
    let now = (!state.timers.is_empty()).then(|| state.now());
    if let Some(now) = now {
        timer::fire(state, now);
    }
    crate::signal::deliver(state);
    turn.drain_inbox();
    budget.renew(state, now);
    if state.timed.get() {
        after_look(state, !asks);
    }
    Ok(())
}

#[cold]
fn before_look(state: &State) {
    if let Some(overseer) = state.overseer.get() {
        overseer.before_look();
    }
}

#[cold]
fn after_look(state: &Rc<State>, at_once: bool) {
    let hook = state.after_look.borrow().clone();
    if let Some(hook) = hook {
        hook(state, Instant::now());
    }
    if let Some(overseer) = state.overseer.get() {
        overseer.after_look(&state.executor.spawner(), at_once);
    }
}

fn nothing_registered(state: &State) -> bool {
    state.sources.borrow().is_empty() && state.watches.borrow().is_empty()
}

/// How long the loop may sleep.
fn until(state: &State) -> Wait {
    let next = if state.selector.is_virtual() {
        state.timers.next_deadline()
    } else {
        state.timers.next_wake()
    };
    match next {
        Some(deadline) => Wait::Until(deadline),
        None => Wait::Forever,
    }
}
