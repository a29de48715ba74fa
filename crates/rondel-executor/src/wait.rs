//! Wait labels: what a suspended task is waiting for.

/// What kind of thing a task waits for.
///
/// An awaitable that has nothing to give yet labels the task before it answers `Pending`; the executor takes the label
/// off before the next poll. It costs two stores and no allocation, so it is always on, and it is what a report of a stuck
/// task says.
///
/// ```
/// use rondel_executor::{Executor, Waits};
/// use std::{future::poll_fn, task::Poll};
///
/// let executor = Executor::new();
/// let task = executor.spawn(poll_fn(|_| {
///     Waits::label(Waits::OTHER, 0);
///     Poll::<()>::Pending
/// }));
/// executor.run_until_idle();
/// assert_eq!(executor.tasks()[0].waits(), Waits::OTHER);
/// # task.cancel();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// At most 31: a task has three bits beside it.
pub struct Waits(pub(crate) u8);

impl Waits {
    /// No label: the task runs, is about to, or waits on something that does not say what it is.
    pub const NOTHING: Self = Self(0);
    /// For time to pass.
    pub const TIME: Self = Self(1);
    /// For another task; the detail is the low half of that task's number.
    pub const TASK: Self = Self(2);
    /// For a descriptor to become readable; the detail is the loop's index of it.
    pub const READABLE: Self = Self(3);
    /// For a descriptor to become writable; the detail is the loop's index of it.
    pub const WRITABLE: Self = Self(4);
    /// For a job in a thread pool.
    pub const JOB: Self = Self(5);
    /// For what was left behind to be cleaned up.
    pub const CLEANUP: Self = Self(6);
    /// For a signal to arrive; the detail is its number.
    pub const SIGNAL: Self = Self(7);
    /// For a name to be resolved.
    pub const NAME: Self = Self(8);
    /// For what the other end of a connection is to answer.
    pub const ANSWER: Self = Self(9);
    /// For a token to be cancelled.
    pub const CANCELLATION: Self = Self(16);
    /// For a promise to be kept.
    pub const PROMISE: Self = Self(17);
    /// For the children of a group; the detail is 0 if for nothing else, 1 if also for the group's body, of which nothing is known. A
    /// body that says what it waits for says it for its task.
    pub const CHILDREN: Self = Self(18);
    /// For a lock; the detail tells locks apart.
    pub const LOCK: Self = Self(19);
    /// For permits of a semaphore; the detail tells semaphores apart, and so on.
    pub const PERMITS: Self = Self(20);
    /// For an event to be set.
    pub const EVENT: Self = Self(21);
    /// For a notification.
    pub const NOTIFICATION: Self = Self(22);
    /// For the others at a barrier.
    pub const BARRIER: Self = Self(23);
    /// For an item from a queue or channel.
    pub const ITEM: Self = Self(24);
    /// For room in a queue or channel.
    pub const ROOM: Self = Self(25);
    /// For all that was put into a queue to be done.
    pub const JOINED: Self = Self(26);
    /// For a value to be set or to change.
    pub const VALUE: Self = Self(27);
    /// For the other side of a channel to close.
    pub const CLOSING: Self = Self(28);
    /// For a child process to end; the detail is its number.
    pub const PROCESS: Self = Self(29);
    /// For the value of one child of a group.
    pub const CHILD: Self = Self(30);
    /// For something that a program labels itself.
    pub const OTHER: Self = Self(31);

    /// The label in words, as reports print it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NOTHING => "nothing known",
            Self::TIME => "time",
            Self::TASK => "a task",
            Self::READABLE => "a descriptor to become readable",
            Self::WRITABLE => "a descriptor to become writable",
            Self::JOB => "a job in a thread pool",
            Self::CLEANUP => "cleanup",
            Self::SIGNAL => "a signal",
            Self::NAME => "a name to be resolved",
            Self::ANSWER => "an answer",
            Self::CANCELLATION => "a token to be cancelled",
            Self::PROMISE => "a promise",
            Self::CHILDREN => "the children of a group",
            Self::LOCK => "a lock",
            Self::PERMITS => "permits of a semaphore",
            Self::EVENT => "an event",
            Self::NOTIFICATION => "a notification",
            Self::BARRIER => "the others at a barrier",
            Self::ITEM => "an item",
            Self::ROOM => "room in a queue",
            Self::JOINED => "a queue to be done",
            Self::VALUE => "a value",
            Self::CLOSING => "the other side of a channel to close",
            Self::PROCESS => "a child process",
            Self::CHILD => "a child of a group",
            _ => "something",
        }
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
