#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub use rondel_executor::{
    DoneToken, Handle, Job, JobError, JoinError, LoopBound, Outcome, PanicPayload, RemoteError,
    RemoteTask, Task, TaskId, TaskInfo, ThreadPool,
};
pub use rondel_loop::{
    Builder, EventLoop, ExceptionContext, ExceptionHandler, LocalLoop, LoopClosed, LoopHandle,
    NoRunningLoop, Outstanding, RunError, RunOptions, Runner, TimerHandle, call_soon, interval,
    interval_at, run, run_in_executor, signal, sleep, sleep_until, spawn, time, timeout,
    timeout_at, to_thread, yield_now,
};

#[cfg(feature = "net")]
#[cfg_attr(docsrs, doc(cfg(feature = "net")))]
pub use rondel_net::{self as net, open_connection, start_server};

/// Synchronisation between the tasks of a loop.
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
        EventLoop, LocalLoop, LoopHandle, RunError, Task, interval, run, sleep, spawn, timeout,
        to_thread, yield_now,
    };
    #[cfg(feature = "net")]
    pub use crate::{
        net::{StreamReader, StreamWriter, TcpListener, TcpStream},
        open_connection, start_server,
    };
}
