//! What can go wrong with a WebSocket.

use std::error::Error;
use std::fmt;
use std::io;

use http::StatusCode;
use rondel_net::{ConnectError, ReadError, WriteError};

/// Why a WebSocket did not come about, or ended otherwise than by a farewell.
#[derive(Debug)]
#[non_exhaustive]
pub enum WebSocketError {
    /// No connection came about, TLS included.
    Connect(ConnectError),
    /// The two did not agree on speaking WebSocket.
    Handshake(HandshakeError),
    /// The connection failed.
    Io(io::Error),
    /// The other end broke the protocol, or a limit.
    Protocol(tungstenite::Error),
    /// It is closed.
    Closed,
}

/// Why the two did not agree.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The URL cannot be used, and why.
    Url(String),
    /// The head that came cannot be read, and why.
    Malformed(String),
    /// The connection ended before a head was there.
    Ended,
    /// The server answers by something else than 101.
    Refused(StatusCode),
    /// A header is missing, or says something else than it has to (RFC 6455, 4).
    Header(&'static str),
    /// The server's own code has refused the request by this.
    Rejected(StatusCode),
    /// An HTTP connection could not be taken over.
    #[cfg(feature = "hyper")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
    Upgrade(hyper::Error),
    /// A loop's thread is not the one on which this was made.
    WrongThread,
    /// Nothing came in time.
    TimedOut,
}

impl WebSocketError {
    /// What tungstenite says, sorted.
    pub(crate) fn of(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Io(error) => Self::Io(error),
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
                Self::Closed
            }
            tungstenite::Error::Protocol(tungstenite::error::ProtocolError::SendAfterClosing) => {
                Self::Closed
            }
            other => Self::Protocol(other),
        }
    }
}

impl From<HandshakeError> for WebSocketError {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<ConnectError> for WebSocketError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<WriteError> for WebSocketError {
    fn from(error: WriteError) -> Self {
        Self::Io(error.into())
    }
}

impl From<ReadError> for WebSocketError {
    fn from(error: ReadError) -> Self {
        Self::Io(error.into())
    }
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Handshake(error) => write!(f, "WebSocket handshake: {error}"),
            Self::Io(error) => write!(f, "WebSocket: {error}"),
            Self::Protocol(error) => write!(f, "WebSocket: {error}"),
            Self::Closed => f.write_str("the WebSocket is closed"),
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => write!(f, "the URL cannot be used: {why}"),
            Self::Malformed(why) => write!(f, "what came is no HTTP: {why}"),
            Self::Ended => f.write_str("the connection ended before it was over"),
            Self::Refused(status) => write!(f, "the server answers {status}"),
            Self::Header(name) => write!(f, "the header {name} is missing or wrong"),
            Self::Rejected(status) => write!(f, "the request was answered by {status}"),
            #[cfg(feature = "hyper")]
            Self::Upgrade(error) => write!(f, "taking the connection over: {error}"),
            Self::WrongThread => f.write_str("the connection belongs to another thread's loop"),
            Self::TimedOut => f.write_str("nothing came in time"),
        }
    }
}

impl Error for WebSocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Protocol(error) => Some(error),
            Self::Closed => None,
        }
    }
}

impl Error for HandshakeError {}
