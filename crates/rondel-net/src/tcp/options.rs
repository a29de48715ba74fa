//! Making TCP sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

/// A new socket of the address's family: non-blocking, and closed in programs that are started.
pub(crate) fn new_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What every connection begins with: small writes go out at once, and a lost peer is an error instead of a signal.
pub(crate) fn prepare(socket: impl AsFd) -> io::Result<()> {
    rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
    #[cfg(target_vendor = "apple")]
    socket2::SockRef::from(&socket).set_nosigpipe(true)?;
    Ok(())
}

/// Accepts a connection: non-blocking, and closed in programs that are started.
#[cfg(not(any(target_vendor = "apple", target_os = "aix", target_os = "haiku")))]
pub(crate) fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    use rustix::net::SocketFlags;

    let (fd, peer) =
        rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    Ok((fd, peer.and_then(|peer| SocketAddr::try_from(peer).ok())))
}

/// Accepts a connection, where one cannot say so in one call.
#[cfg(any(target_vendor = "apple", target_os = "aix", target_os = "haiku"))]
pub(crate) fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (socket, peer) = socket2::SockRef::from(&listener).accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), peer.as_socket()))
}
