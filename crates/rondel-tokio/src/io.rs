//! [`TokioIo`]: rondel's streams as tokio's.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rondel_net::{StreamPair, StreamReader, StreamWriter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection of rondel's, for crates that read and write by tokio's traits: database drivers, codecs. No tokio runtime is needed.
///
/// What is received is copied once, from the loop's buffer into the reader's, which is never cleared for it. Writing waits while too
/// much is queued; `flush` until the system has everything; `shutdown` ends the stream that the peer reads.
///
/// ```
/// use rondel_net::{TcpListener, TcpStream};
/// use rondel_tokio::TokioIo;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # rondel_loop::run(async {
/// let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
/// let mut here = TokioIo::new(TcpStream::connect(listener.local_addr()).await?);
/// let mut there = TokioIo::new(listener.accept().await?.0);
/// here.write_all(b"hello").await?;
/// here.shutdown().await?;
/// let mut heard = String::new();
/// there.read_to_string(&mut heard).await?;
/// assert_eq!(heard, "hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct TokioIo(StreamPair);

impl TokioIo {
    /// Takes a stream over.
    pub fn new(pair: impl Into<StreamPair>) -> Self {
        Self(pair.into())
    }

    /// The stream, as it is.
    pub const fn get_ref(&self) -> &StreamPair {
        &self.0
    }

    /// The stream again: reader and writer.
    pub fn into_inner(self) -> (StreamReader, StreamWriter) {
        self.0.into_split()
    }
}

impl From<StreamPair> for TokioIo {
    fn from(pair: StreamPair) -> Self {
        Self(pair)
    }
}

impl AsyncRead for TokioIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reader = self.get_mut().0.reader_mut();
        reader.poll_receive(cx, room.remaining(), |bytes| room.put_slice(bytes))
    }
}

impl AsyncWrite for TokioIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(ready!(self.0.writer().poll_write(cx, bytes))?))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(ready!(self.0.writer().poll_write_vectored(cx, parts))?))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(ready!(self.0.writer().poll_flush(cx))?))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(ready!(self.0.writer().poll_write_eof(cx))?))
    }
}
