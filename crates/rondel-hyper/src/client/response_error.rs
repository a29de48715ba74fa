//! [`ResponseBodyError`]: why an answer could not be read.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why the body of an answer could not be read to its end.
#[derive(Debug)]
pub struct ResponseBodyError(Kind);

#[derive(Debug)]
enum Kind {
    TimedOut(Duration),
    Http(hyper::Error),
    #[cfg(feature = "decompression")]
    Encoding(std::io::Error),
}

impl ResponseBodyError {
    pub(super) const fn timed_out(patience: Duration) -> Self {
        Self(Kind::TimedOut(patience))
    }

    pub(super) const fn http(error: hyper::Error) -> Self {
        Self(Kind::Http(error))
    }

    #[cfg(feature = "decompression")]
    pub(super) const fn encoding(error: std::io::Error) -> Self {
        Self(Kind::Encoding(error))
    }

    /// Whether nothing came for longer than the client's [timeout](super::ClientBuilder::body_timeout).
    pub const fn is_timeout(&self) -> bool {
        matches!(self.0, Kind::TimedOut(_))
    }
}

impl fmt::Display for ResponseBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::TimedOut(patience) => {
                write!(f, "nothing of the answer's body came for {patience:?}")
            }
            Kind::Http(error) => {
                write!(f, "reading the body of the answer: {error}")?;
                match error.source() {
                    Some(source) => write!(f, ": {source}"),
                    None => Ok(()),
                }
            }
            #[cfg(feature = "decompression")]
            Kind::Encoding(error) => write!(f, "decoding the body of the answer: {error}"),
        }
    }
}

impl Error for ResponseBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::TimedOut(_) => None,
            Kind::Http(error) => Some(error),
            #[cfg(feature = "decompression")]
            Kind::Encoding(error) => Some(error),
        }
    }
}
