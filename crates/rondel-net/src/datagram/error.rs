//! [`DatagramError`]: what can go wrong with a datagram.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::datagram::addr::DatagramAddr;

/// Sending or receiving failed. It is what an [`io::Error`] of a `UdpSocket` or of an endpoint holds; its kind is the
/// system's.
///
/// It ends nothing: the socket goes on. On a connected socket the failure may be that of a datagram sent long before, which the
/// peer's system has answered by ICMP: `ConnectionRefused`, nobody has that port.
///
/// ```
/// use rondel_net::{DatagramError, UdpSocket};
///
/// # rondel_loop::run(async {
/// let nobody = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
/// let socket = UdpSocket::bind(([127, 0, 0, 1], 0))?;
/// socket.connect(nobody)?;
/// socket.send(b"hello?").await?;
/// let error = socket.recv(&mut [0; 16]).await.unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
/// let failure: &DatagramError = error.get_ref().unwrap().downcast_ref().unwrap();
/// assert_eq!(failure.peer(), Some(nobody));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct DatagramError<A = SocketAddr> {
    attempt: Attempt,
    peer: Option<A>,
    source: io::Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Receive,
    Send,
}

impl<A: DatagramAddr> DatagramError<A> {
    /// Wraps what the system says, unless it only says to wait, or it is no word of the system's.
    pub(crate) fn wrap(attempt: Attempt, peer: Option<A>, source: io::Error) -> io::Error {
        if source.kind() == io::ErrorKind::WouldBlock || source.raw_os_error().is_none() {
            return source;
        }
        let kind = source.kind();
        let failure = Self {
            attempt,
            peer,
            source,
        };
        io::Error::new(kind, failure)
    }

    /// Who it was sent to, or who the socket is connected to.
    pub fn peer(&self) -> Option<A> {
        self.peer.clone()
    }

    /// Whether sending failed, not receiving.
    pub const fn is_send(&self) -> bool {
        matches!(self.attempt, Attempt::Send)
    }

    /// The system's number of the error.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

impl<A: DatagramAddr> fmt::Display for DatagramError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (doing, whom) = match self.attempt {
            Attempt::Receive => ("receiving a datagram", " from "),
            Attempt::Send => ("sending a datagram", " to "),
        };
        f.write_str(doing)?;
        if let Some(peer) = &self.peer {
            write!(f, "{whom}{}", peer.name())?;
        }
        write!(f, ": {}", self.source)
    }
}

impl<A: DatagramAddr> Error for DatagramError<A> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
