//! [`UdpOptions`]: how a socket is set up and bound.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rondel_loop::LocalLoop;
use socket2::{Domain, Protocol, Socket, Type};

use crate::device::bind_device;
use crate::udp::socket::UdpSocket;

/// Sets a [`UdpSocket`] up. What is not set is as the system has it.
///
/// ```
/// use rondel_net::UdpOptions;
///
/// # rondel_loop::run(async {
/// let options = UdpOptions::new().reuse_port(true).receive_buffer_size(1 << 18).ttl(4);
/// let one = options.bind(([127, 0, 0, 1], 0))?;
/// let two = options.bind(one.local_addr()?)?;
/// assert_eq!(one.local_addr()?, two.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing unless it is used"]
pub struct UdpOptions {
    reuse_address: bool,
    reuse_port: bool,
    broadcast: bool,
    only_v6: Option<bool>,
    ttl: Option<u32>,
    tos: Option<u32>,
    receive_buffer_size: Option<usize>,
    send_buffer_size: Option<usize>,
    device: Option<Vec<u8>>,
}

impl UdpOptions {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a port may be taken that another socket has, if that says so, too (`SO_REUSEADDR`): the last one receives what
    /// is sent to the port, and all of them what is multicast. Default: no. On Linux any process of the same user may so take
    /// traffic over, which is why asyncio has given it up; for multicast it is needed.
    pub fn reuse_address(mut self, on: bool) -> Self {
        self.reuse_address = on;
        self
    }

    /// Whether sockets that say so may share a port; the system spreads senders over them (`SO_REUSEPORT`). Default: no.
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Whether it may send to broadcast addresses. Default: no.
    pub fn broadcast(mut self, on: bool) -> Self {
        self.broadcast = on;
        self
    }

    /// Whether an IPv6 socket keeps to IPv6 instead of receiving over IPv4 as well (`IPV6_V6ONLY`).
    pub fn only_v6(mut self, on: bool) -> Self {
        self.only_v6 = Some(on);
        self
    }

    /// How many routers a datagram may pass: TTL, or hop limit with IPv6.
    pub fn ttl(mut self, routers: u32) -> Self {
        self.ttl = Some(routers);
        self
    }

    /// The type of service (`IP_TOS`, or traffic class with IPv6): six bits of DSCP, two of ECN.
    pub fn tos(mut self, tos: u32) -> Self {
        self.tos = Some(tos);
        self
    }

    /// How many bytes the system keeps for those who have not received yet. It has a limit, and Linux counts its own
    /// bookkeeping with them.
    pub fn receive_buffer_size(mut self, bytes: usize) -> Self {
        self.receive_buffer_size = Some(bytes);
        self
    }

    /// How many bytes the system takes before a sender has to wait.
    pub fn send_buffer_size(mut self, bytes: usize) -> Self {
        self.send_buffer_size = Some(bytes);
        self
    }

    /// The network interface that it sends and receives through, by name, whatever the routes say (`SO_BINDTODEVICE`). Linux
    /// only.
    pub fn bind_device(mut self, interface: impl Into<Vec<u8>>) -> Self {
        self.device = Some(interface.into());
        self
    }

    /// Binds to `addr`.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`]; `Unsupported` if a [device](UdpOptions::bind_device) is set where that cannot be.
    pub fn bind(&self, addr: impl Into<SocketAddr>) -> io::Result<UdpSocket> {
        let addr = addr.into();
        let bind = || {
            let local = LocalLoop::current().map_err(io::Error::other)?;
            let socket = self.socket(addr)?;
            socket.bind(&addr.into())?;
            UdpSocket::register(&local, socket.into())
        };
        bind().map_err(|error| failed("binding UDP to", addr, error))
    }

    /// Binds to a port that the system chooses, and connects to `peer`; see [`UdpSocket::connect`].
    ///
    /// # Errors
    /// As [`bind`](UdpOptions::bind) and [`UdpSocket::connect`].
    pub fn connect(&self, peer: impl Into<SocketAddr>) -> io::Result<UdpSocket> {
        let peer = peer.into();
        let local: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = self.bind(local)?;
        socket
            .connect(peer)
            .map_err(|error| failed("connecting UDP to", peer, error))?;
        Ok(socket)
    }

    /// A socket of the address's family, with everything set, not bound yet.
    pub(super) fn socket(&self, addr: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if self.reuse_address {
            socket.set_reuse_address(true)?;
        }
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if self.broadcast {
            socket.set_broadcast(true)?;
        }
        if let Some(bytes) = self.receive_buffer_size {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer_size {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(device) = &self.device {
            bind_device(&socket, device)?;
        }
        match addr {
            SocketAddr::V4(_) => {
                if let Some(routers) = self.ttl {
                    socket.set_ttl_v4(routers)?;
                }
                if let Some(tos) = self.tos {
                    socket.set_tos_v4(tos)?;
                }
            }
            SocketAddr::V6(_) => {
                if let Some(routers) = self.ttl {
                    socket.set_unicast_hops_v6(routers)?;
                }
                if let Some(tos) = self.tos {
                    socket.set_tclass_v6(tos)?;
                }
                if let Some(only) = self.only_v6 {
                    socket.set_only_v6(only)?;
                }
            }
        }
        Ok(socket)
    }
}

/// An error with what was attempted, on what.
pub(super) fn failed(doing: &'static str, addr: SocketAddr, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Failed { doing, addr, error })
}

#[derive(Debug)]
struct Failed {
    doing: &'static str,
    addr: SocketAddr,
    error: io::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.addr, self.error)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl UdpSocket {
    /// Binds to `addr`; port 0 has the system choose one, which [`local_addr`](UdpSocket::local_addr) tells. More can be set
    /// by [`UdpOptions`].
    ///
    /// # Errors
    /// What the system says, with the address; `Unsupported` under a virtual clock, which has no sockets; and if no loop is
    /// running on this thread.
    pub fn bind(addr: impl Into<SocketAddr>) -> io::Result<Self> {
        UdpOptions::new().bind(addr)
    }
}
