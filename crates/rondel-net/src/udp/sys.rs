//! The system calls of datagram sockets: one at a time everywhere, several at once where the system can.

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(rondel_selector = "portable")
))]
mod linux;
#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    not(rondel_selector = "portable")
)))]
mod portable;

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(rondel_selector = "portable")
))]
pub(super) use linux::{
    max_segments, receive, receive_error, receive_many, send_many, send_segments, set_gro,
    set_receive_errors,
};
#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    not(rondel_selector = "portable")
)))]
pub(super) use portable::{
    max_segments, receive, receive_error, receive_many, send_many, send_segments, set_gro,
    set_receive_errors,
};

use rustix::net::SendFlags;

/// How many datagrams are received or sent by one system call at most.
pub(super) const BATCH: usize = 32;

/// A received datagram, or, with GRO, several of the same size behind each other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// How many bytes are in the buffer.
    pub(super) kept: usize,
    /// How many there were. Where the system does not tell, no more than were kept.
    pub(super) whole: usize,
    /// Whether there were more than are kept.
    pub(super) truncated: bool,
    /// Who sent it. On a UDP socket it is always known.
    pub(super) from: Option<SocketAddr>,
    /// The size of each datagram but the last, if it is several; 0 if not.
    pub(super) segment: usize,
}

/// Sends one datagram, whole; to the connected peer if no address is given.
pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
    let flags = SendFlags::empty();
    match to {
        Some(to) => rustix::net::sendto(fd, bytes, flags, &to)?,
        None => rustix::net::send(fd, bytes, flags)?,
    };
    Ok(())
}

/// Sends one after the other, until one is not taken. An error belongs to the first.
#[cfg_attr(
    all(
        any(target_os = "linux", target_os = "android"),
        not(rondel_selector = "portable")
    ),
    allow(dead_code, reason = "for systems that cannot send several at once")
)]
fn send_each<'b>(
    fd: BorrowedFd<'_>,
    datagrams: impl IntoIterator<Item = (&'b [u8], Option<SocketAddr>)>,
) -> io::Result<usize> {
    let mut sent = 0;
    for (bytes, to) in datagrams.into_iter().take(BATCH) {
        match send(fd, bytes, to) {
            Ok(()) => sent += 1,
            Err(error) if sent == 0 => return Err(error),
            // It is the first next time, and fails again, or was the echo of one that was sent long ago.
            Err(_) => break,
        }
    }
    Ok(sent)
}
