//! The server under load, as the load generator sees it: a child process, a port, a CPU-time clock.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::process::{Error, Guarded, cpu_time_of, resident_of};

/// For a tool around the server to write what it has counted.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// A server that does not listen by then never will.
const START: Duration = Duration::from_secs(10);

/// The one line that a server prints when it listens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) runtime: String,
    pub(crate) port: u16,
    /// The server's own, which is not the child's when a tool runs in between.
    pub(crate) pid: i32,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) runtime: String,
    pub(super) address: SocketAddrV4,
    pid: Pid,
    child: Guarded,
}

impl Server {
    /// Starts it and waits until it listens, if it `listens` at all.
    pub(super) fn start(command: &[String], listens: bool) -> Result<Self, Error> {
        let (program, args) = command
            .split_first()
            .ok_or_else(|| Error::new("no server given"))?;
        let shown = command.join(" ");
        let child = Command::new(program)
            .args(args)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = Guarded(child.map_err(Error::during(format_args!("start {shown}")))?);

        let mut line = String::new();
        if let Some(stdout) = child.0.stdout.take() {
            let read = BufReader::new(stdout).read_line(&mut line);
            read.map_err(Error::during(format_args!("read the port of {shown}")))?;
        }
        let ready: Ready = serde_json::from_str(&line).map_err(Error::during(format_args!(
            "read the port of {shown} from {line:?}"
        )))?;
        let pid = Pid::from_raw(ready.pid)
            .ok_or_else(|| Error::new(format!("{shown} says that its process is 0")))?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, ready.port);
        if listens {
            wait_until_it_listens(address)?;
        }
        Ok(Self {
            runtime: ready.runtime,
            address,
            pid,
            child,
        })
    }

    pub(super) fn cpu_time(&self) -> Result<Duration, Error> {
        cpu_time_of(self.pid)
    }

    pub(super) fn resident(&self) -> Result<usize, Error> {
        resident_of(self.pid)
    }

    /// Ends the server itself, and then waits for the tool around it, which may have a file to write.
    pub(super) fn stop(mut self) -> Result<(), Error> {
        kill_process(self.pid, Signal::TERM).map_err(Error::during("end the server"))?;
        match self.child.wait(LAST_WORDS)? {
            Some(_) => Ok(()),
            None => Err(Error::new(
                "the server, or the tool around it, did not end when told to",
            )),
        }
    }
}

/// Some bind for themselves, after they have said where.
fn wait_until_it_listens(address: SocketAddrV4) -> Result<(), Error> {
    let since = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if since.elapsed() > START => {
                return Err(Error::during(format_args!("connect to {address}"))(error));
            }
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}
