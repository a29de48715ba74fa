// Its program has the attribute.
#![cfg_attr(feature = "macros", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "macros"),
    doc = "Python's asyncio, built for Rust; without the feature `macros`."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

// Tasks and callbacks.
pub use rondel_executor::{
    DoneToken, Handle, JoinError, NewTask, Outcome, PanicPayload, RemoteError, RemoteTask, Task,
    TaskFactory, TaskId, TaskInfo, TaskSet,
};

// Composing.
pub use rondel_executor::{
    AsCompleted, Cancelled, Child, ChildInfo, Done, DynError, Either, ErrorGroup, GroupError,
    ReturnWhen, Shield, TaskGroup, TaskScope, Wait, as_completed, gather, race, select, shield,
    task_group, task_scope, try_gather, wait,
};

// Cancelling, and cleaning up.
pub use rondel_executor::{
    CancelOnDrop, CancelToken, Cancellable, Defer, bracket, cancel_and_wait, defer, finally, leave,
    shielded,
};

// Values of a task, and threads.
pub use rondel_executor::{
    Job, JobError, LoopBound, NoTask, SendTaskLocals, TaskLocal, TaskLocals, ThreadPool,
};

// The loop.
pub use rondel_loop::{
    Builder, CallbackToken, CancelScope, Deferred, DeferredError, EventLoop, ExceptionContext,
    ExceptionHandler, LocalLoop, LoopClosed, LoopHandle, NoRunningLoop, Outstanding, Promise,
    RemotePromise, RemoteSetError, RunError, RunOptions, Runner, ScopeCancelled, Settled,
    SharedDeferred, TimerHandle, all_tasks, call_soon, current_task, interval, interval_at,
    move_on_after, move_on_at, promise, run, run_in_executor, signal, sleep, sleep_until, spawn,
    spawn_eager, time, timeout, timeout_at, to_thread, yield_now,
};

// Looking into a running loop.
pub use rondel_executor::{Account, Running, Waits};
pub use rondel_loop::{
    Blocked, CallGraph, ChildNode, Deadlock, DeadlockParty, Histogram, InspectError, Inspection,
    Metrics, Notice, NoticeHandler, Stack, StackFrame, TaskGraph, TaskNode, Watchdog,
    capture_call_graph,
};

// Synchronisation, where asyncio has it.
pub use rondel_sync::{
    Barrier, Condition, Event, LifoQueue, Lock, Mutex, Notify, OnceCell, PriorityQueue, Queue,
    RwLock, Semaphore, broadcast, mpsc, oneshot, watch,
};

#[cfg(feature = "net")]
#[cfg_attr(docsrs, doc(cfg(feature = "net")))]
pub use rondel_net::{
    self as net, create_connection, create_server, open_connection, start_server,
};

#[doc(hidden)]
#[path = "branches.rs"]
pub mod __branches;

#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
pub use rondel_macros::{main, test};

#[cfg(feature = "macros")]
#[doc(hidden)]
#[path = "entry.rs"]
pub mod __entry;

/// Synchronisation between the tasks of a loop, with its guards, errors and futures; and, under `sync::shared`, between threads.
pub use rondel_sync as sync;

/// Tasks without a loop: the executor by itself, cleanup, thread pool.
pub use rondel_executor as executor;

/// Selectors: what a loop waits with, clocks for tests among them.
pub use rondel_poll as poll;

/// What most programs import.
///
/// ```
/// use rondel::prelude::*;
///
/// let answer = run(async { timeout(Duration::from_secs(1), async { 42 }).await })?;
/// assert_eq!(answer, Ok(42));
/// # Ok::<(), RunError>(())
/// ```
pub mod prelude {
    pub use std::time::Duration;

    pub use crate::{
        CancelScope, CancelToken, EventLoop, LocalLoop, LoopHandle, RunError, Task, TaskGroup,
        TaskSet, as_completed, bracket, defer, gather, interval, join, move_on_after, race, run,
        select, shield, sleep, spawn, task_group, task_scope, timeout, to_thread, try_gather,
        try_join, wait, yield_now,
    };
    #[cfg(feature = "net")]
    pub use crate::{
        create_connection, create_server,
        net::{Protocol, StreamReader, StreamWriter, TcpListener, TcpStream, Transport},
        open_connection, start_server,
    };
}
