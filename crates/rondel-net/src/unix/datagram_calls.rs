//! What an endpoint does with a Unix datagram socket.

use std::io::{self, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::os::unix::net::SocketAddr;

use rondel_loop::LocalLoop;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags};

use crate::datagram::addr::{AT_ONCE, Arrived, Calls};
use crate::unix::addr::{from_any, name_of, to_rustix};
use crate::unix::room::{Room, is_writable};
use crate::unix::socket_file::RemovedOnDrop;

impl Calls for SocketAddr {
    /// The loop's buffer. asyncio's value, too; a sender needs a larger buffer than the system's default to exceed it.
    const ROOM: usize = 256 * 1024;
    const ECHOES: bool = false;
    type Held = Option<RemovedOnDrop>;
    type Room = Room;

    /// One at a time, since one may need all of the buffer. Descriptors that come along are closed by the system: there is no
    /// room for them.
    fn receive(
        fd: BorrowedFd<'_>,
        buffer: &mut [u8],
        arrived: &mut [Arrived<Self>; AT_ONCE],
    ) -> io::Result<usize> {
        let mut none = RecvAncillaryBuffer::default();
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut place = [IoSliceMut::new(buffer)];
        let received = rustix::net::recvmsg(fd, &mut place, &mut none, flags)?;
        arrived[0] = Arrived {
            place: 0..received.bytes,
            from: Some(from_any(received.address)?),
            truncated: received.flags.contains(ReturnFlags::TRUNC),
        };
        Ok(1)
    }

    fn send(fd: BorrowedFd<'_>, bytes: &[u8], to: Option<&Self>) -> io::Result<()> {
        match to {
            Some(to) => rustix::net::sendto(fd, bytes, SendFlags::NOSIGNAL, &to_rustix(to)?)?,
            None => rustix::net::send(fd, bytes, SendFlags::NOSIGNAL)?,
        };
        Ok(())
    }

    fn send_many<'b>(
        fd: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = (&'b [u8], Option<&'b Self>)>,
    ) -> io::Result<usize> {
        send_some(fd, datagrams)
    }

    fn local(fd: BorrowedFd<'_>) -> io::Result<Self> {
        from_any(Some(rustix::net::getsockname(fd)?))
    }

    fn check(&self) -> io::Result<()> {
        to_rustix(self).map(drop)
    }

    fn is_same(&self, other: &Self) -> bool {
        match (to_rustix(self), to_rustix(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
    }

    fn name(&self) -> String {
        name_of(self)
    }

    fn lacks_room(fd: BorrowedFd<'_>) -> bool {
        is_writable(fd)
    }

    fn room(&self, local: &LocalLoop) -> io::Result<Room> {
        Room::at(local, self)
    }
}

/// By one system call.
#[cfg(all(target_os = "linux", not(rondel_selector = "portable")))]
fn send_some<'b>(
    fd: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = (&'b [u8], Option<&'b SocketAddr>)>,
) -> io::Result<usize> {
    use std::io::IoSlice;

    use rustix::net::addr::SocketAddrArg;
    use rustix::net::{MMsgHdr, SendAncillaryBuffer, sendmmsg};

    let mut places = Vec::with_capacity(BATCH);
    for (bytes, to) in datagrams.take(BATCH) {
        let to = to.map(to_rustix).transpose()?.map(|to| to.as_any());
        places.push(([IoSlice::new(bytes)], to, SendAncillaryBuffer::default()));
    }
    let mut headers: Vec<_> = places
        .iter_mut()
        .map(|(bytes, to, nothing)| match to {
            Some(to) => MMsgHdr::new_with_addr(to, bytes, nothing),
            None => MMsgHdr::new(bytes, nothing),
        })
        .collect();
    Ok(sendmmsg(fd, &mut headers, SendFlags::NOSIGNAL)?)
}

/// One after the other, until one is not taken. An error belongs to the first.
#[cfg(not(all(target_os = "linux", not(rondel_selector = "portable"))))]
fn send_some<'b>(
    fd: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = (&'b [u8], Option<&'b SocketAddr>)>,
) -> io::Result<usize> {
    let mut sent = 0;
    for (bytes, to) in datagrams.take(BATCH) {
        match SocketAddr::send(fd, bytes, to) {
            Ok(()) => sent += 1,
            Err(error) if sent == 0 => return Err(error),
            // It is the first next time.
            Err(_) => break,
        }
    }
    Ok(sent)
}

/// How many are sent at once at most.
const BATCH: usize = 32;
