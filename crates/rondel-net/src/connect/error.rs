//! Why there is no connection.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rondel_loop::NoRunningLoop;

use super::target::TargetError;
use crate::resolver::ResolveError;

/// No connection came about: to what, how far it got, and what became of each address that was tried.
///
/// ```text
/// connect to example.com:80: resolve: Name or service not known
/// connect to localhost:1 (2 addresses tried): [::1]:1: Connection refused; 127.0.0.1:1: Connection refused
/// connect to example.com:80 (1 of 2 addresses tried): timed out after 100ms: [2001:db8::7]:80: no answer
/// ```
///
/// As an [`io::Error`] its kind is `TimedOut`, the resolver's, or that of the attempts if they all failed alike.
pub struct ConnectError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    target: String,
    kind: ConnectErrorKind,
    attempts: Vec<ConnectAttempt>,
    addresses: usize,
}

/// What kind of thing prevented a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// No event loop is running on this thread.
    NoLoop(NoRunningLoop),
    /// What was given is no host and port.
    InvalidTarget(TargetError),
    /// The name has no address.
    Resolve(ResolveError),
    /// The name has addresses, but none of the family that was asked for or for which there is an own address.
    Unusable {
        /// How many addresses there are.
        found: usize,
    },
    /// Every address was tried, and failed; see [`ConnectError::attempts`].
    Failed,
    /// There is a connection, but TLS could not be begun on it; see [`TlsError`](crate::tls::TlsError).
    #[cfg(feature = "tls-core")]
    Tls(io::Error),
    /// The time limit was reached.
    TimedOut {
        /// The limit.
        limit: Duration,
        /// What was under way.
        phase: ConnectPhase,
    },
}

/// How far connecting got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectPhase {
    /// Finding the addresses to connect to.
    #[default]
    Resolve,
    /// Connecting to them.
    Connect,
    /// Beginning TLS on the connection.
    Tls,
}

impl fmt::Display for ConnectPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "TLS",
        })
    }
}

/// An attempt to connect to one address, which failed.
#[derive(Debug)]
pub struct ConnectAttempt {
    address: SocketAddr,
    step: AttemptStep,
    error: io::Error,
}

/// What an attempt failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptStep {
    /// Opening a socket and setting it up.
    Open,
    /// Binding it to this address of our own.
    Bind(SocketAddr),
    /// Connecting.
    Connect,
}

impl ConnectAttempt {
    pub(super) const fn new(address: SocketAddr, step: AttemptStep, error: io::Error) -> Self {
        Self {
            address,
            step,
            error,
        }
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What failed.
    pub fn step(&self) -> AttemptStep {
        self.step
    }

    /// Why. If the time limit ended the attempt, its kind is `TimedOut`; so it is if the system gave up.
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for ConnectAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.address)?;
        self.fmt_why(f)
    }
}

impl ConnectAttempt {
    /// What happened, without the address.
    fn fmt_why(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            AttemptStep::Open => f.write_str("open a socket: ")?,
            AttemptStep::Bind(own) => write!(f, "bind to {own}: ")?,
            AttemptStep::Connect => {}
        }
        // "(os error 111)" a dozen times over helps nobody; the number can be had from the error.
        let text = self.error.to_string();
        let words = text.split(" (os error ").next();
        f.write_str(words.unwrap_or(&text))
    }
}

impl ConnectError {
    pub(crate) fn new(target: String, kind: ConnectErrorKind) -> Self {
        Self(Box::new(Inner {
            target,
            kind,
            attempts: Vec::new(),
            addresses: 0,
        }))
    }

    /// `addresses`: how many there were to try.
    pub(super) fn with_attempts(mut self, attempts: Vec<ConnectAttempt>, addresses: usize) -> Self {
        self.0.attempts = attempts;
        self.0.addresses = addresses;
        self
    }

    /// What was to be connected to: host and port, or addresses.
    pub fn target(&self) -> &str {
        &self.0.target
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> &ConnectErrorKind {
        &self.0.kind
    }

    /// How far it got.
    pub fn phase(&self) -> ConnectPhase {
        match &self.0.kind {
            ConnectErrorKind::TimedOut { phase, .. } => *phase,
            ConnectErrorKind::Failed => ConnectPhase::Connect,
            #[cfg(feature = "tls-core")]
            ConnectErrorKind::Tls(_) => ConnectPhase::Tls,
            _ => ConnectPhase::Resolve,
        }
    }

    /// The addresses tried, in the order in which the attempts were begun.
    pub fn attempts(&self) -> &[ConnectAttempt] {
        &self.0.attempts
    }

    /// Whether the time limit of [`ConnectOptions::timeout`](crate::ConnectOptions::timeout) was reached.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, ConnectErrorKind::TimedOut { .. })
    }

