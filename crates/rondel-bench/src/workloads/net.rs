//! The network workloads: what the load generator asks of a server.
//!
//! A server of connections has one task in both: it accepts, switches Nagle's algorithm off, sends back what it
//! receives, and closes when the peer has closed. One of datagrams sends each back to where it came from.

/// What a client asks a server for by HTTP.
pub(crate) const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n";

/// The body of the answer.
pub(crate) const HELLO: &str = "Hello, world!";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// Connections that stay, each with one message under way at a time.
    Echo { bytes: usize, connections: usize },
    /// A new connection for each message, this many at a time.
    Churn { bytes: usize, connections: usize },
    /// Sockets that each have one datagram under way at a time; the server has one socket.
    Datagrams { bytes: usize, connections: usize },
    /// As `Echo`, inside TLS.
    Tls { bytes: usize, connections: usize },
    /// As `Churn`, inside TLS: a full handshake for each message.
    Handshake { bytes: usize, connections: usize },
    /// Connections that stay, each with one HTTP/1.1 request under way at a time, answered by [`HELLO`].
    Http { connections: usize },
    /// As `Http`, with so many other connections that have been used once and are kept.
    HttpIdle { connections: usize, idle: usize },
    /// As `Http`, by a server that may use all cores, beside the load.
    HttpWorkers { connections: usize },
    /// As `Echo`, with so many other connections that have been used once and do nothing.
    Idle {
        bytes: usize,
        connections: usize,
        idle: usize,
    },
}

impl Net {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Echo { bytes, .. }
            | Self::Churn { bytes, .. }
            | Self::Datagrams { bytes, .. }
            | Self::Tls { bytes, .. }
            | Self::Handshake { bytes, .. }
            | Self::Idle { bytes, .. } => bytes,
            Self::Http { .. } | Self::HttpIdle { .. } | Self::HttpWorkers { .. } => REQUEST.len(),
        }
    }

    pub(crate) const fn connections(self) -> usize {
        match self {
            Self::Echo { connections, .. }
            | Self::Churn { connections, .. }
            | Self::Datagrams { connections, .. }
            | Self::Tls { connections, .. }
            | Self::Handshake { connections, .. }
            | Self::Http { connections }
            | Self::HttpIdle { connections, .. }
            | Self::HttpWorkers { connections }
            | Self::Idle { connections, .. } => connections,
        }
    }

    /// Whether each message has a connection of its own.
    pub(crate) const fn is_churn(self) -> bool {
        matches!(self, Self::Churn { .. } | Self::Handshake { .. })
    }

    pub(crate) const fn is_http(self) -> bool {
        matches!(
            self,
            Self::Http { .. } | Self::HttpIdle { .. } | Self::HttpWorkers { .. }
        )
    }

    /// How many connections stay and do nothing.
    pub(crate) const fn idle(self) -> Option<usize> {
        match self {
            Self::Idle { idle, .. } | Self::HttpIdle { idle, .. } => Some(idle),
            _ => None,
        }
    }

    /// Whether the server listens for connections.
    pub(crate) const fn is_listened_for(self) -> bool {
        !matches!(self, Self::Datagrams { .. })
    }

    /// Whether the server has one core of its own, and the load another.
    pub(crate) const fn is_pinned(self) -> bool {
        !matches!(self, Self::HttpWorkers { .. })
    }

    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Tls { .. } | Self::Handshake { .. })
    }
}
