//! One connection to a server: requests out, answers in; and those that lie idle until they are needed again.

use std::cell::RefCell;
use std::collections::VecDeque;

use rondel::net::{ConnectErrorKind, ReadError, StreamReader, StreamWriter};
use rondel::open_connection;
use url::Url;

use crate::failure::Failure;
use crate::hosts::Authority;
use crate::http::{self, Framing, Head};

/// What is larger is no page.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// Read at a time.
const PIECE: usize = 64 * 1024;

/// Lines after the last chunk; nobody needs them.
const MOST_TRAILERS: usize = 100;

/// The end of a head. RFC 9112 has lines end in CR LF, and advises to put up with a bare LF.
const EMPTY_LINE: &[&[u8]] = &[b"\n\r\n", b"\n\n"];

pub struct Connection {
    reader: StreamReader,
    writer: StreamWriter,
}

/// An answer, complete.
#[derive(Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Connection {
    pub async fn open(to: &Authority) -> Result<Self, Failure> {
        let (name, port) = to;
        match open_connection((name.as_str(), *port)).await {
            Ok((reader, writer)) => Ok(Self { reader, writer }),
            Err(error) => Err(match error.kind() {
                ConnectErrorKind::Resolve(_) => Failure::LookUp,
                _ => Failure::Connect,
            }),
        }
    }

    /// Asks for a page and reads the answer. After a failure the connection is of no more use.
    pub async fn request(&mut self, url: &Url) -> Result<Answer, Failure> {
        let request = http::request(url);
        // It fails when the server has gone. What it said before it went is still there to be read.
        let _ = self.writer.write_all(request.as_bytes()).await;

        let mut bytes = self.read_head().await?;
        let mut head = Head::parse(&bytes)?;
        while head.is_interim() {
            bytes = self.read_head().await.map_err(in_the_middle)?;
            head = Head::parse(&bytes)?;
        }
        let body = self.read_body(head.framing).await?;
        Ok(Answer { head, body })
    }

    async fn read_head(&mut self) -> Result<Vec<u8>, Failure> {
        let received = match self.reader.read_until_any(EMPTY_LINE).await {
            Ok(head) => return Ok(head),
            Err(ReadError::LimitOverrun { .. }) => return Err(Failure::OversizeHead),
            Err(ReadError::Incomplete { partial, .. }) => partial,
            Err(_) => self.reader.buffer().to_vec(),
        };
        Err(match received.as_slice() {
            [] => Failure::NoAnswer,
            [b'H', b'T', b'T', b'P', ..] => Failure::CutShort,
            _ => Failure::Malformed,
        })
    }

    async fn read_body(&mut self, framing: Framing) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        match framing {
            Framing::Length(length) => self.read_exactly(length, &mut body).await?,
            Framing::Chunked => loop {
                let size = http::chunk_size(&self.read_line().await?)?;
                if size == 0 {
                    self.skip_trailers().await?;
                    break;
                }
                self.read_exactly(size, &mut body).await?;
                if self.read_line().await? != b"\r\n" {
                    return Err(Failure::Malformed);
                }
            },
            Framing::UntilClose => body = self.read_to_end().await?,
        }
        Ok(body)
    }

    async fn read_exactly(&mut self, length: u64, body: &mut Vec<u8>) -> Result<(), Failure> {
        let mut left = usize::try_from(length).map_err(|_| Failure::OversizeBody)?;
        if left > LARGEST_BODY - body.len() {
            return Err(Failure::OversizeBody);
        }
        while left > 0 {
            match self.read_piece(left.min(PIECE), body).await? {
                0 => return Err(Failure::CutShort),
                received => left -= received,
            }
        }
        Ok(())
    }

    /// Appends what comes next of the body, at most `most` bytes; 0 at the end of the connection.
    async fn read_piece(&mut self, most: usize, body: &mut Vec<u8>) -> Result<usize, Failure> {
        let piece = self
            .reader
            .read_some(most)
            .await
            .map_err(|_| Failure::CutShort)?;
        body.extend_from_slice(&piece);
        Ok(piece.len())
    }

    async fn read_to_end(&mut self) -> Result<Vec<u8>, Failure> {
        self.reader
            .read_to_end(LARGEST_BODY)
            .await
            .map_err(|error| match error {
                ReadError::LimitOverrun { .. } => Failure::OversizeBody,
                _ => Failure::CutShort,
            })
    }

    /// A line of the chunked framing.
    async fn read_line(&mut self) -> Result<Vec<u8>, Failure> {
        self.reader
            .read_until(b"\r\n")
            .await
            .map_err(|error| match error {
                ReadError::LimitOverrun { .. } => Failure::Malformed,
                _ => Failure::CutShort,
            })
    }

    async fn skip_trailers(&mut self) -> Result<(), Failure> {
        for _ in 0..MOST_TRAILERS {
            if self.read_line().await? == b"\r\n" {
                return Ok(());
            }
        }
        Err(Failure::Malformed)
    }
}

/// What it means that nothing came when part of the answer had come before.
fn in_the_middle(failure: Failure) -> Failure {
    match failure {
        Failure::NoAnswer => Failure::CutShort,
        other => other,
    }
}

/// Connections that servers keep open, at most so many; the one that lay idle longest goes first.
pub struct IdleConnections {
    most: usize,
    idle: RefCell<VecDeque<(Authority, Connection)>>,
}

impl IdleConnections {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            idle: RefCell::default(),
        }
    }

    /// A connection to that server, the one used last.
    pub fn take(&self, to: &Authority) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let place = idle.iter().rposition(|(server, _)| server == to)?;
        idle.remove(place).map(|(_, connection)| connection)
    }

    pub fn put(&self, to: Authority, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        idle.push_back((to, connection));
        let too_many = idle.len() > self.most;
        let dropped = too_many.then(|| idle.pop_front());
        drop(idle);
        drop(dropped);
    }
}
