//! What is noted of a task while somebody observes.

use std::time::{Duration, Instant};

use crate::task::id::TaskId;

/// How long an entry ran; see [`Observer::end`](crate::Observer::end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// When it began.
    pub since: Instant,
    /// How long it took.
    pub time: Duration,
}

/// What has been noted of a task while an [`Observer`](crate::Observer) was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub(crate) parent: Option<TaskId>,
    pub(crate) first: Option<Instant>,
    pub(crate) last: Option<Instant>,
    pub(crate) polls: u64,
    pub(crate) spent: Duration,
    pub(crate) longest: Duration,
}

impl Account {
    pub(crate) fn opened(parent: Option<TaskId>) -> Self {
        Self {
            parent,
            ..Self::default()
        }
    }

    pub(crate) fn enter(&mut self, took: Took) {
        self.first.get_or_insert(took.since);
        self.last = Some(took.since + took.time);
        self.polls += 1;
        self.spent += took.time;
        self.longest = self.longest.max(took.time);
    }

    /// The task that was running when this one was spawned; `None` for callbacks, and before there was an observer.
    pub const fn spawned_by(&self) -> Option<TaskId> {
        self.parent
    }

    /// When it was polled first; `None` if it was not, yet.
    pub const fn since(&self) -> Option<Instant> {
        self.first
    }

    /// When it was polled last, to the end of that; `None` if it was not, yet.
    pub const fn last(&self) -> Option<Instant> {
        self.last
    }

    /// How often it has been polled.
    pub const fn polls(&self) -> u64 {
        self.polls
    }

    /// For how long, all polls together.
    pub const fn spent(&self) -> Duration {
        self.spent
    }

    /// The longest of its polls.
    pub const fn longest(&self) -> Duration {
        self.longest
    }
}
