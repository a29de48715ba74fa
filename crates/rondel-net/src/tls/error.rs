//! What can go wrong with TLS on a connection.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::words::in_words;

/// TLS on a connection has failed: what was being done, with whom, and why, in words.
///
/// It is what an [`io::Error`] from a TLS connection holds; see [`TlsError::of`].
#[derive(Clone, Debug)]
pub struct TlsError {
    phase: TlsPhase,
    peer: Option<String>,
    cause: TlsCause,
}

/// What was being done when TLS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsPhase {
    /// The two ends were agreeing on keys.
    Handshake,
    /// Data was being exchanged.
    Transfer,
    /// The connection was being closed.
    Shutdown,
}

#[derive(Clone, Debug)]
pub(crate) enum TlsCause {
    /// What rustls found.
    Protocol(rustls::Error),
    /// The peer closed the connection without saying so first: what has been received may not be all.
    Truncated,
    /// The peer did not answer in time.
    TimedOut(Duration),
}

impl TlsError {
    pub(crate) fn new(phase: TlsPhase, cause: TlsCause) -> Self {
        Self {
            phase,
            peer: None,
            cause,
        }
    }

    /// Names the other end.
    #[must_use]
    pub(crate) fn with_peer(mut self, peer: impl fmt::Display) -> Self {
        self.peer = Some(peer.to_string());
        self
    }

    /// The TLS failure that an error of a connection holds, if that is what it is.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What was being done.
    pub const fn phase(&self) -> TlsPhase {
        self.phase
    }

    /// What rustls says, if it was the protocol that failed.
    pub const fn protocol_error(&self) -> Option<&rustls::Error> {
        match &self.cause {
            TlsCause::Protocol(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the peer closed the connection without a farewell, so that what was received may have been cut short.
    pub const fn is_truncated(&self) -> bool {
        matches!(self.cause, TlsCause::Truncated)
    }

    /// Whether the peer did not answer in time.
    pub const fn is_timeout(&self) -> bool {
        matches!(self.cause, TlsCause::TimedOut(_))
    }

    fn kind(&self) -> io::ErrorKind {
        match &self.cause {
            TlsCause::Protocol(_) => io::ErrorKind::InvalidData,
            TlsCause::Truncated => match self.phase {
                TlsPhase::Handshake => io::ErrorKind::ConnectionReset,
                _ => io::ErrorKind::UnexpectedEof,
            },
            TlsCause::TimedOut(_) => io::ErrorKind::TimedOut,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.phase {
            TlsPhase::Handshake => "TLS handshake",
            TlsPhase::Transfer => "TLS",
            TlsPhase::Shutdown => "TLS shutdown",
        })?;
        if let Some(peer) = &self.peer {
            write!(f, " with {peer}")?;
        }
        f.write_str(": ")?;
        match &self.cause {
            TlsCause::Protocol(error) => f.write_str(&in_words(error)),
            TlsCause::Truncated if self.phase == TlsPhase::Handshake => {
                f.write_str("the peer closed the connection")
            }
            TlsCause::Truncated => {
                f.write_str("the peer closed the connection without a farewell; what was received may be cut short")
            }
            TlsCause::TimedOut(limit) => write!(f, "the peer did not answer within {limit:?}"),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            TlsCause::Protocol(error) => Some(error),
            _ => None,
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(error.kind(), error)
    }
}
