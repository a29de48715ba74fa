//! Linux: `recvmmsg`, `sendmmsg`, segmentation (`UDP_SEGMENT`, udp(7)) and its counterpart (`UDP_GRO`).
//!
//! All `unsafe` of this crate is in here: four system calls and some options that no dependency wraps.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::net::RecvFlags;
use socket2::SockAddr;

use super::{BATCH, Received};
use crate::udp::icmp::IcmpError;

/// Room for one control message with an integer in it, aligned as they have to be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control(MaybeUninit<[u8; CONTROL]>);

const CONTROL: usize = 32;

// SAFETY: it computes a size from a number.
const _: () =
    assert!(unsafe { libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) } as usize <= CONTROL);

/// The kernel's limit on segments of one call: 64 in the kernels that came first.
const MAX_SEGMENTS: usize = 64;

/// Receives one datagram.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> io::Result<Received> {
    // With this flag, the length is that of the datagram, whatever the buffer's.
    let (_, whole, from) = rustix::net::recvfrom(fd, &mut *buffer, flags | RecvFlags::TRUNC)?;
    let kept = whole.min(buffer.len());
    Ok(Received {
        kept,
        whole,
        truncated: whole > kept,
        from: from.and_then(|from| SocketAddr::try_from(from).ok()),
        segment: 0,
    })
}

fn empty_message() -> libc::msghdr {
    // SAFETY: all zeroes are a message header without address, buffers and control messages.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Receives into places of `room` bytes each, one behind the other, as many as there are and wait, at least one.
///
/// # Panics
/// If there is no place for one.
pub(crate) fn receive_many(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    room: usize,
    received: &mut [Received],
    gro: bool,
) -> io::Result<usize> {
    let count = (buffer.len() / room).min(received.len()).min(BATCH);
    assert!(count > 0, "there is room for a datagram");
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; BATCH];
    let mut controls = [Control(MaybeUninit::uninit()); BATCH];
    let mut parts = [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; BATCH];
    let mut headers = [libc::mmsghdr {
        msg_hdr: empty_message(),
        msg_len: 0,
    }; BATCH];
    for (index, place) in buffer.chunks_exact_mut(room).take(count).enumerate() {
        parts[index] = libc::iovec {
            iov_base: place.as_mut_ptr().cast(),
            iov_len: place.len(),
        };
        let header = &mut headers[index].msg_hdr;
        header.msg_name = names[index].as_mut_ptr().cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
        header.msg_iov = &raw mut parts[index];
        header.msg_iovlen = 1;
        if gro {
            header.msg_control = (&raw mut controls[index]).cast();
            header.msg_controllen = CONTROL as _;
        }
    }
    // SAFETY: the first `count` headers point to an address, a buffer and a control buffer of their own, of the lengths they
    // say, all of which outlive the call: the arrays stay where they are, and `buffer` is borrowed.
    let got = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr(),
            count as _,
            libc::MSG_TRUNC as _,
            ptr::null_mut(),
        )
    };
    let Ok(got) = usize::try_from(got) else {
        return Err(io::Error::last_os_error());
    };
    for index in 0..got {
        let header = &headers[index];
        // As for a single one, the length is that of the datagram.
        let whole = header.msg_len as usize;
        let kept = whole.min(room);
        received[index] = Received {
            kept,
            whole,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            from: address(&names[index], header.msg_hdr.msg_namelen as usize),
            segment: if gro { segment(&header.msg_hdr) } else { 0 },
        };
    }
    Ok(got)
}

/// What the system has written as an address of `len` bytes.
fn address(name: &MaybeUninit<libc::sockaddr_storage>, len: usize) -> Option<SocketAddr> {
    let start = name.as_ptr();
    if len < size_of::<libc::sa_family_t>() {
        return None;
    }
    // SAFETY: so many bytes have been written, and the family comes first in every address; the storage is aligned for all.
    let family = unsafe { start.cast::<libc::sa_family_t>().read() };
    match libc::c_int::from(family) {
        libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: as many bytes have been written as it is large, and of this family they are it.
            let addr = unsafe { start.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(addr.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(addr.sin_port)).into())
        }
        libc::AF_INET6 if len >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let addr = unsafe { start.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(addr.sin6_addr.s6_addr);
            let (port, scope) = (u16::from_be(addr.sin6_port), addr.sin6_scope_id);
            Some(SocketAddrV6::new(ip, port, u32::from_be(addr.sin6_flowinfo), scope).into())
        }
        _ => None,
    }
}

/// The size of the segments, from the control message; 0 if there is none.
fn segment(header: &libc::msghdr) -> usize {
    // SAFETY: the header has been filled in by the system, with control messages in a buffer that is still there.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: it is not null, so it points to a control message in that buffer, which nobody changes.
        let message = unsafe { &*next };
        if message.cmsg_level == libc::SOL_UDP && message.cmsg_type == libc::UDP_GRO {
            // SAFETY: as above.
            let data = unsafe { libc::CMSG_DATA(next) };
            // SAFETY: the data of this one is an integer, which need not be aligned.
            let size = unsafe { data.cast::<libc::c_int>().read_unaligned() };
            return usize::try_from(size).unwrap_or(0);
        }
        // SAFETY: the header is the one that it was found by.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    0
}

