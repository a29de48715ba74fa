#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod callback;
mod cancel_token;
mod cancellable;
mod claim;
mod cleanup;
mod combine;
mod context;
mod core;
mod crowd;
mod error_group;
mod executor;
mod home;
mod inbox;
mod labelled;
mod late_wake;
mod loop_bound;
mod lost;
mod observer;
mod pulse;
mod ready_queue;
mod remote;
mod shield;
mod site;
#[cfg_attr(not(feature = "tracing"), path = "span/off.rs")]
mod span;
mod spawner;
mod task;
mod task_group;
mod task_local;
mod task_set;
mod thread_pool;
mod wait;

pub use callback::{Callback, Handle};
pub use cancel_token::{CancelOnDrop, CancelToken, UntilCancelled, WhenCancelled};
pub use cancellable::Cancellable;
pub use cleanup::bracket::bracket;
pub use cleanup::defer::{Defer, defer};
pub use cleanup::finally::finally;
pub use cleanup::{Cleanup, CleanupLimit, Scope, cancel_and_wait, leave};
pub use combine::as_completed::{AsCompleted, as_completed};
pub use combine::gather::{Gather, gather};
pub use combine::race::{Race, race};
pub use combine::select::{Either, select};
pub use combine::shield::{Shield, shield};
pub use combine::try_gather::{TryGather, try_gather};
pub use combine::wait::{Done, ReturnWhen, Wait, wait};
pub use combine::{OfIterator, OfTuple};
pub use error_group::{DynError, ErrorGroup, GroupError};
pub use executor::{BatchEnd, Builder, Closed, Entered, Executor};
pub use home::{HomeCell, ThreadId};
pub use inbox::{Inbox, Notify};
pub use labelled::Labelled;
pub use late_wake::{LateWake, LateWakeHandler};
pub use loop_bound::{LoopBound, WrongThread};
pub use lost::{Lost, LostKind, Sink};
pub use observer::{Observer, Running};
pub use pulse::Pulse;
pub use remote::{ExecutorClosed, Remote, RemoteError, RemoteTask};
pub use shield::{Shielded, shielded};
pub use spawner::Spawner;
pub use task::account::{Account, Took};
pub use task::factory::{NewTask, TaskBody, TaskFactory};
pub use task::handle::{DoneToken, Task};
pub use task::info::{Outcome, TaskId, TaskInfo};
pub use task::join_error::{JoinError, PanicPayload};
pub use task::main::Main;
pub use task_group::{Cancelled, Child, ChildInfo, TaskGroup, TaskScope, task_group, task_scope};
pub use task_local::snapshot::{SendTaskLocals, TaskLocals};
pub use task_local::{NoTask, Scoped, TaskLocal};
pub use task_set::TaskSet;
pub use thread_pool::{
    Drained, Job, JobError, RunningJob, ShutdownReport, SubmitError, ThreadPool, ThreadPoolBuilder,
};
pub use wait::Waits;
