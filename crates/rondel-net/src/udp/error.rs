//! What can go wrong with a datagram.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::udp::sys::Received;

/// A datagram was larger than the buffer it was received into: its beginning is in the buffer, and the rest is lost.
///
/// It is in an [`io::Error`] of the kind `InvalidData`. The socket goes on.
///
/// ```
/// use rondel_net::{Truncated, UdpSocket};
///
/// # rondel_loop::run(async {
/// let socket = UdpSocket::bind(([127, 0, 0, 1], 0))?;
/// socket.send_to(b"more than eight bytes", socket.local_addr()?).await?;
/// let mut buffer = [0; 8];
/// let error = socket.recv_from(&mut buffer).await.unwrap_err();
/// let cut: &Truncated = error.get_ref().unwrap().downcast_ref().unwrap();
/// assert_eq!(cut.from(), Some(socket.local_addr()?));
/// assert_eq!(cut.kept(), 8);
/// assert_eq!(&buffer, b"more tha");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    from: Option<SocketAddr>,
    kept: usize,
    whole: Option<usize>,
}

impl Truncated {
    pub(super) fn of(received: &Received) -> Self {
        Self {
            from: received.from,
            kept: received.kept,
            whole: (received.whole > received.kept).then_some(received.whole),
        }
    }

    /// Who sent it.
    pub const fn from(&self) -> Option<SocketAddr> {
        self.from
    }

    /// How many bytes of it are in the buffer.
    pub const fn kept(&self) -> usize {
        self.kept
    }

    /// How many bytes it had, where the system tells: on Linux.
    pub const fn whole(&self) -> Option<usize> {
        self.whole
    }
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a datagram ")?;
        if let Some(from) = self.from {
            write!(f, "from {from} ")?;
        }
        match self.whole {
            Some(whole) => write!(f, "of {whole} bytes was cut to {}", self.kept),
            None => write!(f, "was cut to {} bytes", self.kept),
        }
    }
}

impl Error for Truncated {}

impl From<Truncated> for io::Error {
    fn from(truncated: Truncated) -> Self {
        Self::new(io::ErrorKind::InvalidData, truncated)
    }
}

/// Sending or receiving failed. It is what an [`io::Error`] of a [`UdpSocket`](crate::UdpSocket) holds; its kind is the
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
pub struct DatagramError {
    attempt: Attempt,
    peer: Option<SocketAddr>,
    source: io::Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Receive,
    Send,
}

impl DatagramError {
    /// Wraps what the system says, unless it only says to wait, or it is no word of the system's.
    pub(super) fn wrap(attempt: Attempt, peer: Option<SocketAddr>, source: io::Error) -> io::Error {
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
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
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

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (doing, whom) = match self.attempt {
            Attempt::Receive => ("receiving a datagram", " from "),
            Attempt::Send => ("sending a datagram", " to "),
        };
        f.write_str(doing)?;
        if let Some(peer) = self.peer {
            write!(f, "{whom}{peer}")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl Error for DatagramError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
