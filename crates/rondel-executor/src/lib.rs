#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod callback;
mod claim;
mod cleanup;
mod context;
mod core;
mod executor;
mod home;
mod inbox;
mod loop_bound;
mod lost;
mod ready_queue;
mod remote;
mod site;
mod spawner;
mod task;
mod thread_pool;
mod wait;

pub use callback::{Callback, Handle};
pub use cleanup::{Cleanup, CleanupLimit, Scope, leave};
pub use executor::{BatchEnd, Builder, Closed, Entered, Executor};
pub use home::{HomeCell, ThreadId};
pub use inbox::{Inbox, Notify};
pub use loop_bound::{LoopBound, WrongThread};
pub use lost::{Lost, LostKind, Sink};
pub use remote::{ExecutorClosed, Remote, RemoteError, RemoteTask};
pub use spawner::Spawner;
pub use task::handle::{DoneToken, Task};
pub use task::info::{Outcome, TaskId, TaskInfo};
pub use task::join_error::{JoinError, PanicPayload};
pub use task::main::Main;
pub use thread_pool::{
    Drained, Job, JobError, RunningJob, ShutdownReport, SubmitError, ThreadPool, ThreadPoolBuilder,
};
pub use wait::Waits;
