//! HTTP/1.1, as much of it as fetching pages takes: the request, and what the head of an answer says. No input or output here.

use httparse::{Header, ParserConfig, Status};
use url::{Position, Url};

use crate::failure::Failure;

/// More headers than any honest server sends.
const MOST_HEADERS: usize = 128;

/// The request for a page.
pub fn request(url: &Url) -> String {
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {host}\r\n\
         User-Agent: rondel-crawler/{version}\r\n\
         Accept: text/html, */*;q=0.5\r\n\
         Accept-Encoding: identity\r\n\
         \r\n",
        path = &url[Position::BeforePath..Position::AfterQuery],
        host = &url[Position::BeforeHost..Position::AfterPort],
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// What matters of an answer's head.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub location: Option<String>,
    pub is_html: bool,
    pub framing: Framing,
    /// Whether the connection can be used again when the body has been read.
    pub keep_alive: bool,
}

/// How the end of an answer's body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Head {
    /// Understands a head, given with the empty line at its end.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match ParserConfig::default().parse_response(&mut response, bytes) {
            Ok(Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Failure::OversizeHead),
            Ok(Status::Partial) | Err(_) => return Err(Failure::Malformed),
        }
        let status = response.code.ok_or(Failure::Malformed)?;
        let headers = Headers(response.headers);
        let framing = headers.framing(status)?;
        let keep_alive = match response.version {
            Some(1) => !headers.has_word("connection", "close"),
            _ => headers.has_word("connection", "keep-alive"),
        };
        Ok(Self {
            status,
            location: headers.text("location")?.map(str::to_owned),
            is_html: headers
                .text("content-type")?
                .is_some_and(|kind| kind.to_ascii_lowercase().contains("html")),
            framing,
            keep_alive: keep_alive && framing != Framing::UntilClose,
        })
    }

    /// Whether the answer proper is still to come, after this one.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }

    /// Where to look instead.
    pub fn redirect(&self) -> Option<&str> {
        match self.status {
            301 | 302 | 303 | 307 | 308 => self.location.as_deref(),
            _ => None,
        }
    }
}

struct Headers<'a>(&'a [Header<'a>]);

impl<'a> Headers<'a> {
    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The first value of that name.
    fn text(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        let value = self.values(name).next().map(str::from_utf8);
        value.transpose().map_err(|_| Failure::Malformed)
    }

    /// Whether a header that is a list of words holds this one.
    fn has_word(&self, name: &str, word: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    }

    fn framing(&self, status: u16) -> Result<Framing, Failure> {
        if matches!(status, 100..=199 | 204 | 304) {
            return Ok(Framing::Length(0));
        }
        if self.values("transfer-encoding").next().is_some() {
            // Others were not asked for.
            return match self.has_word("transfer-encoding", "chunked") {
                true => Ok(Framing::Chunked),
                false => Err(Failure::Malformed),
            };
        }
        let mut lengths = self
            .values("content-length")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(|digits| number(digits.trim_ascii(), 10));
        let Some(first) = lengths.next() else {
            return Ok(Framing::UntilClose);
        };
        // Said twice it must be the same, or else somebody on the way sees another body than we do.
        match first.filter(|_| lengths.all(|length| length == first)) {
            Some(length) => Ok(Framing::Length(length)),
            None => Err(Failure::Malformed),
        }
    }
}

/// The size that begins a chunk; what follows a semicolon are extensions, which nobody needs.
pub fn chunk_size(line: &[u8]) -> Result<u64, Failure> {
    let digits = line.split(|byte| *byte == b';').next();
    number(digits.unwrap_or_default().trim_ascii(), 16).ok_or(Failure::Malformed)
}

/// A number made of digits alone; `parse` would accept a sign, too.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = str::from_utf8(digits).ok()?;
    let only_digits = text.chars().all(|c| c.is_digit(radix));
    u64::from_str_radix(text, radix)
        .ok()
        .filter(|_| only_digits)
}
