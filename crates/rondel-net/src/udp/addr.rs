//! What an endpoint does with a UDP socket.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use rondel_loop::LocalLoop;

use crate::datagram::addr::{AT_ONCE, Arrived, Calls};
use crate::udp::socket::LARGEST;
use crate::udp::sys::{self, Received};

impl Calls for SocketAddr {
    /// As many of the largest as the loop's buffer has room for are received at once.
    const ROOM: usize = LARGEST;
    const ECHOES: bool = true;
    type Held = ();
    type Room = Infallible;

    fn receive(
        fd: BorrowedFd<'_>,
        buffer: &mut [u8],
        arrived: &mut [Arrived<Self>; AT_ONCE],
    ) -> io::Result<usize> {
        let mut received = [Received::default(); AT_ONCE];
        let count = sys::receive_many(fd, buffer, LARGEST, &mut received, false)?;
        let received = received.into_iter().take(count);
        for (index, (arrived, received)) in arrived.iter_mut().zip(received).enumerate() {
            let start = index * LARGEST;
            *arrived = Arrived {
                place: start..start + received.kept,
                from: received.from,
                truncated: received.truncated,
            };
        }
        Ok(count)
    }

    fn send(fd: BorrowedFd<'_>, bytes: &[u8], to: Option<&Self>) -> io::Result<()> {
        sys::send(fd, bytes, to.copied())
    }

    fn send_many<'b>(
        fd: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = (&'b [u8], Option<&'b Self>)>,
    ) -> io::Result<usize> {
        sys::send_many(fd, datagrams.map(|(bytes, to)| (bytes, to.copied())))
    }

    fn local(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(rustix::net::getsockname(fd)?.try_into()?)
    }

    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn name(&self) -> String {
        self.to_string()
    }

    fn lacks_room(_: BorrowedFd<'_>) -> bool {
        false
    }

    fn room(&self, _: &LocalLoop) -> io::Result<Infallible> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
