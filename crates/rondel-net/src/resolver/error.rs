//! Why a name has no address.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use rondel_executor::SubmitError;

/// A look-up gave no address: which name, and why. Cheap to clone, since everybody who waited for the same name gets it.
#[derive(Clone, Debug)]
pub struct ResolveError {
    host: Arc<str>,
    reason: Reason,
}

#[derive(Clone, Debug)]
enum Reason {
    InvalidName,
    LookUp(Arc<io::Error>),
    NoAddress,
    NoThread(Arc<SubmitError>),
    Panicked,
}

/// What kind of thing prevented a look-up from giving an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolveErrorKind {
    /// It cannot be a name: it contains a NUL character, or is in brackets without being an IPv6 address.
    InvalidName,
    /// The system's look-up (or another resolver) said no; the [source](Error::source) says why. getaddrinfo's reasons, an
    /// unknown name or a name server that does not answer, come as text only.
    LookUp,
    /// The name is known and has no address.
    NoAddress,
    /// No thread could be started to look it up.
    NoThread,
    /// The resolver's function panicked.
    Panicked,
}

impl ResolveError {
    /// For resolvers of your own: `host` could not be looked up because of `error`.
    pub fn new(host: &str, error: impl Into<io::Error>) -> Self {
        Self::because(host, Reason::LookUp(Arc::new(error.into())))
    }

    fn because(host: &str, reason: Reason) -> Self {
        Self {
            host: host.into(),
            reason,
        }
    }

    pub(super) fn invalid(host: &str) -> Self {
        Self::because(host, Reason::InvalidName)
    }

    pub(super) fn no_thread(host: &str, error: SubmitError) -> Self {
        Self::because(host, Reason::NoThread(Arc::new(error)))
    }

    pub(super) fn panicked(host: &str) -> Self {
        Self::because(host, Reason::Panicked)
    }

    pub(crate) fn no_address(host: &str) -> Self {
        Self::because(host, Reason::NoAddress)
    }

    /// What was to be resolved.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ResolveErrorKind {
        match self.reason {
            Reason::InvalidName => ResolveErrorKind::InvalidName,
            Reason::LookUp(_) => ResolveErrorKind::LookUp,
            Reason::NoAddress => ResolveErrorKind::NoAddress,
            Reason::NoThread(_) => ResolveErrorKind::NoThread,
            Reason::Panicked => ResolveErrorKind::Panicked,
        }
    }

    /// Why, without the name.
    pub(crate) fn reason(&self) -> impl fmt::Display + '_ {
        &self.reason
    }

    pub(crate) fn io_kind(&self) -> io::ErrorKind {
        match &self.reason {
            Reason::InvalidName => io::ErrorKind::InvalidInput,
            Reason::LookUp(error) => error.kind(),
            Reason::NoAddress => io::ErrorKind::NotFound,
            Reason::NoThread(_) | Reason::Panicked => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName => f.write_str("not a valid host name"),
            Self::LookUp(error) => {
                // What the standard library puts before gai_strerror's text; the rest is what people know.
                let text = error.to_string();
                let known = text.strip_prefix("failed to lookup address information: ");
                f.write_str(known.unwrap_or(&text))
            }
            Self::NoAddress => f.write_str("the name has no address"),
            Self::NoThread(error) => write!(f, "{error}"),
            Self::Panicked => f.write_str("the resolver panicked"),
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resolve {}: {}", self.host.escape_debug(), self.reason)
    }
}

impl Error for ResolveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::LookUp(error) => Some(&**error),
            Reason::NoThread(error) => Some(&**error),
            Reason::InvalidName | Reason::NoAddress | Reason::Panicked => None,
        }
    }
}

impl From<ResolveError> for io::Error {
    fn from(error: ResolveError) -> Self {
        Self::new(error.io_kind(), error)
    }
}