    /// The kind that it has as an [`io::Error`].
    pub fn io_kind(&self) -> io::ErrorKind {
        match &self.0.kind {
            ConnectErrorKind::NoLoop(_) => io::ErrorKind::Other,
            ConnectErrorKind::InvalidTarget(_) => io::ErrorKind::InvalidInput,
            ConnectErrorKind::Resolve(error) => error.io_kind(),
            ConnectErrorKind::Unusable { .. } => io::ErrorKind::AddrNotAvailable,
            ConnectErrorKind::TimedOut { .. } => io::ErrorKind::TimedOut,
            ConnectErrorKind::Failed => self.common_kind(),
            #[cfg(feature = "tls-core")]
            ConnectErrorKind::Tls(error) => error.kind(),
        }
    }

    fn common_kind(&self) -> io::ErrorKind {
        let mut kinds = self.0.attempts.iter().map(|attempt| attempt.error.kind());
        match kinds.next() {
            // EAGAIN: the system has no route or port to spare. It is not something to wait for.
            None | Some(io::ErrorKind::WouldBlock) => io::ErrorKind::Other,
            Some(first) if kinds.all(|kind| kind == first) => first,
            Some(_) => io::ErrorKind::Other,
        }
    }

    fn fmt_attempts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &*self.0.attempts
            && self.0.target == only.address.to_string()
        {
            return only.fmt_why(f);
        }
        for (index, attempt) in self.0.attempts.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{attempt}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tried, all) = (self.0.attempts.len(), self.0.addresses);
        write!(f, "connect to {}", self.0.target.escape_debug())?;
        match all {
            0 | 1 => {}
            _ if tried == all => write!(f, " ({all} addresses tried)")?,
            _ => write!(f, " ({tried} of {all} addresses tried)")?,
        }
        match &self.0.kind {
            ConnectErrorKind::NoLoop(error) => write!(f, ": {error}"),
            ConnectErrorKind::InvalidTarget(error) => write!(f, ": {}", error.reason()),
            ConnectErrorKind::Resolve(error) => write!(f, ": resolve: {}", error.reason()),
            ConnectErrorKind::Unusable { found } => write!(
                f,
                ": resolve: none of the {found} addresses found is of a family that may be used"
            ),
            ConnectErrorKind::Failed => {
                f.write_str(": ")?;
                self.fmt_attempts(f)
            }
            #[cfg(feature = "tls-core")]
            ConnectErrorKind::Tls(error) => write!(f, ": {error}"),
            ConnectErrorKind::TimedOut {
                limit,
                phase: ConnectPhase::Tls,
            } => write!(f, ": TLS handshake: timed out after {limit:?}"),
            ConnectErrorKind::TimedOut {
                limit,
                phase: ConnectPhase::Resolve,
            } => write!(f, ": resolve: timed out after {limit:?}"),
            ConnectErrorKind::TimedOut { limit, .. } => {
                write!(f, ": timed out after {limit:?}: ")?;
                self.fmt_attempts(f)
            }
        }
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectError")
            .field("target", &self.0.target)
            .field("kind", &self.0.kind)
            .field("attempts", &self.0.attempts)
            .finish()
    }
}

impl Error for ConnectError {
    /// The resolver's error, or that of the first attempt.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.kind {
            ConnectErrorKind::NoLoop(error) => Some(error),
            ConnectErrorKind::InvalidTarget(error) => Some(error),
            ConnectErrorKind::Resolve(error) => Some(error),
            ConnectErrorKind::Unusable { .. } => None,
            // Shown in its place, so its source is the next.
            #[cfg(feature = "tls-core")]
            ConnectErrorKind::Tls(error) => error.source(),
            ConnectErrorKind::Failed | ConnectErrorKind::TimedOut { .. } => {
                let first = self.0.attempts.first()?;
                Some(&first.error)
            }
        }
    }
}

impl From<TargetError> for ConnectError {
    fn from(error: TargetError) -> Self {
        Self::new(
            error.input().to_owned(),
            ConnectErrorKind::InvalidTarget(error),
        )
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::new(error.io_kind(), error)
    }
}
