//! The system calls that move a connection's bytes, all of them: what another kind of byte endpoint would have its own of.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rondel_loop::Registration;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

/// How many pieces one system call takes: `IOV_MAX`, where rondel runs. More are an error.
const MOST_SLICES: usize = 1024;

/// An error is what a lost peer is worth, not a signal. (Apple's systems have a socket option for that.)
#[cfg(not(target_vendor = "apple"))]
const FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const FLAGS: SendFlags = SendFlags::empty();

/// Receives at least a byte; none are the end.
#[inline]
pub(super) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(fd, buffer, RecvFlags::empty())?.0)
}

/// The same, and leaves it there.
pub(super) fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(fd, buffer, RecvFlags::PEEK)?.0)
}

/// Sends as much of `slices` as the system takes. A short count is noted.
pub(super) fn send(registration: &Registration, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    if let [one] = slices {
        return send_one(registration, one);
    }
    let slices = &slices[..slices.len().min(MOST_SLICES)];
    let len = slices.iter().map(|slice| slice.len()).sum();
    send_with(registration, len, |fd| {
        rustix::net::sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), FLAGS)
    })
}

/// The same of one piece.
#[inline]
pub(super) fn send_one(registration: &Registration, bytes: &[u8]) -> io::Result<usize> {
    send_with(registration, bytes.len(), |fd| {
        rustix::net::send(fd, bytes, FLAGS)
    })
}

#[inline]
fn send_with(
    registration: &Registration,
    len: usize,
    call: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match registration.try_write(|fd| Ok(call(fd)?)) {
            Ok(count) => {
                if count < len {
                    registration.on_short_write();
                }
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ends what is sent.
pub(super) fn end(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(fd, Shutdown::Write)?)
}

/// Has the peer told by a reset when the descriptor is closed: what it got must not look whole.
pub(super) fn set_reset(fd: impl AsFd) {
    // Only TCP knows this; a Unix socket's peer sees an end.
    let _ = rustix::net::sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}
