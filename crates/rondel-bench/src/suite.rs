//! The whole run: every contender at every workload, a process each, interleaved, round by round.

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::contenders::Contender;
use crate::figure::Record;
use crate::load::Ready;
use crate::process::{Core, Error, allow_descriptors, die_with_parent, output_of, pin};
use crate::report::{Results, Row};
use crate::tls;
use crate::workloads::net::Net;
use crate::workloads::{Kind, Scale, Workload};

/// The file that this process was started from, even if a build has replaced it since (proc(5)): all
/// rounds run the same code.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// Far more than the slowest run takes.
const LIMIT: Duration = Duration::from_secs(180);
/// More than connect at the same time.
const BACKLOG: i32 = 4096;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) contenders: Vec<&'static Contender>,
    pub(crate) workloads: Vec<&'static Workload>,
    pub(crate) rounds: u32,
    pub(crate) scale: Scale,
    pub(crate) json: bool,
}

/// Runs the plan and prints each workload's table when its last round is over.
///
/// Rounds of one workload follow one another, and within a round the contenders, beginning with
/// another one each time: a ratio is taken between runs that are seconds apart.
pub(crate) fn run(plan: &Plan) -> Result<(), Error> {
    if cfg!(debug_assertions) {
        eprintln!("note: built without optimisation, the figures mean nothing");
    }
    note_what_is_skipped(plan);
    let mut failures = 0;
    for workload in &plan.workloads {
        let able: Vec<_> = plan
            .contenders
            .iter()
            .filter(|c| c.does(workload))
            .copied()
            .collect();
        if able.is_empty() {
            continue;
        }
        let rows = able.iter().map(|c| Row::new(c.name, plan.rounds)).collect();
        let mut results = Results {
            workload: workload.name,
            metrics: workload.metrics,
            rows,
        };
        for round in 0..plan.rounds as usize {
            if io::stderr().is_terminal() {
                // Overwritten by the next line.
                eprint!("{:<14} {}/{}\r", workload.name, round + 1, plan.rounds);
            }
            for turn in 0..able.len() {
                let index = (round + turn) % able.len();
                match measure(able[index], workload, plan.scale) {
                    Ok(records) => results.rows[index].note(round, &records),
                    Err(error) => {
                        failures += 1;
                        eprintln!("{} {}: {error}", able[index].name, workload.name);
                    }
                }
            }
        }
        results.print(plan.json);
    }
    match failures {
        0 => Ok(()),
        _ => Err(Error::new(format!("{failures} runs failed"))),
    }
}

fn note_what_is_skipped(plan: &Plan) {
    for contender in &plan.contenders {
        let lacking = plan
            .workloads
            .iter()
            .filter(|workload| !contender.does(workload));
        let lacking: Vec<_> = lacking.map(|workload| workload.name).collect();
        if !lacking.is_empty() {
            eprintln!(
                "note: {} does not do {}: skipped",
                contender.name,
                lacking.join(", ")
            );
        }
    }
}

/// One run in a process of its own; for the network, in two.
fn measure(contender: &Contender, workload: &Workload, scale: Scale) -> Result<Vec<Record>, Error> {
    let child = [
        "child",
        contender.name,
        workload.name,
        "--scale",
        scale.name(),
    ];
    let mut command = Command::new(THIS_PROGRAM);
    match workload.kind {
        Kind::Micro(_) => command.args(child),
        Kind::Net(_) => command
            .args(["load", workload.name, "--scale", scale.name(), "--"])
            .arg(THIS_PROGRAM)
            .args(child),
    };
    records_of(&output_of(&mut command, LIMIT)?, workload)
}

/// The figures that a child has printed: all that the workload promises, and finite.
pub(crate) fn records_of(output: &str, workload: &Workload) -> Result<Vec<Record>, Error> {
    let parse = |line| serde_json::from_str::<Record>(line);
    let records: Vec<Record> = output
        .lines()
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(Error::during(format_args!("read figures from {output:?}")))?;
    for metric in workload.metrics {
        let found = records.iter().find(|record| record.metric == metric.name);
        if !found.is_some_and(|record| record.value.is_finite()) {
            return Err(Error::new(format!("no {} in {output:?}", metric.name)));
        }
    }
    Ok(records)
}

/// What such a process does: one in-process run, or a server until it is killed.
pub(crate) fn child(contender: &Contender, workload: &Workload, scale: Scale) -> Result<(), Error> {
    die_with_parent()?;
    if workload.is_pinned() {
        pin(Core::Contender)?;
    }
    allow_descriptors()?;
    let lacking = || Error::new(format!("{} does not do {}", contender.name, workload.name));
    match workload.kind {
        Kind::Micro(micro) => {
            let job = contender.job(micro).ok_or_else(lacking)?;
            for figure in job(&scale.lengths()) {
                println!(
                    "{}",
                    Record::new(contender.name, workload.name, figure).line()
                );
            }
            Ok(())
        }
        Kind::Net(Net::Datagrams { .. }) => {
            let serve = contender.serve_datagrams.ok_or_else(lacking)?;
            let socket = bind(contender).map_err(Error::during("bind on loopback"))?;
            serve(socket).map_err(Error::during(format_args!("serve {}", workload.name)))
        }
        Kind::Net(Net::Tls { .. } | Net::Handshake { .. }) => {
            let serve = contender.serve_tls.ok_or_else(lacking)?;
            let config = tls::server_config()?;
            let listener = listen(contender).map_err(Error::during("listen on loopback"))?;
            serve(listener, config).map_err(Error::during(format_args!("serve {}", workload.name)))
        }
        Kind::Net(Net::HttpWorkers { .. }) => {
            let serve = contender.serve_http_by_workers.ok_or_else(lacking)?;
            serve(&|port| announce(contender, port))
                .map_err(Error::during(format_args!("serve {}", workload.name)))
        }
        Kind::Net(net) => {
            let serve = match net {
                Net::Http { .. } | Net::HttpIdle { .. } => contender.serve_http,
                _ => contender.serve,
            };
            let serve = serve.ok_or_else(lacking)?;
            let listener = listen(contender).map_err(Error::during("listen on loopback"))?;
            serve(listener).map_err(Error::during(format_args!("serve {}", workload.name)))
        }
    }
}

/// Listens on a free port and says on which.
fn listen(contender: &Contender) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // Once more, for a longer queue than std's.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    announce(contender, listener.local_addr()?.port())?;
    Ok(listener)
}

/// Binds to a free port for datagrams and says which.
fn bind(contender: &Contender) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    announce(contender, socket.local_addr()?.port())?;
    Ok(socket)
}

fn announce(contender: &Contender, port: u16) -> io::Result<()> {
    let ready = Ready {
        runtime: contender.name.to_owned(),
        port,
        pid: rustix::process::getpid().as_raw_nonzero().get(),
    };
    let mut stdout = io::stdout();
    serde_json::to_writer(&mut stdout, &ready)?;
    writeln!(stdout)
}
