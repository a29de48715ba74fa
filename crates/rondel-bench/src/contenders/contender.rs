//! What a contender is, and what all of them keep to.

use std::env;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

use rustls::ServerConfig;

use crate::workloads::net::Net;
use crate::workloads::{Job, Kind, Micro, Workload};

/// Buffer of an idiomatic echo server, per connection.
pub(super) const IDIOMATIC_BUFFER: usize = 16 * 1024;
/// That of one of datagrams: any fits.
pub(super) const DATAGRAM_BUFFER: usize = 64 * 1024;
/// Threads, or processes, of a server on several cores.
pub(super) const WORKERS: usize = 2;
/// Buffer of a server at its best, shared by all connections.
pub(super) const SHARED_BUFFER: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// A program without which it does nothing.
    pub(super) needs: Option<&'static str>,
    /// How it does an in-process workload, if it does.
    pub(super) micro: fn(Micro) -> Option<Job>,
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
