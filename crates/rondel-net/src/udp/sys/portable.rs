//! What every Unix can do.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, recvmsg};

use super::{Received, send_each};
use crate::udp::icmp::IcmpError;

/// Receives one datagram.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> io::Result<Received> {
    let mut control = RecvAncillaryBuffer::default();
    let message = recvmsg(fd, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let kept = message.bytes.min(buffer.len());
    Ok(Received {
        kept,
        whole: kept,
        truncated: message.flags.contains(ReturnFlags::TRUNC),
        from: message
            .address
            .and_then(|address| SocketAddr::try_from(address).ok()),
        segment: 0,
    })
}

/// Receives into places of `room` bytes each, one behind the other: one datagram. An error behind a first one would be lost.
pub(crate) fn receive_many(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    room: usize,
    received: &mut [Received],
    _gro: bool,
) -> io::Result<usize> {
    received[0] = receive(fd, &mut buffer[..room], RecvFlags::empty())?;
    Ok(1)
}

/// Sends some of the datagrams, in order, at least one. An error belongs to the first.
pub(crate) fn send_many<'b>(
    fd: BorrowedFd<'_>,
    datagrams: impl IntoIterator<Item = (&'b [u8], Option<SocketAddr>)>,
) -> io::Result<usize> {
    send_each(fd, datagrams)
}

/// How many segments one system call takes: one, that is, there are none.
pub(crate) const fn max_segments(_: BorrowedFd<'_>) -> usize {
    1
}

/// Sends `bytes` as datagrams of `segment` bytes: not here.
pub(crate) fn send_segments(
    _: BorrowedFd<'_>,
    _: &[u8],
    _segment: u16,
    _: Option<SocketAddr>,
) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Has datagrams put together when they are received: not here.
pub(crate) fn set_gro(_: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    if on {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// Has answers by ICMP kept: not here.
pub(crate) fn set_receive_errors(_: BorrowedFd<'_>, _is_v6: bool, on: bool) -> io::Result<()> {
    if on {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// The next answer by ICMP: not here.
pub(crate) fn receive_error(_: BorrowedFd<'_>) -> io::Result<IcmpError> {
    Err(io::ErrorKind::Unsupported.into())
}
