#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod connect;
mod engine;
mod error;
mod resolver;
mod server;
mod stream;
mod tcp;
#[cfg(feature = "tls-core")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls-core")))]
pub mod tls;

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
