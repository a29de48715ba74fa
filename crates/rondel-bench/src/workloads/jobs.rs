//! Which function does which in-process workload, and for which runtimes.

use super::runtime::{Broadcasts, Channels, Composes, Locks, Pool, Processes, Tasks, Timers};
use super::{Job, Micro};
use super::{compose, memory, procs, sync, tasks, threads, timers};

/// All in-process workloads, for a complete runtime.
pub(crate) fn all_jobs<R>(micro: Micro) -> Option<Job>
where
    R: Timers + Pool + Locks + Channels + Composes + Broadcasts + Processes,
{
    match micro {
        Micro::Broadcast => Some(sync::broadcast::<R>),
        Micro::Procs => Some(procs::procs::<R>),
        _ => most_jobs::<R>(micro),
    }
}

/// All in-process workloads but those with broadcasts or children.
pub(crate) fn most_jobs<R>(micro: Micro) -> Option<Job>
where
    R: Timers + Pool + Locks + Channels + Composes,
{
    let job: Job = match micro {
        Micro::TimersCancel => timers::cancel::<R>,
        Micro::TimersFire => timers::fire::<R>,
        Micro::MemSleep => memory::sleeping_tasks::<R>,
        Micro::CrossThread => threads::cross_thread::<R>,
        Micro::Blocking => threads::blocking::<R>,
        Micro::Mutex => sync::mutex::<R>,
        Micro::MutexPlain => sync::mutex_plain::<R>,
        Micro::Semaphore => sync::semaphore::<R>,
        Micro::Mpsc => sync::mpsc::<R>,
        Micro::PingPongChannel => sync::ping_pong::<R>,
        Micro::Gather => compose::gather::<R>,
        Micro::TaskSet => compose::task_set::<R>,
        Micro::TaskGroup => compose::group::<R>,
        _ => return task_jobs::<R>(micro),
    };
    Some(job)
}

/// Those that need no clock and no other thread.
pub(crate) fn task_jobs<R: Tasks>(micro: Micro) -> Option<Job> {
    let job: Job = match micro {
        Micro::Spawn => tasks::spawn::<R>,
        Micro::Yield => tasks::yields::<R>,
        Micro::PingPong => tasks::ping_pong::<R>,
        Micro::CallSoon => tasks::call_soon::<R>,
        Micro::MemPending => memory::pending_tasks::<R>,
        Micro::GatherByFutures => compose::gather_by_futures::<R>,
        Micro::GroupByFutures => compose::group_by_futures::<R>,
        _ => return None,
    };
    Some(job)
}

/// For contenders that only serve.
pub(crate) const fn no_job(_: Micro) -> Option<Job> {
    None
}
