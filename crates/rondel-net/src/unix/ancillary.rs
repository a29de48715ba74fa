//! Descriptors that travel over Unix sockets, beside the bytes (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrAny, SocketAddrUnix,
};

/// As many as Linux lets travel at once (`SCM_MAX_FD`).
pub(super) const AT_MOST: usize = 253;

/// What has come.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) count: usize,
    pub(super) descriptors: Vec<OwnedFd>,
    pub(super) from: Option<SocketAddrAny>,
    /// The datagram was larger than the buffer.
    pub(super) truncated: bool,
}

/// Sends bytes, and descriptors if there are some, as one message.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    to: Option<&SocketAddrUnix>,
) -> io::Result<usize> {
    if descriptors.len() > AT_MOST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} descriptors at once, at most {AT_MOST}",
                descriptors.len()
            ),
        ));
    }
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_MOST))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        unreachable!("there is room for as many as there may be");
    }
    let slices = [IoSlice::new(bytes)];
    let flags = SendFlags::NOSIGNAL;
    let sent = match to {
        Some(to) => rustix::net::sendmsg_addr(socket, to, &slices, &mut control, flags),
        None => rustix::net::sendmsg(socket, &slices, &mut control, flags),
    };
    Ok(sent?)
}

/// Receives bytes, and descriptors: close-on-exec from the first moment, and owned. If there are more than the system had room
/// for, or the limit of open descriptors is reached, those that came are closed, and it is an error.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Arrived> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_MOST))];
    // What is left in there when it is dropped is closed.
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other(
            "descriptors were lost on their way: the limit of open descriptors is reached",
        ));
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            descriptors.extend(some);
        }
    }
    Ok(Arrived {
        count: received.bytes,
        descriptors,
        from: received.address,
        truncated: received.flags.contains(ReturnFlags::TRUNC),
    })
}
