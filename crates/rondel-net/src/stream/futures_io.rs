//! The traits of the crate `futures-io` for every stream: what smol's and futures' libraries read and write by.
//!
//! `poll_write` waits while more than the high water mark is queued, `poll_flush` until the system has everything, `poll_close`
//! ends the stream that the peer reads and leaves this end reading.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::engine::{Goal, Urgency};
use crate::stream::pair::StreamPair;
use crate::stream::reader::StreamReader;
use crate::stream::writer::{StreamWriter, poll_write, poll_write_eof};
use crate::tcp::stream::TcpStream;
#[cfg(feature = "unix")]
use crate::unix::UnixStream;

impl AsyncRead for StreamReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Self::poll_read(self.get_mut(), cx, out)
    }
}

impl AsyncBufRead for StreamReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_buffer(cx)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().consume_buffer(count);
    }
}

impl AsyncRead for StreamPair {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().reader_mut().poll_read(cx, out)
    }
}

impl AsyncBufRead for StreamPair {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().reader_mut().poll_buffer(cx)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().reader_mut().consume_buffer(count);
    }
}

/// What receives straight into the caller's buffer.
macro_rules! read {
    ($($stream:ty),+) => {$(
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                out: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.connection().poll_read(cx, out)
            }
        }
    )+};
}

macro_rules! write {
    ($($stream:ty),+) => {$(
        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let count = ready!(poll_write(self.connection(), cx, &[IoSlice::new(bytes)], Urgency::Turn))?;
                Poll::Ready(Ok(count))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(Ok(ready!(poll_write(self.connection(), cx, parts, Urgency::Turn))?))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(ready!(self.connection().poll_sent(cx, Goal::Sent))?))
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(ready!(poll_write_eof(self.connection(), cx))?))
            }
        }
    )+};
}

read!(TcpStream, &TcpStream);
write!(StreamWriter, StreamPair, TcpStream, &TcpStream);

#[cfg(feature = "unix")]
read!(UnixStream, &UnixStream);
#[cfg(feature = "unix")]
write!(UnixStream, &UnixStream);
