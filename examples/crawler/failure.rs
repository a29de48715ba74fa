//! Why a page could not be had.

use std::error::Error;
use std::{fmt, io};

use rondel::net::ConnectErrorKind;
use rondel_hyper::client::{ClientError, ClientErrorKind};
use rondel_hyper::hyper;

/// The kinds of failure that a crawl counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The host has no address.
    LookUp,
    /// None of the host's addresses accepted a connection.
    Connect,
    /// The server did not prove who it is, or speaks no TLS.
    Tls,
    /// The request took longer than `--timeout`.
    Timeout,
    /// The connection ended before the head of an answer had come.
    NoAnswer,
    /// The connection ended in the middle of the answer's body.
    CutShort,
    /// What came is not HTTP, or not encoded as it says.
    Malformed,
    /// The answer's head is too large.
    OversizeHead,
    /// The answer's body is too large, endless perhaps.
    OversizeBody,
    /// The answer is not a page.
    Status(u16),
    /// `robots.txt` asks not to.
    Disallowed,
    /// Redirected to a host that is not crawled.
    RedirectedAway,
    /// Redirected to where it came from.
    RedirectLoop,
    /// Redirected again and again.
    TooManyRedirects,
    /// The program itself could not go on with the page.
    Internal,
}

impl Failure {
    /// Whether it may go otherwise another time.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Connect | Self::Timeout | Self::NoAnswer | Self::CutShort => true,
            Self::Status(status) => matches!(status, 408 | 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// What went wrong in the middle of a body.
    pub fn of_body(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>()
                && matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                )
            {
                return Self::Malformed;
            }
            cause = error.source();
        }
        Self::CutShort
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match error.kind() {
            ClientErrorKind::Connect(error) => match error.kind() {
                ConnectErrorKind::Resolve(_) => Self::LookUp,
                ConnectErrorKind::Tls(_) => Self::Tls,
                _ => Self::Connect,
            },
            ClientErrorKind::Http(error) => Self::of_head(error),
            ClientErrorKind::Url(_) | ClientErrorKind::NoHost => Self::Malformed,
            _ => Self::Internal,
        }
    }
}

impl Failure {
    fn of_head(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::OversizeHead
        } else if error.is_parse() {
            Self::Malformed
        } else {
            Self::NoAnswer
        }
    }
}

/// The name under which it is counted, one word.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LookUp => "look_up",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::NoAnswer => "no_answer",
            Self::CutShort => "cut_short",
            Self::Malformed => "malformed",
            Self::OversizeHead => "oversize_head",
            Self::OversizeBody => "oversize_body",
            Self::Status(status) => return write!(f, "status_{status}"),
            Self::Disallowed => "disallowed",
            Self::RedirectedAway => "redirected_away",
            Self::RedirectLoop => "redirect_loop",
            Self::TooManyRedirects => "too_many_redirects",
            Self::Internal => "internal",
        })
    }
}
