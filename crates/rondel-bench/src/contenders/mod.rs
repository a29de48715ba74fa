//! The contenders, one file each. What they do not do is not run, and said so.
//!
//! A runtime joins by one file and one line in `CONTENDERS`: the traits below are what the in-process
//! workloads ask of it, and `serve` is its echo server.

mod limit;
mod limit_task;
mod monoio;
mod rondel;
mod smol;
mod tokio;
mod tokio_tuned;

use std::future::Future;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use crate::workloads::net::Net;
use crate::workloads::{Job, Kind, Micro, Workload, memory, procs, tasks, threads, timers};

/// The one that all others are put in proportion to.
pub(crate) const BASELINE: &str = "tokio";

/// Buffer of an idiomatic echo server, per connection.
const IDIOMATIC_BUFFER: usize = 16 * 1024;
/// That of one of datagrams: any fits.
const DATAGRAM_BUFFER: usize = 64 * 1024;
/// Buffer of a server at its best, shared by all connections.
const SHARED_BUFFER: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// How it does an in-process workload, if it does.
    micro: fn(Micro) -> Option<Job>,
    /// Its echo server, if it has one: serves until the process is killed.
    pub(crate) serve: Option<fn(TcpListener) -> io::Result<()>>,
    /// The same for datagrams.
    pub(crate) serve_datagrams: Option<fn(UdpSocket) -> io::Result<()>>,
}

/// They are told apart by their names.
impl PartialEq for Contender {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

pub(crate) const CONTENDERS: &[Contender] = &[
    rondel::CONTENDER,
    rondel::PROTOCOL,
    tokio::CONTENDER,
    tokio_tuned::CONTENDER,
    smol::CONTENDER,
    monoio::CONTENDER,
    limit::CONTENDER,
    limit_task::CONTENDER,
];

impl Contender {
    pub(crate) fn job(&self, micro: Micro) -> Option<Job> {
        (self.micro)(micro)
    }

    pub(crate) fn does(&self, workload: &Workload) -> bool {
        match workload.kind {
            Kind::Micro(micro) => self.job(micro).is_some(),
            Kind::Net(Net::Datagrams { .. }) => self.serve_datagrams.is_some(),
            Kind::Net(Net::Echo { .. } | Net::Churn { .. }) => self.serve.is_some(),
        }
    }
}

/// The contender of that name; the error names those there are.
pub(crate) fn find(name: &str) -> Result<&'static Contender, String> {
    CONTENDERS
        .iter()
        .find(|contender| contender.name == name)
        .ok_or_else(|| {
            let known: Vec<_> = CONTENDERS.iter().map(|contender| contender.name).collect();
            format!("no such contender; there are {}", known.join(", "))
        })
}

/// The named contenders, or all, in the order of the table.
pub(crate) fn selected(named: &[&'static Contender]) -> Vec<&'static Contender> {
    CONTENDERS
        .iter()
        .filter(|c| named.is_empty() || named.contains(c))
        .collect()
}

/// An executor on the current thread, used as its own users use it.
pub(crate) trait Tasks: 'static {
    /// The handle of a spawned task; awaiting it joins.
    type Task<T: 'static>: Future;

    /// Sets the runtime up, runs `main` to its end, tears it down.
    fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T;
    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Self::Task<T>;
    /// What a joined task returned.
    fn joined<T: 'static>(output: <Self::Task<T> as Future>::Output) -> T;
    /// Lets go of the handle; the task goes on.
    fn detach<T: 'static>(task: Self::Task<T>);
    fn yield_now() -> impl Future<Output = ()>;

    /// Schedules a callback. Where there is no such thing, users spawn a task and forget it.
    fn call_soon(callback: impl FnOnce() + 'static) {
        Self::detach(Self::spawn(async move { callback() }));
    }
}

/// An executor whose tasks can sleep.
pub(crate) trait Timers: Tasks {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;

    /// Lifts the limit, where there is one, on what a task may do in one poll.
    fn unbudgeted<T>(main: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        main
    }
}

/// An executor with threads beside it for what blocks.
pub(crate) trait Pool: Tasks {
    fn unblock(work: impl FnOnce() + Send + 'static) -> impl Future<Output = ()>;
}

/// A runtime that starts programs; monoio has nothing for it.
pub(crate) trait Processes: Tasks {
    /// Starts [`PROGRAM`](procs::PROGRAM) and waits for its success.
    fn run_program() -> impl Future<Output = ()>;
}

/// All in-process workloads, for a runtime that has children, too.
fn jobs_and_children<R: Timers + Pool + Processes>(micro: Micro) -> Option<Job> {
    match micro {
        Micro::Procs => Some(procs::procs::<R>),
        _ => all_jobs::<R>(micro),
    }
}

/// All in-process workloads but those with children.
fn all_jobs<R: Timers + Pool>(micro: Micro) -> Option<Job> {
    let job: Job = match micro {
        Micro::TimersCancel => timers::cancel::<R>,
        Micro::TimersFire => timers::fire::<R>,
        Micro::MemSleep => memory::sleeping_tasks::<R>,
        Micro::CrossThread => threads::cross_thread::<R>,
        Micro::Blocking => threads::blocking::<R>,
        _ => return task_jobs::<R>(micro),
    };
    Some(job)
}

/// Those that need no clock and no other thread.
fn task_jobs<R: Tasks>(micro: Micro) -> Option<Job> {
    let job: Job = match micro {
        Micro::Spawn => tasks::spawn::<R>,
        Micro::Yield => tasks::yields::<R>,
        Micro::PingPong => tasks::ping_pong::<R>,
        Micro::CallSoon => tasks::call_soon::<R>,
        Micro::MemPending => memory::pending_tasks::<R>,
        _ => return None,
    };
    Some(job)
}

/// For contenders that only serve.
const fn no_job(_: Micro) -> Option<Job> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_is_found_and_the_baseline_is_one() {
        for contender in CONTENDERS {
            assert_eq!(find(contender.name), Ok(contender));
        }
        assert!(find(BASELINE).is_ok());
        assert!(find("async-std").unwrap_err().contains("tokio-tuned"));
    }
}
