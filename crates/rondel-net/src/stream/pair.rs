//! [`StreamPair`]: both halves in one value.

use std::fmt;
use std::net::SocketAddr;
#[cfg(feature = "futures-io")]
use std::rc::Rc;

#[cfg(feature = "futures-io")]
use crate::engine::Connection;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;

/// A reader and a writer in one value, for code that asks for a stream which does both: HTTP and WebSocket libraries, database
/// drivers.
///
/// Unlike [`TcpStream`](crate::TcpStream) it is whatever the two halves are: TCP, a Unix socket, TLS over either, a child's
/// pipes. With the feature `futures-io` it is an `AsyncRead`, `AsyncBufRead` and `AsyncWrite`. `!Send`.
///
/// ```
/// use rondel_net::{StreamPair, TcpListener, open_connection};
///
/// # rondel_loop::run(async {
/// let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
/// let (reader, writer) = open_connection(listener.local_addr()).await?;
/// let mut here = StreamPair::new(reader, writer);
/// let there: StreamPair = listener.accept().await?.0.into_split().into();
///
/// there.writer().write_all(b"hello\n").await?;
/// assert_eq!(here.reader_mut().read_line().await?, b"hello\n");
/// let (_reader, _writer) = here.into_split();
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct StreamPair {
    reader: StreamReader,
    writer: StreamWriter,
}

impl StreamPair {
    /// The two in one. They need not be of the same connection.
    pub const fn new(reader: StreamReader, writer: StreamWriter) -> Self {
        Self { reader, writer }
    }

    /// The two again.
    pub fn into_split(self) -> (StreamReader, StreamWriter) {
        (self.reader, self.writer)
    }

    /// The reader.
    pub const fn reader(&self) -> &StreamReader {
        &self.reader
    }

    /// The reader, to read from.
    pub const fn reader_mut(&mut self) -> &mut StreamReader {
        &mut self.reader
    }

    /// The writer.
    pub const fn writer(&self) -> &StreamWriter {
        &self.writer
    }

    #[cfg(feature = "futures-io")]
    pub(super) fn connection(&self) -> &Rc<Connection> {
        self.writer.connection()
    }

    /// The other end; see [`TcpStream::peer_addr`](crate::TcpStream::peer_addr).
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.writer.peer_addr()
    }
}

impl From<(StreamReader, StreamWriter)> for StreamPair {
    fn from((reader, writer): (StreamReader, StreamWriter)) -> Self {
        Self::new(reader, writer)
    }
}

impl From<crate::TcpStream> for StreamPair {
    fn from(stream: crate::TcpStream) -> Self {
        stream.into_split().into()
    }
}

#[cfg(feature = "unix")]
impl From<crate::UnixStream> for StreamPair {
    fn from(stream: crate::UnixStream) -> Self {
        stream.into_split().into()
    }
}

impl fmt::Debug for StreamPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamPair")
            .field("reader", &self.reader)
            .field("writer", &self.writer)
            .finish()
    }
}
