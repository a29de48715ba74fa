#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

// In the order of the imports: each uses only those above it.
mod error;

mod engine;

mod stream;
mod tcp;

mod server;

pub use error::{ConnectionLost, ReadError, WriteError};
pub use server::{HandlerOutcome, Server, ServerOptions, ServerReport, start_server};
pub use stream::lines::Lines;
pub use stream::reader::StreamReader;
pub use stream::writer::StreamWriter;
pub use tcp::listener::{Incoming, ListenOptions, TcpListener};
pub use tcp::stream::TcpStream;
