//! What is measured: the table of workloads, and how long one run of each lasts.
//!
//! The in-process workloads are written once, generic over the contender, so that all of them do the
//! same work; the network ones are a server by each contender under one load generator.

pub(crate) mod compose;
pub(crate) mod jobs;
pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod procs;
pub(crate) mod rate;
pub(crate) mod runtime;
pub(crate) mod sync;
pub(crate) mod tasks;
pub(crate) mod threads;
pub(crate) mod timers;

use std::time::Duration;

use clap::ValueEnum;

use crate::figure::{CPU, CPU_TOTAL, Figure, LATE_MAX, LATE_P50, LATE_P99};
use crate::figure::{MEM, Metric, P50, P99, RATE};
use net::Net;

/// One run of an in-process workload by one contender.
pub(crate) type Job = fn(&Lengths) -> Vec<Figure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Family {
    Micro,
    Net,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Micro {
    Spawn,
    Yield,
    PingPong,
    CallSoon,
    TimersCancel,
    TimersFire,
    CrossThread,
    Blocking,
    Procs,
    MemPending,
    MemSleep,
    Mutex,
    MutexPlain,
    Semaphore,
    Mpsc,
    PingPongChannel,
    Broadcast,
    Gather,
    GatherByFutures,
    TaskSet,
    TaskGroup,
    GroupByFutures,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Micro(Micro),
    Net(Net),
}

/// A workload as the command line and the table know it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) metrics: &'static [Metric],
    pub(crate) what: &'static str,
}

impl Workload {
    /// Whether contender and load have a core of their own.
    pub(crate) const fn is_pinned(&self) -> bool {
        match self.kind {
            Kind::Micro(_) => true,
            Kind::Net(net) => net.is_pinned(),
        }
    }

    pub(crate) const fn family(&self) -> Family {
        match self.kind {
            Kind::Micro(_) => Family::Micro,
            Kind::Net(_) => Family::Net,
        }
    }
}

const fn micro(
    name: &'static str,
    micro: Micro,
    metrics: &'static [Metric],
    what: &'static str,
) -> Workload {
    Workload {
        name,
        kind: Kind::Micro(micro),
        metrics,
        what,
    }
}

const fn echo(name: &'static str, bytes: usize, connections: usize) -> Workload {
    Workload {
        name,
        kind: Kind::Net(Net::Echo { bytes, connections }),
        metrics: &[RATE, P50, P99, CPU],
        what: "a message to each connection, its copy back and compared, then the next",
    }
}

const fn tls(name: &'static str, bytes: usize) -> Workload {
    Workload {
        name,
        kind: Kind::Net(Net::Tls {
            bytes,
            connections: 50,
        }),
        metrics: &[RATE, P50, P99, CPU],
        what: "the same inside TLS 1.3 by rustls and ring, 50 connections",
    }
}

const fn http(name: &'static str, connections: usize) -> Workload {
    Workload {
        name,
        kind: Kind::Net(Net::Http { connections }),
        metrics: &[RATE, P50, P99, CPU],
        what: "a request over HTTP/1.1, a short answer by hyper, then the next on the same connection",
    }
}

