//! A connection as tungstenite reads and writes it: at once, or not at all.

use std::io::{self, ErrorKind, Read, Write};
use std::task::{Context, Poll};

use rondel_net::StreamPair;

/// One poll's view of a connection. What is not ready would block; the task is woken when it is.
pub(crate) struct Bridge<'a, 'w> {
    pub(crate) pair: &'a mut StreamPair,
    pub(crate) cx: &'a mut Context<'w>,
}

fn at_once<T, E: Into<io::Error>>(polled: Poll<Result<T, E>>) -> io::Result<T> {
    match polled {
        Poll::Ready(outcome) => outcome.map_err(Into::into),
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl Read for Bridge<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        at_once(self.pair.reader_mut().poll_read(self.cx, out))
    }
}

impl Write for Bridge<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        at_once(self.pair.writer().poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        // What one turn writes goes out together at its end; whoever sends too much waits in `write`.
        Ok(())
    }
}

/// The same for a protocol, which is given what comes: bytes in, bytes out.
#[derive(Debug, Default)]
pub(crate) struct Memory<'a> {
    pub(crate) input: &'a [u8],
    pub(crate) ended: bool,
    pub(crate) output: Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.input.read(out)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
