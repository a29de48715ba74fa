//! What can be said about a task without holding it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::task::account::Account;
use crate::task::id::TaskId;
use crate::task_group::info::ChildInfo;
use crate::wait::Waits;

/// A task as it was when it was looked at: number, name, where it was spawned, what it waits for.
///
/// Done-callbacks get one, reports of lost errors carry one, and [`Executor::tasks`](crate::Executor::tasks) lists one for
/// every task alive.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    pub(crate) id: TaskId,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) waits: Waits,
    pub(crate) waits_on: u32,
    pub(crate) waited: Waits,
    pub(crate) slot: Option<u32>,
    pub(crate) flags: Outcome,
    pub(crate) account: Option<Account>,
    pub(crate) awaited_by: Vec<TaskId>,
    pub(crate) children: Vec<ChildInfo>,
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It has not ended.
    Pending,
    /// Its future returned.
    Finished,
    /// It was cancelled and its future dropped.
    Cancelled,
    /// Its future panicked.
    Panicked,
}

impl TaskInfo {
    /// The task's number.
    pub const fn id(&self) -> TaskId {
        self.id
    }

    /// The task's name: the one it was given, else `Task-N` with its number, as asyncio does.
    pub fn name(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => format!("Task-{}", self.id),
        }
    }

    /// Where it was spawned.
    pub const fn spawned_at(&self) -> &'static Location<'static> {
        self.site
    }

    /// What it waits for; [`Waits::NOTHING`] while it runs, and after its end.
    pub const fn waits(&self) -> Waits {
        self.waits
    }

    /// What it has waited for last, or does now: known while it runs, too, and after its end.
    pub const fn waited(&self) -> Waits {
        self.waited
    }

    /// What exactly it waits on; [`Waits`] says in terms of what. For [`Waits::TASK`] it is the low half of
    /// the awaited task's [`id`](TaskInfo::id).
    pub const fn waits_on(&self) -> u32 {
        self.waits_on
    }

    /// How often and for how long it was polled; `None` unless an [`Observer`](crate::Observer) has kept account.
    pub const fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Which tasks await it, as far as that was noted: by itself while an [`Observer`](crate::Observer) is set, or by
    /// [`Task::add_awaited_by`](crate::Task::add_awaited_by). Those that await it alone say so themselves, too: by
    /// [`Waits::TASK`] and [`waits_on`](TaskInfo::waits_on).
    pub fn awaited_by(&self) -> &[TaskId] {
        &self.awaited_by
    }

    /// The children of its groups as they were when it was polled last, while an [`Observer`](crate::Observer) that keeps accounts
    /// is set; at most 64 of each group.
    pub fn children(&self) -> &[ChildInfo] {
        &self.children
    }

    /// The executor's place for the task while it is alive and has been suspended; `None` before and after.
    pub const fn slot(&self) -> Option<u32> {
        self.slot
    }

    /// How far it has come.
    pub const fn outcome(&self) -> Outcome {
        self.flags
    }
}

/// `Task-3 spawned at src/main.rs:10:5`.
impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name:?}")?,
            None => write!(f, "Task-{}", self.id)?,
        }
        write!(f, " spawned at {}", self.site)
    }
}
