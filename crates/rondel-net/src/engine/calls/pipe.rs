//! The calls of what is no socket, or not only this process's.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use rondel_loop::Registration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use super::{Calls, FLAGS, MOST_SLICES, send_with};

/// Nothing waits, though the socket may.
const SEND: SendFlags = FLAGS.union(SendFlags::DONTWAIT);

impl Calls {
    /// See [`receive`](Calls::receive).
    pub(super) fn receive_other(self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket | Self::SharedSocket => {
                Ok(rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT)?.0)
            }
            Self::Pipe | Self::Device => Ok(rustix::io::read(fd, buffer)?),
            // Linux says so when the last descriptor of the terminal's side is closed.
            Self::Master => match rustix::io::read(fd, buffer) {
                Err(Errno::IO) => Ok(0),
                other => Ok(other?),
            },
        }
    }

    /// See [`send`](Calls::send).
    pub(super) fn send_other(
        self,
        registration: &Registration,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let slices = &slices[..slices.len().min(MOST_SLICES)];
        let len = slices.iter().map(|slice| slice.len()).sum();
        send_with(registration, len, |fd| self.write(fd, slices))
    }

    fn write(self, fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        match self {
            Self::Socket | Self::SharedSocket => {
                rustix::net::sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), SEND)
            }
            Self::Pipe | Self::Device | Self::Master => rustix::io::writev(fd, slices),
        }
    }

    /// Whether nobody receives what is sent: there is no error then, and `WouldBlock` while there is somebody.
    ///
    /// A terminal can be opened again, and so is never found deserted.
    pub(in crate::engine) fn hear_end(self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let deserted = match self {
            Self::Device | Self::Master => false,
            Self::Pipe => is_hung_up(fd)?,
            // Its end is an end both ways, for whom only sends.
            Self::Socket | Self::SharedSocket => {
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                let look = || rustix::net::recv(fd, &mut [0; 1], flags);
                is_hung_up(fd)? || retry_on_intr(look)?.0 == 0
            }
        };
        match deserted {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

fn is_hung_up(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))?;
    Ok(fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP))
}
