//! Groups, broadcast and what else can be changed on a socket that is bound.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::SockRef;

use crate::udp::socket::UdpSocket;

impl UdpSocket {
    /// Joins a group on the interface with the address `interface`; unspecified, the system chooses one. To share its port
    /// with others, see [`UdpOptions::reuse_address`](crate::UdpOptions::reuse_address).
    ///
    /// ```
    /// use rondel_net::UdpSocket;
    /// use std::net::Ipv4Addr;
    ///
    /// # rondel_loop::run(async {
    /// let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    /// let group = Ipv4Addr::new(239, 17, 4, 1);
    /// socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
    /// socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the system says: no such interface, no group's address, joined already.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        SockRef::from(self).join_multicast_v4(&group, &interface)
    }

    /// Leaves a group again.
    ///
    /// # Errors
    /// What the system says: it had not joined.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        SockRef::from(self).leave_multicast_v4(&group, &interface)
    }

    /// Joins a group on the interface with the number `interface`; 0, the system chooses one.
    ///
    /// # Errors
    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        SockRef::from(self).join_multicast_v6(&group, interface)
    }

    /// Leaves a group again.
    ///
    /// # Errors
    /// What the system says: it had not joined.
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        SockRef::from(self).leave_multicast_v6(&group, interface)
    }

    /// Whether what it sends to IPv4 groups comes back to members on this machine. At first: yes.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        SockRef::from(self).set_multicast_loop_v4(on)
    }

    /// Whether what it sends to IPv6 groups comes back to members on this machine. At first: yes.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        SockRef::from(self).set_multicast_loop_v6(on)
    }

    /// How many routers what it sends to IPv4 groups may pass, and one. At first: 1, which stays in the local network.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        SockRef::from(self).set_multicast_ttl_v4(ttl)
    }

    /// The same for IPv6 groups.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_multicast_hops_v6(&self, hops: u32) -> io::Result<()> {
        SockRef::from(self).set_multicast_hops_v6(hops)
    }

    /// The interface that it sends to IPv4 groups through, by its address.
    ///
    /// # Errors
    /// What the system says: no such interface.
    pub fn set_multicast_if_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        SockRef::from(self).set_multicast_if_v4(&interface)
    }

    /// The interface that it sends to IPv6 groups through, by its number.
    ///
    /// # Errors
    /// What the system says: no such interface.
    pub fn set_multicast_if_v6(&self, interface: u32) -> io::Result<()> {
        SockRef::from(self).set_multicast_if_v6(interface)
    }

    /// Whether it may send to broadcast addresses; see [`UdpOptions::broadcast`](crate::UdpOptions::broadcast).
    ///
    /// # Errors
    /// What the system says.
    pub fn broadcast(&self) -> io::Result<bool> {
        SockRef::from(self).broadcast()
    }

    /// Changes whether it may send to broadcast addresses.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        SockRef::from(self).set_broadcast(on)
    }
}
