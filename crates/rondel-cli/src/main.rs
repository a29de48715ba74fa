//! `rondel`: looks into a running program that is built on rondel.
#![forbid(unsafe_code)]

mod client;
mod snapshot;
mod sockets;
mod table;
mod top;
mod tree;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use client::{AskError, Target};

/// Looks into a running program that is built on rondel.
///
/// The program must be open to inspection: started with RONDEL_INSPECT=1, or by a call of its own.
#[derive(Parser, Debug)]
#[command(name = "rondel", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// The processes that are open to inspection.
    List,
    /// The tasks of a process: what each waits for, how often and for how long it ran.
    Ps {
        #[command(flatten)]
        whom: Whom,
        /// What the program says, as it is.
        #[arg(long)]
        json: bool,
    },
    /// Who awaits whom, with deadlocks at the end.
    Pstree {
        #[command(flatten)]
        whom: Whom,
        /// What the program says, as it is.
        #[arg(long)]
        json: bool,
    },
    /// What a process does, live: the loop's lag, the busiest tasks, its sockets. `q` leaves.
    Top {
        #[command(flatten)]
        whom: Whom,
        /// Seconds from one look to the next.
        #[arg(long, default_value_t = 1.0, value_parser = interval)]
        interval: f64,
        /// Ends after so many looks; one, where standard output is no terminal, but for --json.
        #[arg(long, short = 'n', value_parser = clap::value_parser!(u64).range(1..))]
        frames: Option<u64>,
        /// What the program says, as it is, a line for each look.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Whom {
    /// The number of the process.
    pid: Option<u32>,
    /// The socket itself, if it is not where it is looked for.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.05 to 3600".into()),
    }
}

impl Whom {
    fn target(self) -> Target {
        match (self.pid, self.socket) {
            (_, Some(path)) => Target::Socket(path),
            (Some(pid), None) => Target::Process(pid),
            (None, None) => unreachable!("clap wants one of the two"),
        }
    }
}

/// Why the command failed.
enum Failure {
    Ask(AskError),
    Output(io::Error),
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::Ask(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<top::Error> for Failure {
    fn from(error: top::Error) -> Self {
        match error {
            top::Error::Ask(error) => Self::Ask(error),
            top::Error::Terminal(error) => Self::Output(error),
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read us has enough: `rondel ps PID | head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let text = match failure {
                Failure::Ask(error) => error.to_string(),
                Failure::Output(error) => format!("writing to standard output: {error}"),
            };
            // Nowhere to report a failing standard error to.
            let _ = writeln!(io::stderr(), "rondel: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let text = match command {
        Command::List => list(),
        Command::Ps { whom, json: true } | Command::Pstree { whom, json: true } => {
            let answer = whom.target().ask()?;
            // Refusals are failures here, too.
            client::understand(&answer)?;
            answer
        }
        Command::Ps { whom, .. } => table::table(&whom.target().snapshot()?),
        Command::Pstree { whom, .. } => tree::trees(&whom.target().snapshot()?),
        Command::Top {
            whom,
            interval,
            frames,
            json,
        } => {
            let interval = Duration::from_secs_f64(interval);
            let show = if json { top::lines } else { top::top };
            return Ok(show(&whom.target(), interval, frames)?);
        }
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

fn list() -> String {
    let mut text = String::new();
    for (pid, path) in client::all() {
        if client::is_alive(&path) {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            text.push_str(&format!("{pid}  {}\n", name.trim_end()));
        }
    }
    text
}
