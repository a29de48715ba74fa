//! What can go wrong with a connection.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::peer::Peer;

/// The system gave a connection up: reset by the peer, unreachable, timed out.
///
/// It is what an [`io::Error`] from a connection holds; its kind is the system's. The first such failure is kept, and
/// whatever is attempted later fails with it again.
///
/// ```
/// use rondel_net::{ConnectionLost, TcpListener, TcpStream};
///
/// # rondel_loop::run(async {
/// let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
/// let stream = TcpStream::connect(listener.local_addr()).await?;
/// listener.accept().await?.0.abort();
/// let error = stream.read(&mut [0; 16]).await.unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
/// let lost: &ConnectionLost = error.get_ref().unwrap().downcast_ref().unwrap();
/// assert_eq!(lost.peer(), Some(listener.local_addr()));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct ConnectionLost {
    attempt: Attempt,
    peer: Peer,
    source: io::Error,
}

/// What was being done when a connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Receive,
    Send,
    /// What stands between the descriptor and its users has failed, and says itself with what.
    #[cfg_attr(
        not(feature = "tls-core"),
        allow(dead_code, reason = "there are no layers")
    )]
    Layer,
}

impl ConnectionLost {
    pub(crate) fn new(attempt: Attempt, peer: Peer, source: io::Error) -> Self {
        Self {
            attempt,
            peer,
            source,
        }
    }

    /// The other end's address; `None` if it was not known, or is none of the Internet's.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer.inet()
    }
}

impl fmt::Display for ConnectionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.attempt {
            Attempt::Receive | Attempt::Layer => "receiving from ",
            Attempt::Send => "sending to ",
        })?;
        write!(f, "{}: {}", self.peer, self.source)
    }
}

impl Error for ConnectionLost {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<ConnectionLost> for io::Error {
    fn from(lost: ConnectionLost) -> Self {
        Self::new(lost.source.kind(), lost)
    }
}

/// An error of the system's with what was attempted; its kind stays.
pub(crate) fn while_doing(doing: impl Into<Cow<'static, str>>, error: io::Error) -> io::Error {
    let doing = doing.into();
    io::Error::new(error.kind(), WhileDoing { doing, error })
}

#[derive(Debug)]
struct WhileDoing {
    doing: Cow<'static, str>,
    error: io::Error,
}

impl fmt::Display for WhileDoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.error)
    }
}

impl Error for WhileDoing {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// Why bytes were not accepted, or not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The connection failed, now or before; see [`ConnectionLost`]. Or its loop is closed.
    Io(io::Error),
    /// The connection was closed or aborted at this end.
    Closed,
    /// [`write_eof`](crate::StreamWriter::write_eof) was called: there is nothing to follow.
    Finished,
    /// A file is being sent (`send_file`, `sendfile`), and nothing can come into its middle. Nothing was
    /// accepted.
    SendingFile,
    /// More would be queued than the [hard limit](crate::StreamWriter::set_hard_limit) allows. Nothing was accepted.
    Full {
        /// How many bytes were refused.
        refused: usize,
        /// How many are queued.
        queued: usize,
        /// How many may be.
        limit: usize,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Closed => f.write_str("writing to a connection that was closed at this end"),
            Self::Finished => f.write_str("writing after the end was written"),
            Self::SendingFile => f.write_str("writing while a file is being sent"),
            Self::Full {
                refused,
                queued,
                limit,
            } => write!(
                f,
                "{refused} bytes were refused: {queued} are queued, and the limit is {limit}; the peer does not read as \
                 fast as this end writes without waiting"
            ),
        }
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Shown in its place, so its source is the next.
            Self::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(error) => error,
            WriteError::Closed => Self::new(io::ErrorKind::NotConnected, error),
            WriteError::Finished => Self::new(io::ErrorKind::BrokenPipe, error),
            WriteError::SendingFile => Self::new(io::ErrorKind::ResourceBusy, error),
            WriteError::Full { .. } => Self::new(io::ErrorKind::WouldBlock, error),
        }
    }
}

/// Why a [`StreamReader`](crate::StreamReader) did not give what was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The connection failed, now or before; see [`ConnectionLost`]. Or its loop is closed. What was received before stays
    /// in the reader.
    Io(io::Error),
    /// The stream ended first. asyncio: `IncompleteReadError`.
    Incomplete {
        /// What there was; it has been taken out of the reader.
        partial: Vec<u8>,
        /// How many bytes were asked for, if it was a number.
        expected: Option<usize>,
    },
    /// There is more in front of the end that was asked for than the limit allows. asyncio: `LimitOverrunError`.
    LimitOverrun {
        /// How many bytes in front can be read before one needs to look for the end again.
        consumed: usize,
        /// The limit.
        limit: usize,
    },
    /// There was no separator to look for, or an empty one.
    NoSeparator,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Incomplete {
                partial,
                expected: Some(expected),
            } => write!(
                f,
                "the stream ended after {} of {expected} bytes",
                partial.len()
            ),
            Self::Incomplete { partial, .. } => write!(
                f,
                "the stream ended after {} bytes, without the separator",
                partial.len()
            ),
            Self::LimitOverrun { consumed, limit } => write!(
                f,
                "{consumed} bytes without the end that was looked for; the limit is {limit}"
            ),
            Self::NoSeparator => f.write_str("reading up to an empty separator"),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match error {
            ReadError::Io(error) => return error,
            ReadError::Incomplete { .. } => io::ErrorKind::UnexpectedEof,
            ReadError::LimitOverrun { .. } => io::ErrorKind::InvalidData,
            ReadError::NoSeparator => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