/// Sends some of the datagrams, in order, at least one. An error belongs to the first.
pub(crate) fn send_many<'b>(
    fd: BorrowedFd<'_>,
    datagrams: impl IntoIterator<Item = (&'b [u8], Option<SocketAddr>)>,
) -> io::Result<usize> {
    let mut names = [const { None::<SockAddr> }; BATCH];
    let mut parts = [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; BATCH];
    let mut headers = [libc::mmsghdr {
        msg_hdr: empty_message(),
        msg_len: 0,
    }; BATCH];
    let mut count = 0;
    for (index, (bytes, to)) in datagrams.into_iter().take(BATCH).enumerate() {
        parts[index] = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let header = &mut headers[index].msg_hdr;
        if let Some(to) = to {
            let name = names[index].insert(to.into());
            header.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_namelen = name.len();
        }
        header.msg_iov = &raw mut parts[index];
        header.msg_iovlen = 1;
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    // SAFETY: the first `count` headers point to buffers that are borrowed for `'b`, and to addresses and parts in arrays that
    // stay where they are. None of it is written to but the lengths in the headers.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// How many segments one system call takes: one if the kernel has no segmentation for UDP (before 4.18).
pub(crate) fn max_segments(fd: BorrowedFd<'_>) -> usize {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` has the `len` bytes that it is said to have.
    let known = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    if known == 0 { MAX_SEGMENTS } else { 1 }
}

/// Sends `bytes` by one system call, as datagrams of `segment` bytes, of which the last may be shorter.
pub(crate) fn send_segments(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    segment: u16,
    to: Option<SocketAddr>,
) -> io::Result<()> {
    let name = to.map(SockAddr::from);
    let mut control = Control(MaybeUninit::zeroed());
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut header = empty_message();
    if let Some(name) = &name {
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
    }
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    // SAFETY: it computes a size from a number.
    header.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<u16>() as u32) } as _;
    // SAFETY: the header has a control buffer of the size it says.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    assert!(
        !first.is_null(),
        "the control buffer has room for a message"
    );
    // SAFETY: it computes a size from a number.
    let len = unsafe { libc::CMSG_LEN(size_of::<u16>() as u32) };
    // SAFETY: `first` points to the beginning of the control buffer, which is zeroed, aligned and large enough.
    let message = unsafe { &mut *first };
    message.cmsg_level = libc::SOL_UDP;
    message.cmsg_type = libc::UDP_SEGMENT;
    message.cmsg_len = len as _;
    // SAFETY: as above; there is room for the data behind the header.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: as above.
    unsafe { data.cast::<u16>().write_unaligned(segment) };
    // SAFETY: the header points to an address, a buffer and a control buffer that outlive the call.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Has datagrams of the same size from one sender put together when they are received.
pub(crate) fn set_gro(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_flag(fd, libc::SOL_UDP, libc::UDP_GRO, on)
}

/// Has answers by ICMP kept in the error queue.
pub(crate) fn set_receive_errors(fd: BorrowedFd<'_>, is_v6: bool, on: bool) -> io::Result<()> {
    if is_v6 {
        set_flag(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, on)
    } else {
        set_flag(fd, libc::IPPROTO_IP, libc::IP_RECVERR, on)
    }
}

fn set_flag(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, on: bool) -> io::Result<()> {
    let value = libc::c_int::from(on);
    // SAFETY: `value` has the bytes that it is said to have.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Room for the control messages of an error, aligned as they have to be.
#[repr(C, align(8))]
struct ErrorControl(MaybeUninit<[u8; ERROR_CONTROL]>);

const ERROR_CONTROL: usize = 256;

/// The next answer in the error queue.
pub(crate) fn receive_error(fd: BorrowedFd<'_>) -> io::Result<IcmpError> {
    let mut name = MaybeUninit::<libc::sockaddr_storage>::uninit();
    let mut control = ErrorControl(MaybeUninit::uninit());
    let mut header = empty_message();
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = ERROR_CONTROL as _;
    // SAFETY: the header points to an address and a control buffer of the sizes it says, and to no other buffer.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    let destination = address(&name, header.msg_namelen as usize);
    let (error, offender) = answer(&header).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "an error without a number in the error queue",
        )
    })?;
    Ok(IcmpError {
        error,
        destination,
        offender: offender.map(|addr| addr.ip()),
    })
}

/// What went wrong and who says so, from the control messages.
fn answer(header: &libc::msghdr) -> Option<(io::Error, Option<SocketAddr>)> {
    const NUMBERS: usize = size_of::<libc::sock_extended_err>();
    // SAFETY: it computes a size from a number.
    let empty = unsafe { libc::CMSG_LEN(0) } as usize;
    // SAFETY: the header has been filled in by the system, with control messages in a buffer that is still there.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: it is not null, so it points to a control message in that buffer, which nobody changes.
        let message = unsafe { &*next };
        let kind = (message.cmsg_level, message.cmsg_type);
        let len = (message.cmsg_len as usize).saturating_sub(empty);
        let is_error = kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
            || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
        if is_error && len >= NUMBERS {
            // SAFETY: as above.
            let data = unsafe { libc::CMSG_DATA(next) };
            // SAFETY: the data of these begins with the numbers, and is as long as they are at least.
            let numbers = unsafe { data.cast::<libc::sock_extended_err>().read_unaligned() };
            let mut offender = MaybeUninit::<libc::sockaddr_storage>::zeroed();
            let offender_len = (len - NUMBERS).min(size_of::<libc::sockaddr_storage>());
            // SAFETY: behind the numbers, still in the message.
            let behind = unsafe { data.add(NUMBERS) };
            // SAFETY: so many bytes are there behind the numbers, and fit into the storage, which is another place.
            unsafe {
                ptr::copy_nonoverlapping(behind, offender.as_mut_ptr().cast(), offender_len);
            }
            let number = i32::try_from(numbers.ee_errno).unwrap_or(0);
            return Some((
                io::Error::from_raw_os_error(number),
                address(&offender, offender_len),
            ));
        }
        // SAFETY: the header is the one that it was found by.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    None
}
