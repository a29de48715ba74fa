//! The network workloads: what the load generator asks of a server.
//!
//! A server of connections has one task in both: it accepts, switches Nagle's algorithm off, sends back what it
//! receives, and closes when the peer has closed. One of datagrams sends each back to where it came from.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// Connections that stay, each with one message under way at a time.
    Echo { bytes: usize, connections: usize },
    /// A new connection for each message, this many at a time.
    Churn { bytes: usize, connections: usize },
    /// Sockets that each have one datagram under way at a time; the server has one socket.
    Datagrams { bytes: usize, connections: usize },
}

impl Net {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Echo { bytes, .. }
            | Self::Churn { bytes, .. }
            | Self::Datagrams { bytes, .. } => bytes,
        }
    }

    pub(crate) const fn connections(self) -> usize {
        match self {
            Self::Echo { connections, .. }
            | Self::Churn { connections, .. }
            | Self::Datagrams { connections, .. } => connections,
        }
    }
}
