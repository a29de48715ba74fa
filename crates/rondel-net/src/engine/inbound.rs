//! The receive half.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use rondel_loop::{LoopClosed, Registration};

use crate::engine::{Connection, Phase, calls};
use crate::error::Attempt;

/// What a connection may receive before others have their turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    receives: u32,
    bytes: u32,
}

impl Allowance {
    pub(super) const FULL: Self = Self {
        receives: 16,
        bytes: 1024 * 1024,
    };

    #[inline]
    pub(super) const fn is_spent(self) -> bool {
        self.receives == 0 || self.bytes == 0
    }
}

/// How often the loop's buffer is filled with what nobody will read, when a connection is closed.
const DISCARDS: usize = 4;

impl Connection {
    /// Receives straight into `buffer`: at least a byte, unless the stream has ended or `buffer` is empty.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_recv(cx, buffer, calls::receive, true)
    }

    /// Receives without taking anything out.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_recv(cx, buffer, calls::peek, false)
    }

    /// Receives into the loop's buffer, at most `room` bytes, and lends them to `take`; none mean the end.
    pub(crate) fn poll_receive<R>(
        &self,
        cx: &mut Context<'_>,
        room: usize,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Poll<io::Result<R>> {
        let mut buffer = self.local.receive_buffer();
        let room = room.clamp(1, buffer.len());
        self.poll_read(cx, &mut buffer[..room])
            .map_ok(|count| take(&buffer[..count]))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        call: impl Fn(BorrowedFd<'_>, &mut [u8]) -> io::Result<usize>,
        takes: bool,
    ) -> Poll<io::Result<usize>> {
        let registration = match self.to_receive() {
            Ok(Some(registration)) if !buffer.is_empty() => registration,
            Ok(_) => return Poll::Ready(Ok(0)),
            Err(error) => return Poll::Ready(Err(error)),
        };
        if self.is_exhausted(cx) {
            return Poll::Pending;
        }
        if !self.direct.get() {
            return self.poll_recv_indirect(cx, &registration, buffer, takes);
        }
        self.poll_recv_with(cx, &registration, buffer, call, takes)
    }

    /// The same through a layer, or of what is no socket.
    #[cold]
    fn poll_recv_indirect(
        &self,
        cx: &mut Context<'_>,
        registration: &Registration,
        buffer: &mut [u8],
        takes: bool,
    ) -> Poll<io::Result<usize>> {
        if !takes {
            let text = "there is no peeking into a TLS connection";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::Unsupported, text)));
        }
        if self.is_layered() {
            return self.poll_layered(cx, registration, buffer, false);
        }
        let calls = self.calls;
        let call = |fd: BorrowedFd<'_>, buffer: &mut [u8]| calls.receive(fd, buffer);
        self.poll_recv_with(cx, registration, buffer, call, true)
    }

    #[inline]
    fn poll_recv_with(
        &self,
        cx: &Context<'_>,
        registration: &Registration,
        buffer: &mut [u8],
        call: impl Fn(BorrowedFd<'_>, &mut [u8]) -> io::Result<usize>,
        takes: bool,
    ) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        let received = registration.poll_read_with(cx, |fd| call(fd, buffer));
        match received {
            Poll::Pending => {
                self.renew_allowance();
                Poll::Pending
            }
            Poll::Ready(Ok(count)) => {
                if count == 0 {
                    return Poll::Ready(self.on_end());
                }
                if takes {
                    self.on_received(registration, count, room);
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fail(Attempt::Receive, error))),
        }
    }

    /// Where to receive from; `None` at the end.
    #[inline]
    fn to_receive(&self) -> io::Result<Option<Registration>> {
        if self.received_end.get() {
            return Ok(None);
        }
        if let Some(fault) = self.fault.get()
            && fault.attempt != Attempt::Send
        {
            return Err(self.lost(fault));
        }
        match self.registration() {
            Some(registration) => Ok(Some(registration)),
            None if self.phase.get() == Phase::Abandoned => Err(LoopClosed.into()),
            None if self.phase.get() == Phase::Aborted => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the connection was aborted at this end",
            )),
            // Closed at this end: there is nothing to come.
            None => Ok(None),
        }
    }

    #[inline]
    pub(super) fn renew_allowance(&self) {
        self.allowance.set(Allowance::FULL);
    }

    #[inline]
    pub(super) fn on_received(&self, registration: &Registration, count: usize, room: usize) {
        if count < room {
            registration.on_short_read();
        }
        registration.local_loop().count_received(count);
        let mut allowance = self.allowance.get();
        allowance.receives = allowance.receives.saturating_sub(1);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        allowance.bytes = allowance.bytes.saturating_sub(count);
        self.allowance.set(allowance);
    }

    /// The end of what is received, which is no end after a reset that sending ran into first.
    pub(super) fn on_end(&self) -> io::Result<usize> {
        match self.fault.get() {
            // A peer that has closed both ways has said so before.
            Some(fault) if fault.kind != io::ErrorKind::BrokenPipe => Err(self.lost(fault)),
            _ => {
                self.received_end.set(true);
                Ok(0)
            }
        }
    }

    /// Whether this connection has received so much without ever waiting that it is time for others. If so, its task goes to
    /// the back of the queue.
    #[inline]
    fn is_exhausted(&self, cx: &Context<'_>) -> bool {
        let exhausted = self.allowance.get().is_spent();
        if exhausted {
            self.renew_allowance();
            cx.waker().wake_by_ref();
        }
        exhausted
    }

    /// Takes out what has arrived and will not be read. Closing a socket with unread bytes in it resets the connection, and
    /// the peer may lose what was sent to it last.
    pub(super) fn discard_received(&self, registration: &Registration) {
        if self.received_end.get() || self.fault.get().is_some() || !self.calls.is_own_socket() {
            // Of a pipe, others may want it.
            return;
        }
        if !registration.ready().is_readable() || self.local.is_closed() {
            return;
        }
        let mut buffer = self.local.receive_buffer();
        for _ in 0..DISCARDS {
            let room = buffer.len();
            let received = registration.try_read(|fd| calls::receive(fd, &mut buffer));
            if !matches!(received, Ok(count) if count == room) {
                return;
            }
        }
    }
}
