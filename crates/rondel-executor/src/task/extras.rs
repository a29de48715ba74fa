//! What few tasks have, kept beside the header so that the many do not carry it.

use std::any::Any;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use crate::cleanup::scope::Scope;
use crate::late_wake::LateWaker;
use crate::shield::frame::OpenShields;
use crate::task::account::Account;
use crate::task::done::OnDone;
use crate::task::id::TaskId;
use crate::task_group::board::Board;
use crate::task_group::origin::Origin;
use crate::task_local::values::Shared;

/// A callback for when the task is done, with the number that removes it.
pub(crate) type DoneCallback = (u64, OnDone);

#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) done: Vec<DoneCallback>,
    /// Who waits for the task to be done, without taking its outcome.
    pub(crate) watchers: Vec<Waker>,
    /// What the task has left behind and must wait for.
    pub(crate) scope: Option<Scope>,
    /// What inside the task is not to be interrupted.
    pub(crate) shields: Option<Rc<OpenShields>>,
    /// The output of a task whose cleanup is still under way.
    pub(crate) parked: Option<Box<dyn Any>>,
    /// The task-local values.
    pub(crate) locals: Shared,
    /// What the task panicked with, until somebody takes it.
    pub(crate) panic: Option<Box<dyn Any + Send>>,
    /// In which child of its groups a panic came up.
    pub(crate) origin: Option<Origin>,
    /// What an observer has noted.
    pub(crate) account: Option<Account>,
    /// The children of its groups, while accounts are kept.
    pub(crate) groups: Vec<Board>,
    /// What its wakers are clones of, if late wakes are told of.
    pub(crate) late: Option<Arc<LateWaker>>,
    /// Tasks known to await this one.
    pub(crate) awaited_by: Vec<TaskId>,
}

/// Task numbers are unique and dense already: multiplied once to spread them, never hashed.
#[derive(Clone, Copy, Default)]
pub(crate) struct IdHash(u64);

impl BuildHasher for IdHash {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for IdHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl fmt::Debug for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extras")
            .field("name", &self.name)
            .field("callbacks", &self.done.len())
            .finish_non_exhaustive()
    }
}
