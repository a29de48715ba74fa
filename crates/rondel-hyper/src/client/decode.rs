//! Bodies that were made smaller for the way: gzip and deflate (RFC 9110, 8.4.1).

use std::fmt;
use std::io::{self, BufRead, Read};
use std::task::{Poll, ready};

use bytes::{Buf, Bytes};
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame};

use super::response_error::ResponseBodyError;

/// How much is decoded at a time: a body that grows a thousandfold grows in the reader's hands only.
const PIECE: usize = 32 * 1024;

/// Asks for them, unless the request asks for something itself.
pub(super) fn ask(headers: &mut HeaderMap) -> bool {
    if headers.contains_key(ACCEPT_ENCODING) {
        return false;
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
    true
}

/// What decodes an answer's body as its head says, which is taken out of the head.
pub(super) fn decoder_of<B: Body>(response: &mut Response<B>) -> Option<Decoder> {
    let encoding = response.headers().get(CONTENT_ENCODING)?;
    let kind = match encoding.as_bytes().to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Kind::Gzip(MultiGzDecoder::new(Arrived::default())),
        b"deflate" => Kind::Undecided(Arrived::default()),
        _ => return None,
    };
    let nothing =
        response.body().is_end_stream() || response.status() == StatusCode::PARTIAL_CONTENT;
    if nothing {
        // To HEAD, for instance; and of a part, nothing can be made.
        return None;
    }
    let headers = response.headers_mut();
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    Some(Decoder {
        kind,
        stage: Stage::Running,
    })
}

pub(super) struct Decoder {
    kind: Kind,
    stage: Stage,
}

enum Kind {
    Gzip(MultiGzDecoder<Arrived>),
    Zlib(ZlibDecoder<Arrived>),
    /// Without zlib's frame, as some servers understand `deflate`.
    Raw(DeflateDecoder<Arrived>),
    /// The first two bytes tell.
    Undecided(Arrived),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Failed, or told all: nothing more comes.
    Over,
}

/// Bytes that have arrived and were not decoded yet. Without any it says that it would block, until the end.
#[derive(Default)]
struct Arrived {
    bytes: Bytes,
    ended: bool,
}

impl Decoder {
    /// The next piece of what was meant; `more` gives what was sent.
    pub(super) fn poll_frame(
        &mut self,
        mut more: impl FnMut() -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        if self.stage == Stage::Over {
            return Poll::Ready(None);
        }
        loop {
            match self.decode() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) => {
                    self.stage = Stage::Over;
                    return Poll::Ready(None);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.stage = Stage::Over;
                    return Poll::Ready(Some(Err(ResponseBodyError::encoding(error))));
                }
            }
            match ready!(more()) {
                None => self.arrived().ended = true,
                Some(Err(error)) => {
                    self.stage = Stage::Over;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.arrived().push(bytes),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
    }

    fn arrived(&mut self) -> &mut Arrived {
        match &mut self.kind {
            Kind::Gzip(decoder) => decoder.get_mut(),
            Kind::Zlib(decoder) => decoder.get_mut(),
            Kind::Raw(decoder) => decoder.get_mut(),
            Kind::Undecided(arrived) => arrived,
        }
    }

    /// `None` at the end of what was sent.
    fn decode(&mut self) -> io::Result<Option<Bytes>> {
        if let Kind::Undecided(arrived) = &mut self.kind {
            if arrived.bytes.len() < 2 && !arrived.ended {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let arrived = std::mem::take(arrived);
            self.kind = if is_zlib(&arrived.bytes) {
                Kind::Zlib(ZlibDecoder::new(arrived))
            } else {
                Kind::Raw(DeflateDecoder::new(arrived))
            };
        }
        let mut piece = vec![0; PIECE];
        let count = match &mut self.kind {
            Kind::Gzip(decoder) => decoder.read(&mut piece),
            Kind::Zlib(decoder) => decoder.read(&mut piece),
            Kind::Raw(decoder) => decoder.read(&mut piece),
            Kind::Undecided(_) => Err(io::ErrorKind::WouldBlock.into()),
        }?;
        if count == 0 {
            // All is decoded; what is sent behind it is read, so that the connection can be kept.
            let arrived = self.arrived();
            arrived.bytes.clear();
            return if arrived.ended {
                Ok(None)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        piece.truncate(count);
        Ok(Some(piece.into()))
    }
}

/// Whether it begins as RFC 1950, 2.2 says.
fn is_zlib(bytes: &[u8]) -> bool {
    match bytes {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0
        }
        _ => true,
    }
}

impl Arrived {
    fn push(&mut self, bytes: Bytes) {
        if self.bytes.is_empty() {
            self.bytes = bytes;
        } else {
            let mut all = std::mem::take(&mut self.bytes).to_vec();
            all.extend_from_slice(&bytes);
            self.bytes = all.into();
        }
    }
}

impl Read for Arrived {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.len().min(out.len());
        self.bytes.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

impl BufRead for Arrived {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes)
    }

    fn consume(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
