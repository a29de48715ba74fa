//! The load generator: a process of its own that starts a server, keeps it busy and times it.
//!
//! It is as plain as the limit's server, one thread over epoll, so that on the other core it is never
//! what the figures measure more than it must be: on loopback a client costs as much as a server, which
//! is why the server's CPU time per request ranks and the rate does not.

mod client;
mod server;
mod session;

pub(crate) use server::Ready;

use std::thread;
use std::time::{Duration, Instant};

use client::Client;
use server::Server;

use crate::figure::{CPU, Figure, MEM, P50, P99, RATE, Record};
use crate::histogram::Histogram;
use crate::process::{Core, Error, allow_descriptors, die_with_parent, pin};
use crate::workloads::net::Net;
use crate::workloads::{Kind, Lengths, Scale, Workload};

/// When a run has lasted long enough.
#[derive(Clone, Copy, Debug)]
enum End {
    /// After a warm-up, whose requests do not count, and the time that is measured.
    Time {
        warm_up: Duration,
        measured: Duration,
    },
    /// After exactly so many requests: for counting tools, which want the same work every time.
    Requests(u64),
}

/// Starts the server that `command` names, puts `workload` on it and prints what was measured.
pub(crate) fn run(
    workload: &Workload,
    scale: Scale,
    requests: Option<u64>,
    command: &[String],
) -> Result<(), Error> {
    let Kind::Net(net) = workload.kind else {
        return Err(Error::new(format!(
            "{} needs no load: it is in-process",
            workload.name
        )));
    };
    die_with_parent()?;
    allow_descriptors()?;
    // The server pins itself; a tool around it stays free.
    let server = Server::start(command, net.is_listened_for())?;
    if workload.is_pinned() {
        pin(Core::Load)?;
    }
    let lengths = scale.lengths();
    let end = match requests {
        Some(requests) => End::Requests(requests),
        None => End::Time {
            warm_up: lengths.warm_up,
            measured: lengths.measured,
        },
    };
    for figure in drive(net, &server, end, lengths)? {
        println!(
            "{}",
            Record::new(&server.runtime, workload.name, figure).line()
        );
    }
    server.stop()
}

/// The measured window: it opens after the warm-up.
struct Window {
    opened: Instant,
    cpu: Duration,
}

fn drive(net: Net, server: &Server, end: End, lengths: Lengths) -> Result<Vec<Figure>, Error> {
    let mut client = Client::connect(net, server.address)?;
    let mut latencies = Histogram::new();
    let mut idle_memory = None;
    if let Some(idle) = net.idle() {
        let idle = idle.min(lengths.idle_connections);
        let before = server.resident()?;
        client.open_idle(idle)?;
        // What a server lets go of after a while counts as let go.
        thread::sleep(lengths.rest);
        let grown = server.resident()?.saturating_sub(before);
        idle_memory = Some(MEM.of(grown as f64 / idle as f64));
    }
    let open = || {
        Ok(Window {
            opened: Instant::now(),
            cpu: server.cpu_time()?,
        })
    };

    let mut window = open()?;
    let last = match end {
        End::Time { .. } => u64::MAX,
        End::Requests(requests) => requests,
    };
    client.begin(last, &mut latencies)?;
    if let End::Time { warm_up, .. } = end {
        while window.opened.elapsed() < warm_up {
            client.turn(last, &mut latencies)?;
        }
        latencies.clear();
        window = open()?;
    }
    match end {
        End::Time { measured, .. } => {
            while window.opened.elapsed() < measured || latencies.total() == 0 {
                client.turn(last, &mut latencies)?;
            }
        }
        End::Requests(requests) => {
            while latencies.total() < requests {
                client.turn(last, &mut latencies)?;
            }
        }
    }
    let elapsed = window.opened.elapsed();
    let cpu = server.cpu_time()?.saturating_sub(window.cpu);
    let completed = latencies.total() as f64;
    let mut figures = vec![
        RATE.of(completed / elapsed.as_secs_f64()),
        P50.of(latencies.percentile_us(0.5)),
        P99.of(latencies.percentile_us(0.99)),
        CPU.of(cpu.as_secs_f64() * 1e6 / completed),
    ];
    figures.extend(idle_memory);
    Ok(figures)
}
