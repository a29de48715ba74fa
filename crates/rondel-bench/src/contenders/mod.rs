//! The contenders, one file each. What they do not do is not run, and said so.
//!
//! A runtime joins by one file and one line in `CONTENDERS`: the traits below are what the in-process
//! workloads ask of it, and `serve` is its echo server.

mod limit;
mod limit_task;
mod monoio;
mod nginx;
mod rondel;
mod rondel_guest;
mod rondel_http;
mod smol;
mod tokio;
mod tokio_tuned;

use std::env;
use std::future::Future;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ServerConfig;

use crate::workloads::net::Net;
use crate::workloads::{Job, Kind, Micro, Workload};
use crate::workloads::{compose, memory, procs, sync, tasks, threads, timers};

/// The one that all others are put in proportion to.
pub(crate) const BASELINE: &str = "tokio";

/// Buffer of an idiomatic echo server, per connection.
const IDIOMATIC_BUFFER: usize = 16 * 1024;
/// That of one of datagrams: any fits.
const DATAGRAM_BUFFER: usize = 64 * 1024;
/// Threads, or processes, of a server on several cores.
pub(crate) const WORKERS: usize = 2;
/// Buffer of a server at its best, shared by all connections.
const SHARED_BUFFER: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// A program without which it does nothing.
    needs: Option<&'static str>,
    /// How it does an in-process workload, if it does.
    micro: fn(Micro) -> Option<Job>,
    /// Its echo server, if it has one: serves until the process is killed.
    pub(crate) serve: Option<fn(TcpListener) -> io::Result<()>>,
    /// The same for datagrams.
    pub(crate) serve_datagrams: Option<fn(UdpSocket) -> io::Result<()>>,
    /// The same inside TLS.
    pub(crate) serve_tls: Option<ServeTls>,
    /// Its HTTP server, which answers whatever it is asked by [`HELLO`](crate::workloads::net::HELLO).
    pub(crate) serve_http: Option<fn(TcpListener) -> io::Result<()>>,
    /// The same by [`WORKERS`] threads or processes, which bind for themselves.
    pub(crate) serve_http_by_workers: Option<fn(Announce<'_>) -> io::Result<()>>,
}

/// Told the port.
pub(crate) type Announce<'a> = &'a dyn Fn(u16) -> io::Result<()>;

/// Serves until the process is killed.
type ServeTls = fn(TcpListener, Arc<ServerConfig>) -> io::Result<()>;

/// They are told apart by their names.
impl PartialEq for Contender {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

pub(crate) const CONTENDERS: &[Contender] = &[
    rondel::CONTENDER,
    rondel::PROTOCOL,
    rondel_http::CONTENDER,
    rondel_guest::CONTENDER,
    tokio::CONTENDER,
    tokio_tuned::CONTENDER,
    smol::CONTENDER,
    monoio::CONTENDER,
    limit::CONTENDER,
    limit_task::CONTENDER,
    nginx::CONTENDER,
];

impl Contender {
    pub(crate) fn job(&self, micro: Micro) -> Option<Job> {
        (self.micro)(micro)
    }

    pub(crate) fn does(&self, workload: &Workload) -> bool {
        if self.needs.is_some_and(|program| !is_installed(program)) {
            return false;
        }
        match workload.kind {
            Kind::Micro(micro) => self.job(micro).is_some(),
            Kind::Net(Net::Datagrams { .. }) => self.serve_datagrams.is_some(),
            Kind::Net(Net::Tls { .. } | Net::Handshake { .. }) => self.serve_tls.is_some(),
            Kind::Net(Net::Http { .. } | Net::HttpIdle { .. }) => self.serve_http.is_some(),
            Kind::Net(Net::HttpWorkers { .. }) => self.serve_http_by_workers.is_some(),
            Kind::Net(Net::Echo { .. } | Net::Churn { .. } | Net::Idle { .. }) => {
                self.serve.is_some()
            }
        }
    }
}

fn is_installed(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
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

/// A lock and a semaphore between tasks of one thread: the runtime's own, or what its users take beside it.
pub(crate) trait Locks: Tasks {
    type Mutex: 'static;
    type Semaphore: 'static;

    fn mutex() -> Self::Mutex;
    /// Locked until what this gives is dropped.
    fn lock(mutex: &Self::Mutex) -> impl Future<Output = impl Sized>;
    fn semaphore(permits: usize) -> Self::Semaphore;
    /// One permit, until what this gives is dropped.
    fn acquire(semaphore: &Self::Semaphore) -> impl Future<Output = impl Sized>;
}

/// A bounded channel.
pub(crate) trait Channels: Tasks {
    type Sender: 'static;
    type Receiver: 'static;

    fn channel(bound: usize) -> (Self::Sender, Self::Receiver);
    fn send(sender: &mut Self::Sender, message: u64) -> impl Future<Output = ()>;
    /// `None` when the sender is gone.
    fn recv(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>>;
}

/// A channel in which every receiver gets every value.
pub(crate) trait Broadcasts: Tasks {
    type Announcer: 'static;
    type Listener: 'static;

    fn broadcast(capacity: usize, receivers: usize) -> (Self::Announcer, Vec<Self::Listener>);
    fn send_to_all(sender: &mut Self::Announcer, value: u64) -> impl Future<Output = ()>;
    /// The next value; the sender is there and none has been missed.
    fn receive(receiver: &mut Self::Listener) -> impl Future<Output = u64>;
}

/// Many futures run by one.
pub(crate) trait Composes: Tasks {
    type Set: 'static;

    /// Runs them beside one another, and adds up all their outputs.
    fn gather<F>(futures: Vec<F>) -> impl Future<Output = usize>
    where
        F: Future<Output = usize> + 'static;

    fn set() -> Self::Set;
    fn spawn_into(set: &mut Self::Set, future: impl Future<Output = usize> + 'static);
    /// What the next task to end has returned; `None` if there is none.
    fn join_next(set: &mut Self::Set) -> impl Future<Output = Option<usize>>;

    /// Runs them as parts of the caller until all have ended.
    fn group<F>(children: Vec<F>) -> impl Future<Output = ()> + 'static
    where
        F: Future<Output = ()> + 'static,
    {
        unordered(children)
    }
}

/// Runs them by futures' `FuturesUnordered` until all have ended.
pub(crate) async fn unordered<F: Future<Output = ()>>(children: Vec<F>) {
    let mut children: FuturesUnordered<F> = children.into_iter().collect();
    while children.next().await.is_some() {}
}

/// All in-process workloads, for a complete runtime.
fn all_jobs<R>(micro: Micro) -> Option<Job>
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
fn most_jobs<R>(micro: Micro) -> Option<Job>
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
fn task_jobs<R: Tasks>(micro: Micro) -> Option<Job> {
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
