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

/// How often the clock is read while entries are short: reading it costs as much as a short entry.
const CLOCK_STRIDE: u32 = 16;

/// What a run of the loop may still do before it must look around.
pub(crate) struct Budget {
    entries: u32,
    /// Entries until the clock is read next.
    stride: u32,
    since: Option<Instant>,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self {
            entries: 0,
            stride: CLOCK_STRIDE,
            since: None,
        }
    }

    /// One more entry has run; `false` if it is time to look around.
    #[inline]
    fn spend(&mut self, state: &State) -> bool {
        self.entries += 1;
        if self.entries >= state.limits.entries {
            return false;
        }
        self.stride -= 1;
        self.stride > 0 || self.check_clock(state)
    }

    #[cold]
    fn check_clock(&mut self, state: &State) -> bool {
        // The system's clock, also under a virtual one: this is about fairness, not about the program's time.
        let now = Instant::now();
        let Some(since) = self.since else {
            self.since = Some(now);
            self.stride = CLOCK_STRIDE;
            return true;
        };
        let spent = now.saturating_duration_since(since);
        // Long entries: look at the clock after every one.
        self.stride = if spent > state.limits.time / 4 {
            1
        } else {
            CLOCK_STRIDE
        };
        spent < state.limits.time
    }

    fn renew(&mut self) {
        self.entries = 0;
        self.stride = if self.stride == 1 { 1 } else { CLOCK_STRIDE };
        self.since = if self.stride == 1 {
            Some(Instant::now())
        } else {
            None
        };
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

/// What rarely follows an entry: something was written, or the loop is stopping. `false` if the run is over.
#[inline(never)]
fn attend(state: &State) -> bool {
    flush(state);
    let stopping = state.stopping.get();
    state.attention.set(stopping);
    !stopping || state.finish_batch()
}

/// Sends what the entry that just ran has written.
pub(crate) fn flush(state: &State) {
    loop {
        // One at a time: what is flushed may, by an error, lead to more.
        let next = state.unflushed.borrow_mut().pop();
        match next {
            Some(connection) => connection.flush(),
            None => return,
        }
    }
}

/// Looks around: waits for I/O if nothing is ready, at most as long as `at_most` says, then queues what I/O, the clock and
/// other threads have brought.
pub(crate) fn look(
    state: &Rc<State>,
    turn: &Entered<'_>,
    budget: &mut Budget,
    at_most: Wait,
) -> Result<(), RunError> {
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
    if !matches!(wait, Wait::Poll) || !nothing_registered(state) {
        let mut events = state.events.take().unwrap_or_default();
        let outstanding = state.shared.outstanding.load(Ordering::Acquire) > 0;
        let waited = state.selector.wait(&mut events, wait, outstanding);
        readiness::dispatch(state, &events);
        state.events.set(Some(events));
        waited?;
    }
    if !state.timers.is_empty() {
        state.timers.fire(state.now(), &state.executor.spawner());
    }
    crate::signal::deliver(state);
    turn.drain_inbox();
    budget.renew();
    Ok(())
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
