//! [`ClientError`]: why there is no answer.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::Method;
use http::uri::InvalidUri;
use rondel_net::ConnectError;

/// Why a request has no answer: what was asked for, and what happened.
#[derive(Debug)]
pub struct ClientError {
    method: Method,
    url: String,
    kind: Box<ClientErrorKind>,
}

/// What kept an answer from coming.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// The URL cannot be read.
    Url(InvalidUri),
    /// Its scheme is neither `http` nor `https`.
    Scheme,
    /// It names no host.
    NoHost,
    /// It is `https`, and the client has no TLS: the feature `tls`, or [`ClientBuilder::tls`](super::ClientBuilder).
    NoTls,
    /// Setting TLS up failed.
    #[cfg(feature = "tls-core")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-core")))]
    Tls(rondel_net::tls::TlsConfigError),
    /// No connection came about, TLS included.
    Connect(ConnectError),
    /// The host had too much to do for this client: no place became free in time.
    Busy(Duration),
    /// The head of the answer did not come in time.
    TimedOut(Duration),
    /// The server redirected more often than is followed.
    TooManyRedirects(usize),
    /// Where a redirect leads cannot be read.
    Location(String),
    /// The conversation failed: the connection was lost, what came is no HTTP, or the body to be sent failed.
    Http(hyper::Error),
}

impl ClientError {
    pub(super) fn new(method: &Method, url: impl fmt::Display, kind: ClientErrorKind) -> Self {
        Self {
            method: method.clone(),
            url: url.to_string(),
            kind: Box::new(kind),
        }
    }

    /// What happened.
    pub const fn kind(&self) -> &ClientErrorKind {
        &self.kind
    }

    /// What was asked for, after redirects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether a time limit has passed: for a place, for connecting, for the answer.
    pub fn is_timeout(&self) -> bool {
        match &*self.kind {
            ClientErrorKind::Busy(_) | ClientErrorKind::TimedOut(_) => true,
            ClientErrorKind::Connect(error) => error.is_timeout(),
            _ => false,
        }
    }

    /// Whether no connection came about.
    pub const fn is_connect(&self) -> bool {
        matches!(*self.kind, ClientErrorKind::Connect(_))
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.method, self.url, self.kind)
    }
}

impl fmt::Display for ClientErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "this is no URL: {error}"),
            Self::Scheme => f.write_str("the URL has to begin with http:// or https://"),
            Self::NoHost => f.write_str("the URL names no host"),
            Self::NoTls => f.write_str(
                "https needs TLS: the feature `tls` of rondel-hyper, or `ClientBuilder::tls`",
            ),
            #[cfg(feature = "tls-core")]
            Self::Tls(error) => write!(f, "setting TLS up: {error}"),
            Self::Connect(error) => error.fmt(f),
            Self::Busy(limit) => write!(f, "no place at this host became free within {limit:?}"),
            Self::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
            Self::TooManyRedirects(most) => write!(f, "redirected more than {most} times"),
            Self::Location(place) => write!(f, "redirected to {place:?}, which is no URL"),
            Self::Http(error) => {
                write!(f, "{error}")?;
                match error.source() {
                    Some(source) => write!(f, ": {source}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.kind {
            ClientErrorKind::Url(error) => Some(error),
            #[cfg(feature = "tls-core")]
            ClientErrorKind::Tls(error) => Some(error),
            ClientErrorKind::Connect(error) => Some(error),
            ClientErrorKind::Http(error) => Some(error),
            _ => None,
        }
    }
}
