//! Many datagrams of one size to one peer, cut by the system (GSO).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::datagram::error::{Attempt, DatagramError};
use crate::udp::socket::{Segmentation, UdpSocket};
use crate::udp::sys;

/// What the system takes as one, before it cuts: the largest datagram over IPv4.
const MOST_BYTES: usize = 65_507;

impl UdpSocket {
    /// Sends `bytes` as datagrams of `segment` bytes each, of which the last may be shorter, to `to`, or, without an address,
    /// to the connected peer; waits for room when there is none.
    ///
    /// Where the system can (Linux, `UDP_SEGMENT`), up to 64 of them leave with one system call, and go through its network
    /// stack as one: it is the fastest way to send much to one peer. Elsewhere, they are sent one by one, or by
    /// [batches](UdpSocket::send_batch).
    ///
    /// ```
    /// use rondel_net::UdpSocket;
    ///
    /// # rondel_loop::run(async {
    /// let socket = UdpSocket::bind(([127, 0, 0, 1], 0))?;
    /// socket.send_segmented(&[1; 2500], 1000, socket.local_addr()?).await?;
    /// let mut buffer = [0; 1500];
    /// for size in [1000, 1000, 500] {
    ///     assert_eq!(socket.recv_from(&mut buffer).await?.0, size);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to), `InvalidInput` if `segment` is 0. Some may have been sent.
    ///
    /// # Cancel safety
    /// Dropped, it may have sent some of them. Where that matters,
    /// [`try_send_segmented`](UdpSocket::try_send_segmented) tells.
    pub async fn send_segmented(
        &self,
        bytes: &[u8],
        segment: usize,
        to: impl Into<Option<SocketAddr>>,
    ) -> io::Result<()> {
        let to = to.into();
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent =
                poll_fn(|cx| self.poll_send_with(cx, |fd| self.send_some(fd, rest, segment, to)))
                    .await
                    .map_err(|error| self.failed_to_send(to, error))?;
            rest = &rest[sent..];
        }
        Ok(())
    }

    /// Sends as [`send_segmented`](UdpSocket::send_segmented) does as much as leaves with one system call, and gives how many
    /// bytes that were: whole segments, or everything.
    ///
    /// # Errors
    /// As [`send_segmented`](UdpSocket::send_segmented); `WouldBlock` if there is no room. Nothing was sent then.
    pub fn try_send_segmented(
        &self,
        bytes: &[u8],
        segment: usize,
        to: impl Into<Option<SocketAddr>>,
    ) -> io::Result<usize> {
        let to = to.into();
        if bytes.is_empty() {
            return Ok(0);
        }
        self.registration()
            .try_write(|fd| self.send_some(fd, bytes, segment, to))
            .map_err(|error| self.failed_to_send(to, error))
    }

    /// How many segments leave with one system call: 1 if the system does not cut.
    pub fn max_segments(&self) -> usize {
        match self.segmentation.get() {
            Segmentation::Upto(segments) => segments,
            Segmentation::Unknown => {
                let segments = sys::max_segments(self.as_fd());
                self.segmentation.set(Segmentation::Upto(segments));
                segments
            }
        }
    }

    pub(super) fn failed_to_send(&self, to: Option<SocketAddr>, error: io::Error) -> io::Error {
        DatagramError::wrap(Attempt::Send, to.or_else(|| self.peer_addr()), error)
    }

    fn send_some(
        &self,
        fd: BorrowedFd<'_>,
        bytes: &[u8],
        segment: usize,
        to: Option<SocketAddr>,
    ) -> io::Result<usize> {
        if segment == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "segments of no bytes",
            ));
        }
        let together = self.max_segments().min(MOST_BYTES / segment);
        if together > 1
            && bytes.len() > segment
            && let Ok(size) = u16::try_from(segment)
        {
            let some = &bytes[..bytes.len().min(together * segment)];
            match sys::send_segments(fd, some, size, to) {
                Ok(()) => return Ok(some.len()),
                // A path that cannot have checksums computed late.
                Err(error) if is(&error, &[Errno::IO, Errno::OPNOTSUPP, Errno::NOSYS]) => {
                    self.segmentation.set(Segmentation::Upto(1));
                }
                // Segments that do not fit into packets: one by one, they are cut once more, into fragments.
                Err(error) if is(&error, &[Errno::INVAL, Errno::MSGSIZE]) => {}
                Err(error) => return Err(error),
            }
        }
        let each = bytes.chunks(segment).map(|datagram| (datagram, to));
        let sent = sys::send_many(fd, each)?;
        Ok(bytes.len().min(sent * segment))
    }
}

fn is(error: &io::Error, numbers: &[Errno]) -> bool {
    numbers
        .iter()
        .any(|number| error.raw_os_error() == Some(number.raw_os_error()))
}
