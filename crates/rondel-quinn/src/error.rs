//! [`EndpointError`]: why there is no endpoint.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use rondel_loop::NoRunningLoop;

/// Why an endpoint could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum EndpointError {
    /// No loop is running on this thread.
    NoRunningLoop(NoRunningLoop),
    /// The socket could not be bound to this address.
    Bind(SocketAddr, io::Error),
    /// The loop or the system refuses to have the socket watched, or to set what QUIC needs of it; or the loop is closed.
    Socket(io::Error),
}

impl From<NoRunningLoop> for EndpointError {
    fn from(error: NoRunningLoop) -> Self {
        Self::NoRunningLoop(error)
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRunningLoop(error) => error.fmt(f),
            Self::Bind(addr, error) => write!(f, "binding a UDP socket to {addr}: {error}"),
            Self::Socket(error) => {
                write!(f, "preparing a UDP socket for QUIC on the loop: {error}")
            }
        }
    }
}

impl Error for EndpointError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoRunningLoop(error) => Some(error),
            Self::Bind(_, error) | Self::Socket(error) => Some(error),
        }
    }
}
