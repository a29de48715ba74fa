//! The system calls, which differ by what the descriptor is.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

/// What a descriptor is, as far as calls differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// A pipe or a device.
    Plain,
    /// A socket: may be shared with others, who want it to stay as it is.
    Socket,
    /// The controlling side of a pty.
    Master,
}

/// A lost peer is an error, and nothing waits. (Apple's systems have a socket option for the first.)
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

impl Calls {
    /// 0 at the end.
    pub(super) fn read(self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain => Ok(rustix::io::read(fd, buffer)?),
            Self::Socket => Ok(rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT)?.0),
            // Linux says so when the last descriptor of the terminal's side is closed.
            Self::Master => match rustix::io::read(fd, buffer) {
                Err(Errno::IO) => Ok(0),
                other => Ok(other?),
            },
        }
    }

    pub(super) fn write(self, fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain | Self::Master => Ok(rustix::io::writev(fd, slices)?),
            Self::Socket => Ok(rustix::net::sendmsg(
                fd,
                slices,
                &mut SendAncillaryBuffer::default(),
                SEND,
            )?),
        }
    }
}
