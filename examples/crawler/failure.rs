//! Why a page could not be had.

use std::fmt;

/// The kinds of failure that a crawl counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The host has no address.
    LookUp,
    /// None of the host's addresses accepted a connection.
    Connect,
    /// The request took longer than `--timeout`.
    Timeout,
    /// The connection ended before anything of an answer had come.
    NoAnswer,
    /// The connection ended in the middle of the answer.
    CutShort,
    /// What came is not HTTP.
    Malformed,
    /// The answer's head is too large.
    OversizeHead,
    /// The answer's body is too large, endless perhaps.
    OversizeBody,
    /// The answer is not a page.
    Status(u16),
    /// Redirected to a host that is not crawled.
    RedirectedAway,
    /// Redirected to where it came from.
    RedirectLoop,
    /// Redirected again and again.
    TooManyRedirects,
    /// The URL is https, which is not supported yet.
    HttpsUnsupported,
    /// The program itself could not go on with the page.
    Internal,
}

/// The name under which it is counted, one word.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LookUp => "look_up",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::NoAnswer => "no_answer",
            Self::CutShort => "cut_short",
            Self::Malformed => "malformed",
            Self::OversizeHead => "oversize_head",
            Self::OversizeBody => "oversize_body",
            Self::Status(status) => return write!(f, "status_{status}"),
            Self::RedirectedAway => "redirected_away",
            Self::RedirectLoop => "redirect_loop",
            Self::TooManyRedirects => "too_many_redirects",
            Self::HttpsUnsupported => "https_unsupported",
            Self::Internal => "internal",
        })
    }
}
