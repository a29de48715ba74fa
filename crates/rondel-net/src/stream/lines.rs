//! [`Lines`]: a stream's lines.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};

use crate::error::ReadError;
use crate::stream::reader::StreamReader;

impl StreamReader {
    /// The lines as a stream, each as [`read_line`](StreamReader::read_line) gives it. It ends with the connection's, or
    /// after an error. asyncio: `async for line in reader`.
    pub fn lines(&mut self) -> Lines<'_> {
        Lines::new(self)
    }
}

/// The stream of [`StreamReader::lines`].
///
/// # Cancel safety
/// Dropped, it leaves what it has received in the reader.
///
/// ```
/// use futures_util::StreamExt;
/// # use rondel_net::{TcpListener, TcpStream};
///
/// # rondel_loop::run(async {
/// # let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
/// # let peer = TcpStream::connect(listener.local_addr()).await?;
/// # let (mut reader, _writer) = listener.accept().await?.0.into_split();
/// peer.write_all(b"a round\nof two lines").await?;
/// peer.close();
/// let mut lines = reader.lines();
/// assert_eq!(lines.next().await.unwrap()?, b"a round\n");
/// assert_eq!(lines.next().await.unwrap()?, b"of two lines");
/// assert!(lines.next().await.is_none());
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Lines<'r> {
    reader: &'r mut StreamReader,
    /// How much of the reader's buffer holds no end of a line.
    searched: usize,
    ended: bool,
}

impl<'r> Lines<'r> {
    pub(super) fn new(reader: &'r mut StreamReader) -> Self {
        Self {
            reader,
            searched: 0,
            ended: false,
        }
    }
}

impl Stream for Lines<'_> {
    type Item = Result<Vec<u8>, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Self {
            reader, searched, ..
        } = &mut *self;
        let line = ready!(reader.poll_read_line(cx, searched));
        self.ended = !matches!(&line, Ok(line) if line.ends_with(b"\n"));
        Poll::Ready(match line {
            Ok(line) if line.is_empty() => None,
            line => Some(line),
        })
    }
}

impl FusedStream for Lines<'_> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}
