//! The system calls that move a connection's bytes, all of them: what kinds of descriptors differ in.

#[cfg(feature = "pipe")]
mod pipe;

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rondel_loop::Registration;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

/// Which calls a descriptor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// A connected socket that is this process's own.
    Socket,
    /// One that may be shared with others, who want it to stay as it is.
    #[cfg(feature = "pipe")]
    SharedSocket,
    /// A pipe.
    #[cfg(feature = "pipe")]
    Pipe,
    /// A device that gives and takes characters, such as a terminal.
    #[cfg(feature = "pipe")]
    Device,
    /// The controlling side of a pty.
    #[cfg(feature = "pipe")]
    Master,
}

/// How many pieces one system call takes: `IOV_MAX`, where rondel runs. More are an error.
const MOST_SLICES: usize = 1024;

/// An error is what a lost peer is worth, not a signal. (Apple's systems have a socket option for that.)
#[cfg(not(target_vendor = "apple"))]
const FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const FLAGS: SendFlags = SendFlags::empty();

impl Calls {
    /// Whether it is a socket that nobody else has: one that can be told to end, or to reset, and emptied.
    #[inline]
    #[cfg_attr(
        not(feature = "pipe"),
        allow(clippy::unused_self, reason = "there is no other kind")
    )]
    pub(super) const fn is_own_socket(self) -> bool {
        matches!(self, Self::Socket)
    }

    /// Receives at least a byte; none are the end.
    pub(super) fn receive(self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "pipe")]
        if !self.is_own_socket() {
            return self.receive_other(fd, buffer);
        }
        receive(fd, buffer)
    }

    /// Sends as much of `slices` as the system takes. A short count is noted.
    pub(super) fn send(
        self,
        registration: &Registration,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        #[cfg(feature = "pipe")]
        if !self.is_own_socket() {
            return self.send_other(registration, slices);
        }
        send(registration, slices)
    }

    /// Sends up to `count` bytes of `file` from `offset` on, which moves on, without copying them through this process. None are the
    /// file's end.
    ///
    /// There is no flag here that keeps a lost peer from raising SIGPIPE; Rust programs ignore it unless they change that.
    #[cfg(feature = "fs")]
    pub(super) fn send_file(
        self,
        registration: &Registration,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        count: usize,
    ) -> io::Result<usize> {
        // It would wait for room in a socket that others have waiting, and in a pipe on older systems.
        if !self.is_own_socket() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        send_file(registration, file, offset, count)
    }

    /// Ends what is sent.
    pub(super) fn end(self, fd: impl AsFd) -> io::Result<()> {
        if self.is_own_socket() {
            rustix::net::shutdown(fd, Shutdown::Write)?;
        }
        Ok(())
    }

    /// Has the peer told by a reset when the descriptor is closed: what it got must not look whole.
    pub(super) fn set_reset(self, fd: impl AsFd) {
        if self.is_own_socket() {
            // Only TCP knows this; a Unix socket's peer sees an end.
            let _ = rustix::net::sockopt::set_socket_linger(fd, Some(Duration::ZERO));
        }
    }
}

/// Receives at least a byte from an own socket; none are the end.
#[inline]
pub(super) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(fd, buffer, RecvFlags::empty())?.0)
}

/// The same, and leaves it there.
pub(super) fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(fd, buffer, RecvFlags::PEEK)?.0)
}

/// Sends as much of `slices` to an own socket as the system takes. A short count is noted.
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
                registration.local_loop().count_sent(count);
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// See [`Calls::send_file`].
#[cfg(all(feature = "fs", any(target_os = "linux", target_os = "android")))]
fn send_file(
    registration: &Registration,
    file: BorrowedFd<'_>,
    offset: &mut u64,
    count: usize,
) -> io::Result<usize> {
    loop {
        let sent = registration
            .try_write(|fd| Ok(rustix::fs::sendfile(fd, file, Some(&mut *offset), count)?));
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => {
                let count = sent?;
                registration.local_loop().count_sent(count);
                return Ok(count);
            }
        }
    }
}

/// The same, where it is not known how.
#[cfg(all(feature = "fs", not(any(target_os = "linux", target_os = "android"))))]
fn send_file(_: &Registration, _: BorrowedFd<'_>, _: &mut u64, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
