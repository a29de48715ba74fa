//! What peers and routers answer by ICMP, with whom it was about.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use crate::udp::socket::UdpSocket;
use crate::udp::sys;

/// An answer by ICMP to a datagram of ours, from the socket's error queue.
///
/// See [`UdpSocket::try_recv_icmp_error`].
#[derive(Debug)]
pub struct IcmpError {
    pub(super) error: io::Error,
    pub(super) destination: Option<SocketAddr>,
    pub(super) offender: Option<IpAddr>,
}

impl IcmpError {
    /// What the system makes of it: `ConnectionRefused`, `HostUnreachable`, or that the datagram was too large for a network on
    /// its way.
    pub const fn error(&self) -> &io::Error {
        &self.error
    }

    /// Who the datagram was sent to.
    pub const fn destination(&self) -> Option<SocketAddr> {
        self.destination
    }

    /// Who has answered: the destination, or a router. `None` if it was this machine.
    pub const fn offender(&self) -> Option<IpAddr> {
        self.offender
    }
}

impl UdpSocket {
    /// Has the system keep what is answered by ICMP, for [`try_recv_icmp_error`](UdpSocket::try_recv_icmp_error) (Linux,
    /// `IP_RECVERR`). Then sockets that are not connected are told, too: the next call fails with the answer, which may be about
    /// any of those that were sent to.
    ///
    /// # Errors
    /// What the system says; `Unsupported` where there is no such thing.
    pub fn set_recv_icmp_errors(&self, on: bool) -> io::Result<()> {
        let is_v6 = self.local_addr()?.is_ipv6();
        sys::set_receive_errors(self.as_fd(), is_v6, on)
    }

    /// Takes the next answer by ICMP out of the socket's error queue, if there is one. For when a call has failed, to learn
    /// whom it is about; it does not wait.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # rondel_loop::run(async {
    /// use rondel_net::UdpSocket;
    ///
    /// let nobody = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    /// let socket = UdpSocket::bind(([127, 0, 0, 1], 0))?;
    /// # if cfg!(rondel_selector = "portable") { return Ok(()); }
    /// socket.set_recv_icmp_errors(true)?;
    /// socket.send_to(b"hello?", nobody).await?;
    /// assert!(socket.recv_from(&mut [0; 16]).await.is_err());
    /// let answer = socket.try_recv_icmp_error()?.unwrap();
    /// assert_eq!(answer.destination(), Some(nobody));
    /// assert_eq!(answer.error().kind(), std::io::ErrorKind::ConnectionRefused);
    /// assert!(socket.try_recv_icmp_error()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What the system says; `Unsupported` where there is no such thing.
    pub fn try_recv_icmp_error(&self) -> io::Result<Option<IcmpError>> {
        match sys::receive_error(self.as_fd()) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
