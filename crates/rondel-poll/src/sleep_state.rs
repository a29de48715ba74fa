//! Whether somebody has to ring to be heard.

use std::fmt;
#[cfg(not(rondel_loom))]
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(rondel_loom)]
use loom::sync::atomic::{AtomicU8, Ordering};

/// Looking at its queues before each wait anyway; nothing new since.
const AWAKE: u8 = 0;
/// Blocked in the system, or about to be: hears the bell and nothing else.
const SLEEPING: u8 = 1;
/// Something is new. It will look at its queues before it blocks.
const NOTIFIED: u8 = 2;

/// Whether a waiting thread must be rung awake: what makes a notification free
/// of system calls while the thread is awake.
///
/// One thread waits, any number of threads notify.
///
/// ```text
///              fall_asleep
///    AWAKE ------------------> SLEEPING
///    ^ |  ^                     |    |
///    | |  +------ wake_up ------+    | notify: ring
///    | |   (an event, a deadline)    |
///    | | notify: silent              v
///    | +-----------------------> NOTIFIED --+ notify: silent,
///    |                            |   ^     | fall_asleep: refused
///    +--------- wake_up ----------+   +-----+
/// ```
///
/// The rule for the notifying side is: *first* make the news visible (push it on
/// the queue), *then* [`notify`](SleepState::notify). The rule for the waiting
/// side is: look at the queues only *after* [`wake_up`](SleepState::wake_up), and
/// do not block if [`fall_asleep`](SleepState::fall_asleep) says no. Then nothing
/// that was pushed is slept over: either the push's `notify` comes before
/// `fall_asleep`, which sees it and refuses, or it comes after and sees the
/// sleeper, whom it rings awake.
///
/// [`Notifier`](crate::Notifier) joins one to a bell; use it directly if your bell
/// does not fit there.
///
/// ```
/// use rondel_poll::SleepState;
///
/// let state = SleepState::new();
/// assert!(!state.notify()); // awake: nothing to ring
/// assert!(!state.fall_asleep()); // there is news: look first
/// assert!(state.wake_up());
///
/// assert!(state.fall_asleep());
/// assert!(state.notify()); // asleep: ring
/// assert!(!state.notify()); // rung already
/// assert!(state.wake_up());
/// ```
///
/// # Why the orderings suffice
///
/// `notify` and `wake_up` change the state by read-modify-writes with
/// acquire and release. All such changes of one variable happen in one order.
/// If `notify` comes before `wake_up` in it, `wake_up` reads from it (or from
/// later notifications, which continue its release sequence), so the push
/// happens before what the waiter does next. If it comes after, it leaves
/// `NOTIFIED` behind and the next `fall_asleep` refuses. A plain load in
/// `notify`, to skip the write if the state is `NOTIFIED` already, would break
/// this: it could read an old `NOTIFIED` that `wake_up` has just taken back,
/// unless both sides had a full fence, which costs what the write costs.
///
/// The load in `wake_up` may be relaxed. If it misses a notification, that one
/// stays in the state, and the next `fall_asleep` refuses.
pub struct SleepState(AtomicU8);

impl SleepState {
    /// Awake, with no news.
    pub fn new() -> Self {
        Self(AtomicU8::new(AWAKE))
    }

    /// There is news. `true` if the sleeper must be rung awake, which only one of
    /// many concurrent notifications is told.
    ///
    /// May be called from any thread and from a signal handler.
    #[inline]
    #[must_use = "if it is true the sleeper hears nothing until the bell is rung"]
    pub fn notify(&self) -> bool {
        self.0.swap(NOTIFIED, Ordering::AcqRel) == SLEEPING
    }

    /// About to block. `false` if there is news: then one must not, but go on to
    /// [`wake_up`](SleepState::wake_up) and look.
    ///
    /// Calling it again while asleep is harmless. Only for the waiting thread.
    #[inline]
    #[must_use = "if it is false the caller must not block"]
    pub fn fall_asleep(&self) -> bool {
        // Nothing is handed over here, so success needs no ordering: what
        // counts is this write's place among those of `notify`.
        match self
            .0
            .compare_exchange(AWAKE, SLEEPING, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => true,
            Err(current) => current == SLEEPING,
        }
    }

    /// Awake again, or awake still: call it after each wait, also after one that
    /// did not block. `true` if there was news.
    ///
    /// Costs one load if the thread did not sleep and nothing came. Only for the
    /// waiting thread.
    #[inline]
    pub fn wake_up(&self) -> bool {
        // This thread wrote the SLEEPING that it may find here, so it cannot
        // read an older AWAKE in its place.
        self.0.load(Ordering::Relaxed) != AWAKE && self.0.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }
}

impl Default for SleepState {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SleepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.load(Ordering::Relaxed) {
            AWAKE => "Awake",
            SLEEPING => "Sleeping",
            _ => "Notified",
        })
    }
}
