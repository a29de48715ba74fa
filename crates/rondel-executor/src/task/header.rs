//! What every task carries: 32 bytes beside its future.

use std::cell::Cell;

use crate::claim::Claim;
use crate::site::Site;
use crate::span::TaskSpan;
use crate::wait::Waits;

/// The metadata of a task. The home pointer and the constants may be read anywhere; the cells belong to the home thread.
pub(crate) struct Header {
    pub(crate) home: Claim,
    pub(crate) site: Site,
    id_low: u32,
    id_high: u16,
    /// The flags in the low byte; in the high one what the task waits for, or has waited for last if it is not [`LABELLED`], and
    /// two flags more. Together, so that one look before a poll finds most tasks with nothing to see to.
    state: Cell<u16>,
    /// Where the registry keeps the task once it has been suspended.
    pub(crate) slot: Cell<u32>,
    /// What exactly it waits on, in terms of `waits`: for a task, the low half of the number of the one it awaits.
    waits_on: Cell<u32>,
    /// Nothing at all without the feature `tracing`.
    pub(crate) span: TaskSpan,
}

// SAFETY: `home`, `site` and the id are `Send + Sync` themselves. The cells are touched by the executor, by `Task` and by
// wait labels only, all of which run on the home thread: the executor and `Task` are `!Send`, labels reach the header
// through the thread-local that the executor sets while it polls there. The schedule function, which does run on other
// threads, reads `home` and nothing else. Dropping a header anywhere gives up a claim and drops plain data; and spans of
// `tracing`, which are `Send`.
unsafe impl Send for Header {}
// SAFETY: as above.
unsafe impl Sync for Header {}

/// A task's number as it is kept, put together when it is asked for.
#[derive(Clone, Copy)]
pub(crate) struct ShortId(u32, u16);

impl ShortId {
    /// Nobody's.
    pub(crate) const NONE: Self = Self(0, 0);

    #[inline]
    pub(crate) fn get(self) -> u64 {
        u64::from(self.1) << 32 | u64::from(self.0)
    }
}

/// The label is what the task waits for now.
const LABELLED: u16 = 1 << 15;
/// It has had task-local values.
const LOCALS: u16 = 1 << 14;
/// It keeps a waker that others are clones of.
const WAKER: u16 = 1 << 13;
/// Where the label is.
const LABEL: u16 = 0x1f << 8;

/// The slot of a task that the registry does not know (yet, or any more).
pub(crate) const NO_SLOT: u32 = u32::MAX;

impl Header {
    /// `cancel()` was called and has not been acted upon.
    pub(crate) const CANCEL: u8 = 1;
    /// The future is gone; what it left behind is being cleaned up.
    pub(crate) const CLEANING: u8 = 1 << 1;
    /// The outcome is decided and there for the taking.
    pub(crate) const FINISHED: u8 = 1 << 2;
    /// Nobody holds the handle.
    pub(crate) const DETACHED: u8 = 1 << 3;
    /// Outcome: the future panicked.
    pub(crate) const PANICKED: u8 = 1 << 4;
    /// Outcome: the future was dropped by `cancel()`.
    pub(crate) const CANCELLED: u8 = 1 << 5;
    /// The side table may have an entry for the task.
    pub(crate) const EXTRAS: u8 = 1 << 6;
    /// Cannot be cancelled: a cleanup.
    pub(crate) const SHIELDED: u8 = 1 << 7;

    #[inline]
    pub(crate) fn new((home, id): (Claim, u64), site: Site, flags: u8) -> Self {
        Self {
            home,
            site,
            id_low: id as u32,
            // 48 bits: at forty million tasks a second they last for eighty days, and then only repeat in reports.
            id_high: (id >> 32) as u16,
            state: Cell::new(flags.into()),
            slot: Cell::new(NO_SLOT),
            waits_on: Cell::new(0),
            span: TaskSpan::new(),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.short_id().get()
    }

    #[inline]
    pub(crate) const fn short_id(&self) -> ShortId {
        ShortId(self.id_low, self.id_high)
    }

    #[inline]
    pub(crate) fn has(&self, flags: u8) -> bool {
        self.state.get() & u16::from(flags) != 0
    }

    #[inline]
    pub(crate) fn set(&self, flags: u8) {
        self.state.set(self.state.get() | u16::from(flags));
    }

    #[inline]
    pub(crate) fn clear(&self, flags: u8) {
        self.state.set(self.state.get() & !u16::from(flags));
    }

    /// The outcome is decided: it waits for nothing any more, nothing to clean up, nothing to cancel.
    #[inline]
    pub(crate) fn finish(&self) {
        let gone = u16::from(Self::CLEANING | Self::CANCEL) | LABELLED;
        let state = self.state.get() & !gone;
        self.state.set(state | u16::from(Self::FINISHED));
    }

    /// It waits, and this is what for.
    #[inline]
    pub(crate) fn label(&self, waits: Waits, on: u32) {
        if waits == Waits::NOTHING {
            return self.unlabel();
        }
        let rest = self.state.get() & !LABEL;
        self.state.set(rest | u16::from(waits.0) << 8 | LABELLED);
        self.waits_on.set(on);
    }

    /// It does not wait, as far as is known; what it has waited for stays.
    #[inline]
    pub(crate) fn unlabel(&self) {
        self.state.set(self.state.get() & !LABELLED);
    }

    /// Whether the task has none of these flags, and no label.
    #[inline]
    pub(crate) fn is_plain(&self, flags: u8) -> bool {
        self.state.get() & (u16::from(flags) | LABELLED) == 0
    }

    /// What it waits for.
    pub(crate) fn waits(&self) -> (Waits, u32) {
        if self.state.get() & LABELLED == 0 {
            return (Waits::NOTHING, 0);
        }
        self.waited()
    }

    /// What it waits for, or has waited for last.
    pub(crate) fn waited(&self) -> (Waits, u32) {
        let [_, waits] = (self.state.get() & LABEL).to_le_bytes();
        (Waits(waits), self.waits_on.get())
    }

    /// The task is given a waker to keep, that others are clones of.
    pub(crate) fn note_waker(&self) {
        self.state.set(self.state.get() | WAKER);
    }

    /// Whether it may have one.
    #[inline]
    pub(crate) fn may_have_waker(&self) -> bool {
        self.state.get() & WAKER != 0
    }

    /// The task is given task-local values.
    pub(crate) fn note_locals(&self) {
        self.state.set(self.state.get() | LOCALS);
    }

    /// Whether it may have some: most have none, and need not be looked up to see it.
    #[inline]
    pub(crate) fn may_have_locals(&self) -> bool {
        self.state.get() & LOCALS != 0
    }
}
