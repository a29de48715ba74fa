//! Making TCP sockets, and setting them up.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::device::bind_device;
use crate::error::while_doing;
use crate::tcp::keep_alive::{self, KeepAlive};

/// What can be said of listeners and of connections alike. What is not set is as the system has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketOptions {
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) linger: Option<Duration>,
    pub(crate) receive_buffer_size: Option<usize>,
    pub(crate) send_buffer_size: Option<usize>,
    pub(crate) device: Option<Vec<u8>>,
}

impl SocketOptions {
    /// Sets a new socket up: before it listens or connects, since that is when TCP settles how large its window can become.
    pub(crate) fn apply(&self, socket: &Socket) -> io::Result<()> {
        if self.keep_alive.is_some() {
            keep_alive::set(socket, self.keep_alive)?;
        }
        if self.linger.is_some() {
            set_linger(socket, self.linger)?;
        }
        if let Some(bytes) = self.receive_buffer_size {
            socket
                .set_recv_buffer_size(within_int(bytes))
                .map_err(|error| {
                    while_doing(format!("set the receive buffer to {bytes} bytes"), error)
                })?;
        }
        if let Some(bytes) = self.send_buffer_size {
            socket
                .set_send_buffer_size(within_int(bytes))
                .map_err(|error| {
                    while_doing(format!("set the send buffer to {bytes} bytes"), error)
                })?;
        }
        match &self.device {
            Some(interface) => bind_device(socket, interface),
            None => Ok(()),
        }
    }
}

/// The system wants a C int. Larger ones would come out as anything; the largest is cut down to the system's own limit.
fn within_int(bytes: usize) -> usize {
    bytes.min(libc::c_int::MAX as usize)
}

/// How long closing waits for what was sent to be acknowledged; zero: it resets.
pub(crate) fn set_linger(socket: impl AsFd, linger: Option<Duration>) -> io::Result<()> {
    // The system counts seconds. Cut off, half of one would be none, which means something else.
    let seconds = linger.map(|time| {
        let rounded = time
            .as_secs()
            .saturating_add(u64::from(time.subsec_nanos() > 0));
        Duration::from_secs(rounded.min(libc::c_int::MAX as u64))
    });
    SockRef::from(&socket)
        .set_linger(seconds)
        .map_err(|error| match linger {
            Some(time) => while_doing(format!("set SO_LINGER to {time:?}"), error),
            None => while_doing("switch SO_LINGER off", error),
        })
}

/// See [`set_linger`].
pub(crate) fn linger(socket: impl AsFd) -> io::Result<Option<Duration>> {
    SockRef::from(&socket).linger()
}

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
    SockRef::from(&socket).set_nosigpipe(true)?;
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
    let (socket, peer) = SockRef::from(&listener).accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), peer.as_socket()))
}