pub(crate) const WORKLOADS: &[Workload] = &[
    micro(
        "spawn",
        Micro::Spawn,
        &[RATE],
        "no-op tasks spawned and joined, 1000 at a time",
    ),
    micro(
        "yield",
        Micro::Yield,
        &[RATE],
        "1000 tasks that each yield 1000 times",
    ),
    micro(
        "pingpong",
        Micro::PingPong,
        &[RATE],
        "round trips of two tasks by bare wakers",
    ),
    micro(
        "call_soon",
        Micro::CallSoon,
        &[RATE],
        "callbacks, 1000 at a time; a peer's user spawns a task and drops its handle",
    ),
    micro(
        "timers_cancel",
        Micro::TimersCancel,
        &[RATE],
        "100k sleeps of 10..60 s armed, then dropped",
    ),
    micro(
        "timers_fire",
        Micro::TimersFire,
        &[CPU_TOTAL, LATE_P50, LATE_P99, LATE_MAX],
        "100k tasks asleep for random 1..1000 ms: CPU time of all, lateness of each",
    ),
    micro(
        "xthread",
        Micro::CrossThread,
        &[P50, P99],
        "a thread on the same core completes what the loop sleeps for: until the task runs",
    ),
    micro(
        "blocking",
        Micro::Blocking,
        &[RATE],
        "no-ops through the thread pool, one at a time",
    ),
    micro(
        "procs",
        Micro::Procs,
        &[RATE],
        "/bin/true started and waited for, 10 at a time",
    ),
    micro(
        "mem_pending",
        Micro::MemPending,
        &[MEM],
        "resident bytes of a task that never wakes",
    ),
    micro(
        "mem_sleep",
        Micro::MemSleep,
        &[MEM],
        "resident bytes of a task asleep for an hour",
    ),
    micro(
        "mutex",
        Micro::Mutex,
        &[RATE],
        "100 tasks that lock, yield inside, unlock",
    ),
    micro(
        "mutex_plain",
        Micro::MutexPlain,
        &[RATE],
        "the same without the yield",
    ),
    micro(
        "semaphore",
        Micro::Semaphore,
        &[RATE],
        "100 tasks that acquire one of 10 permits, yield, release it",
    ),
    micro(
        "mpsc",
        Micro::Mpsc,
        &[RATE],
        "messages through a channel of 100 places, one sender",
    ),
    micro(
        "pingpong_chan",
        Micro::PingPongChannel,
        &[RATE],
        "round trips of two tasks over two channels of one place",
    ),
    micro(
        "broadcast",
        Micro::Broadcast,
        &[RATE],
        "deliveries to 100 receivers of a channel that keeps 16 values",
    ),
    micro(
        "gather",
        Micro::Gather,
        &[RATE],
        "1000 futures that each yield once, gathered; tokio has its JoinSet for that",
    ),
    micro(
        "gather_futures",
        Micro::GatherByFutures,
        &[RATE],
        "the same by futures' join_all on every runtime",
    ),
    micro(
        "taskset",
        Micro::TaskSet,
        &[RATE],
        "no-op tasks spawned into a set and joined as they end, 1000 at a time",
    ),
    micro(
        "taskgroup",
        Micro::TaskGroup,
        &[RATE],
        "one of 1000 children woken and polled; where there are no groups, FuturesUnordered",
    ),
    micro(
        "group_futures",
        Micro::GroupByFutures,
        &[RATE],
        "the same by FuturesUnordered on every runtime",
    ),
    echo("echo_16B_c1", 16, 1),
    echo("echo_16B_c50", 16, 50),
    echo("echo_16B_c500", 16, 500),
    echo("echo_1K_c1", 1024, 1),
    echo("echo_1K_c50", 1024, 50),
    echo("echo_1K_c500", 1024, 500),
    echo("echo_100K_c1", 100 * 1024, 1),
    echo("echo_100K_c50", 100 * 1024, 50),
    echo("echo_100K_c500", 100 * 1024, 500),
    Workload {
        name: "churn",
        kind: Kind::Net(Net::Churn {
            bytes: 16,
            connections: 50,
        }),
        metrics: &[RATE, P50, P99, CPU],
        what: "connect, one message of 16 B and its copy, close; 50 at a time",
    },
    Workload {
        name: "udp_512B",
        kind: Kind::Net(Net::Datagrams {
            bytes: 512,
            connections: 16,
        }),
        metrics: &[RATE, P50, P99, CPU],
        what: "a datagram by each of 16 sockets, its copy back and compared, then the next",
    },
    tls("tls_1K_c50", 1024),
    tls("tls_16K_c50", 16 * 1024),
    Workload {
        name: "tls_handshake",
        kind: Kind::Net(Net::Handshake {
            bytes: 16,
            connections: 50,
        }),
        metrics: &[RATE, P50, P99, CPU],
        what: "connect, a full handshake, one message of 16 B and its copy, close; 50 at a time",
    },
    http("http_c50", 50),
    http("http_c500", 500),
    Workload {
        name: "http_idle10k",
        kind: Kind::Net(Net::HttpIdle {
            connections: 50,
            idle: 10_000,
        }),
        metrics: &[RATE, P50, P99, CPU, MEM],
        what: "http_c50 beside 10k connections that have been used once and are kept: mem is for each of them",
    },
    Workload {
        name: "http_workers",
        kind: Kind::Net(Net::HttpWorkers { connections: 100 }),
        metrics: &[RATE, P50, P99, CPU],
        what: "http_c50 with 100 connections, by two workers on all cores, which they share with the load",
    },
    Workload {
        name: "idle10k",
        kind: Kind::Net(Net::Idle {
            bytes: 1024,
            connections: 50,
            idle: 10_000,
        }),
        metrics: &[RATE, P50, P99, CPU, MEM],
        what: "echo_1K_c50 beside 10k connections that have been used once: mem is for each of them",
    },
];

