//! [`Truncated`]: a datagram that did not fit.

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
