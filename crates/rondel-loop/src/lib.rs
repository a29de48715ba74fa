#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Four files lift this: the signal handlers (`signal/disposition.rs`, `watchdog/stack/capture.rs`), what other threads see of what
// runs (`overseer/published.rs`) and the handler for forks (`fork.rs`).
#![deny(unsafe_code)]

mod blocking;
mod current;
mod debug;
mod descriptor;
mod environment;
mod error;
mod event_loop;
mod exception;
mod exception_handler;
mod flush;
mod fork;
mod handle;
mod inherit;
mod inspect;
mod labels;
mod local;
mod metrics;
mod notice;
mod notice_handler;
mod overseer;
mod own_process;
mod promise;
mod readiness;
mod receive_buffer;
mod report;
mod run;
pub mod signal;
mod state;
mod task_graph;
mod tasks;
pub mod time;
mod timer;
mod turn;
mod watch;
mod watchdog;

pub use blocking::{run_in_executor, to_thread};
pub use current::{NoRunningLoop, call_soon, spawn};
pub use error::{LoopClosed, RunError};
pub use event_loop::{Builder, EventLoop};
pub use exception::ExceptionContext;
pub use flush::Flush;
pub use handle::{LoopHandle, Outstanding};
pub use inspect::{InspectError, Inspection};
pub use metrics::Metrics;
pub use metrics::histogram::Histogram;
pub use notice::Notice;
pub use promise::{
    CallbackToken, Deferred, DeferredError, Promise, PromiseCancelled, RemotePromise,
    RemoteSetError, Settled, SharedDeferred, promise,
};
pub use readiness::Registration;
pub use receive_buffer::ReceiveBuffer;
pub use run::{RunOptions, Runner, run};
pub use state::{ExceptionHandler, LocalLoop, NoticeHandler};
pub use task_graph::{
    CallGraph, ChildNode, Deadlock, DeadlockParty, TaskGraph, TaskNode, capture_call_graph,
};
pub use tasks::{all_tasks, current_task, spawn_eager};
pub use time::{
    CancelScope, ScopeCancelled, interval, interval_at, move_on_after, move_on_at, sleep,
    sleep_until, timeout, timeout_at, yield_now,
};
pub use timer::TimerHandle;
pub use watchdog::options::{Blocked, Watchdog};
pub use watchdog::stack::{Stack, StackFrame};

/// The layer below that runs tasks: what of it shows up here.
pub use rondel_executor::{
    Account, CancelToken, ChildInfo, Handle, JoinError, NewTask, NoTask, RemoteError, RemoteTask,
    Running, Task, TaskFactory, TaskId, TaskInfo, TaskLocal, TaskLocals, Waits,
};
/// The layer below that waits for descriptors: what of it shows up here.
pub use rondel_poll::{Selector, SourceKind};
