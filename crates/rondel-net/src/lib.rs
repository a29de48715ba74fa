#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// One file lifts this: the system calls for many datagrams at once (`udp/sys/linux.rs`).
#![deny(unsafe_code)]

mod connect;
mod engine;
mod error;
mod resolver;
mod server;
mod stream;
mod tcp;
#[cfg(feature = "udp")]
mod udp;

pub use connect::{
    AddressFamily, AttemptStep, ConnectAttempt, ConnectError, ConnectErrorKind, ConnectOptions,
    ConnectPhase, Target, TargetError, TargetErrorKind, ToTarget, open_connection,
};
pub use error::{ConnectionLost, ReadError, WriteError};
pub use resolver::{LookUp, Resolve, ResolveError, ResolveErrorKind, Resolver, Resolving, resolve};
pub use server::{HandlerOutcome, Server, ServerOptions, ServerReport, start_server};
pub use stream::lines::Lines;
pub use stream::reader::StreamReader;
pub use stream::writer::StreamWriter;
pub use tcp::listener::{Incoming, ListenOptions, TcpListener};
pub use tcp::stream::TcpStream;
#[cfg(feature = "udp")]
#[cfg_attr(docsrs, doc(cfg(feature = "udp")))]
pub use udp::{
    batch::{Datagram, RecvBatch},
    dispatch::DatagramProtocolRef,
    endpoint::{DatagramOptions, create_datagram_endpoint},
    error::{DatagramError, Truncated},
    icmp::IcmpError,
    options::UdpOptions,
    protocol::DatagramProtocol,
    socket::UdpSocket,
    transport::DatagramTransport,
};
