//! Why TLS could not be set up.

use std::error::Error;
use std::fmt;

use rustls::pki_types::pem;

use super::words::in_words;

/// Why a [`ClientTls`](super::ClientTls) or [`ServerTls`](super::ServerTls) could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// What was to be a certificate or a key is not PEM, or holds none.
    Pem {
        /// What was looked for.
        what: &'static str,
        /// What was found instead.
        source: pem::Error,
    },
    /// No root certificates were named, and the crate was built without a way to find any: turn on `tls-platform-verifier` or
    /// `tls-webpki-roots`, or give `root_pem`.
    NoRoots,
    /// No cryptography was compiled in, and none was given: turn on `tls-ring` or `tls-aws-lc-rs`, or give a `provider`.
    NoProvider,
    /// A server needs a certificate.
    NoIdentity,
    /// A name that a certificate is to be shown for is no host name.
    BadName(String),
    /// What was given does not go together.
    Refused(rustls::Error),
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem { what, source } => write!(f, "reading {what} from PEM: {source}"),
            Self::NoRoots => f.write_str(
                "no root certificates to verify the peer against; give `root_pem`, or turn on the feature \
                 `tls-platform-verifier` or `tls-webpki-roots`",
            ),
            Self::NoProvider => f.write_str(
                "no provider of cryptography; give a `provider`, or turn on the feature `tls-ring` or `tls-aws-lc-rs`",
            ),
            Self::NoIdentity => f.write_str("a TLS server needs a certificate: give it an `identity`"),
            Self::BadName(name) => write!(f, "{name:?} is not a host name"),
            Self::Refused(error) => write!(f, "setting TLS up: {}", in_words(error)),
        }
    }
}

impl Error for TlsConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Pem { source, .. } => Some(source),
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}

impl From<rustls::Error> for TlsConfigError {
    fn from(error: rustls::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<TlsConfigError> for std::io::Error {
    fn from(error: TlsConfigError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}