/// The workload of that name; the error names those there are.
pub(crate) fn find(name: &str) -> Result<&'static Workload, String> {
    WORKLOADS
        .iter()
        .find(|workload| workload.name == name)
        .ok_or_else(|| {
            let known: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
            format!("no such workload; there are {}", known.join(", "))
        })
}

/// The named workloads, or all of a family, in the order of the table.
pub(crate) fn selected(
    family: Option<Family>,
    named: &[&'static Workload],
) -> Vec<&'static Workload> {
    let in_family = |w: &&Workload| family.is_none_or(|family| w.family() == family);
    let is_named = |w: &&Workload| named.is_empty() || named.contains(w);
    WORKLOADS
        .iter()
        .filter(in_family)
        .filter(is_named)
        .collect()
}

/// How long one run lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// For figures that are claimed.
    Full,
    /// For a look.
    Quick,
    /// For tests: the work is done, the figures mean nothing.
    Tiny,
}

impl Scale {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Quick => "quick",
            Self::Tiny => "tiny",
        }
    }

    pub(crate) const fn lengths(self) -> Lengths {
        match self {
            Self::Full => Lengths {
                warm_up: Duration::from_millis(200),
                measured: Duration::from_millis(1000),
                yields: 1000,
                timers: 100_000,
                longest_sleep: Duration::from_millis(1000),
                hand_overs: 5000,
                children: 1000,
                pending_tasks: 1_000_000,
                sleeping_tasks: 200_000,
                idle_connections: usize::MAX,
                rest: Duration::from_millis(3000),
            },
            Self::Quick => Lengths {
                warm_up: Duration::from_millis(100),
                measured: Duration::from_millis(400),
                yields: 1000,
                timers: 100_000,
                longest_sleep: Duration::from_millis(1000),
                hand_overs: 2000,
                children: 300,
                pending_tasks: 200_000,
                sleeping_tasks: 100_000,
                idle_connections: usize::MAX,
                rest: Duration::from_millis(3000),
            },
            Self::Tiny => Lengths {
                warm_up: Duration::ZERO,
                measured: Duration::from_millis(10),
                yields: 5,
                timers: 1000,
                longest_sleep: Duration::from_millis(30),
                hand_overs: 20,
                children: 10,
                pending_tasks: 20_000,
                sleeping_tasks: 20_000,
                idle_connections: 100,
                rest: Duration::from_millis(0),
            },
        }
    }
}

/// The numbers behind a scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// Before the clock starts, for workloads that measure a rate.
    pub(crate) warm_up: Duration,
    /// While it runs.
    pub(crate) measured: Duration,
    pub(crate) yields: usize,
    pub(crate) timers: usize,
    pub(crate) longest_sleep: Duration,
    pub(crate) hand_overs: usize,
    pub(crate) children: usize,
    pub(crate) pending_tasks: usize,
    pub(crate) sleeping_tasks: usize,
    /// At most so many of those that a workload wants.
    pub(crate) idle_connections: usize,
    /// Before their memory is read.
    pub(crate) rest: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for workload in WORKLOADS {
            assert_eq!(find(workload.name), Ok(workload));
        }
        assert!(find("echo_1M_c1").unwrap_err().contains("echo_1K_c50"));
    }

    #[test]
    fn selection_keeps_the_order_of_the_table() {
        let named = [find("churn").unwrap(), find("spawn").unwrap()];
        let names = |chosen: Vec<&Workload>| chosen.iter().map(|w| w.name).collect::<Vec<_>>();
        assert_eq!(names(selected(None, &named)), ["spawn", "churn"]);
        assert_eq!(names(selected(Some(Family::Net), &named)), ["churn"]);
        assert_eq!(selected(None, &[]).len(), WORKLOADS.len());
    }
}
