//! The end of a pipe that is read from.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll};

use rondel_loop::Registration;

use crate::engine::Peer;
use crate::error::{Attempt, ConnectionLost};
use crate::pipe::calls::Calls;

/// How often one end may receive without ever waiting, before others have their turn.
const ALLOWANCE: u32 = 16;

pub(crate) struct Source {
    registration: Registration,
    calls: Calls,
    peer: Peer,
    allowance: Cell<u32>,
}

impl Source {
    pub(super) fn new(registration: Registration, calls: Calls, peer: Peer) -> Self {
        Self {
            registration,
            calls,
            peer,
            allowance: Cell::new(ALLOWANCE),
        }
    }

    pub(super) const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Receives straight into `buffer`, which has room; 0 at the end.
    pub(super) fn poll_read(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let left = self.allowance.get();
        if left == 0 {
            self.allowance.set(ALLOWANCE);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self
            .registration
            .poll_read_with(cx, |fd| self.calls.read(fd, buffer));
        match polled {
            Poll::Pending => {
                self.allowance.set(ALLOWANCE);
                Poll::Pending
            }
            Poll::Ready(Ok(count)) => {
                self.allowance.set(left - 1);
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.lost(error))),
        }
    }

    /// Receives at most `room` bytes into the loop's buffer and lends them to `take`; none mean the end.
    pub(super) fn poll_receive<R>(
        &self,
        cx: &Context<'_>,
        room: usize,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Poll<io::Result<R>> {
        let mut buffer = self.registration.local_loop().receive_buffer();
        let room = room.clamp(1, buffer.len());
        self.poll_read(cx, &mut buffer[..room])
            .map_ok(|count| take(&buffer[..count]))
    }

    fn lost(&self, error: io::Error) -> io::Error {
        if error.raw_os_error().is_none() {
            // The loop is closed, which is no failure of the pipe.
            return error;
        }
        ConnectionLost::new(Attempt::Receive, self.peer.clone(), error).into()
    }
}
