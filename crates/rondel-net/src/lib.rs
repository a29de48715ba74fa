#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Two files lift this: the system calls for many datagrams at once (`udp/sys/linux.rs`), and what a child does before it becomes
// another program (`process/session.rs`).
#![deny(unsafe_code)]

mod connect;
#[cfg(feature = "udp")]
mod datagram;
mod device;
mod engine;
mod error;
#[cfg(feature = "fs")]
#[cfg_attr(docsrs, doc(cfg(feature = "fs")))]
pub mod files;
mod peer;
#[cfg(feature = "pipe")]
mod pipe;
#[cfg(feature = "process")]
mod process;
mod resolver;
#[cfg(feature = "fs")]
mod send_file;
mod server;
mod stream;
mod tcp;
#[cfg(feature = "tls-core")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls-core")))]
pub mod tls;
mod transport;
#[cfg(feature = "udp")]
mod udp;
#[cfg(feature = "unix")]
mod unix;
#[cfg(feature = "workers")]
mod workers;

pub use connect::{
    AddressFamily, AttemptStep, ConnectAttempt, ConnectError, ConnectErrorKind, ConnectOptions,
    ConnectPhase, Target, TargetError, TargetErrorKind, ToTarget, open_connection,
};
#[cfg(feature = "udp")]
#[cfg_attr(docsrs, doc(cfg(feature = "udp")))]
pub use datagram::{
    addr::DatagramAddr, dispatch::DatagramProtocolRef, error::DatagramError,
    protocol::DatagramProtocol, transport::DatagramTransport,
};
pub use error::{ConnectionLost, ReadError, WriteError};
#[cfg(feature = "pipe")]
#[cfg_attr(docsrs, doc(cfg(feature = "pipe")))]
pub use pipe::{
    NotAPipe, PipeReader, PipeWriter, connect_read_pipe, connect_write_pipe, open_read_pipe,
    open_write_pipe,
};
#[cfg(feature = "process")]
#[cfg_attr(docsrs, doc(cfg(feature = "process")))]
pub use process::{
    Child, Command, Communicate, CommunicateError, CommunicateErrorKind, Pty, ReapedElsewhere,
    SpawnError, Stdio, SubprocessProtocol, SubprocessRef, SubprocessTransport, Wait,
    subprocess_exec, subprocess_shell,
};
pub use resolver::{
    LookUp, NameInfo, NameInfoError, NameInfoOptions, Resolve, ResolveError, ResolveErrorKind,
    Resolver, Resolving, name_info, resolve,
};
#[cfg(feature = "fs")]
#[cfg_attr(docsrs, doc(cfg(feature = "fs")))]
pub use send_file::{
    SendFile,
    error::{SendFileError, SendFileErrorKind},
    source::FileToSend,
};
pub use server::{
    HandlerOutcome, Server, ServerOptions, ServerReport, create_server, start_server,
};
pub use stream::lines::Lines;
pub use stream::pair::StreamPair;
pub use stream::reader::StreamReader;
pub use stream::writer::StreamWriter;
pub use tcp::keep_alive::KeepAlive;
pub use tcp::listener::{Incoming, ListenOptions, TcpListener};
pub use tcp::stream::TcpStream;
pub use transport::Transport;
pub use transport::endpoint::{NotAPair, connect_accepted_socket, create_connection};
pub use transport::kind::{AnyProtocol, Buffered, Plain};
pub use transport::protocol::{BufferedProtocol, Protocol, ProtocolPanicked};
pub use transport::protocol_ref::{Busy, ProtocolRef};
#[cfg(feature = "udp")]
#[cfg_attr(docsrs, doc(cfg(feature = "udp")))]
pub use udp::{
    batch::{Datagram, RecvBatch},
    endpoint::{DatagramOptions, create_datagram_endpoint},
    error::Truncated,
    icmp::IcmpError,
    options::UdpOptions,
    socket::UdpSocket,
};
#[cfg(feature = "unix")]
#[cfg_attr(docsrs, doc(cfg(feature = "unix")))]
pub use unix::{
    PeerCredentials, ToUnixAddr, UnixDatagram, UnixDatagramOptions, UnixListenOptions,
    UnixListener, UnixStream, create_unix_connection, create_unix_datagram_endpoint,
    create_unix_server, open_unix_connection, peer_credentials, start_unix_server,
};
#[cfg(feature = "workers")]
#[cfg_attr(docsrs, doc(cfg(feature = "workers")))]
pub use workers::{
    Worker, Workers,
    error::{WorkerFailure, WorkerFailureKind, WorkersError},
};
