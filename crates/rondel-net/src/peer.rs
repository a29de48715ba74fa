//! Who is at the other end.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// The other end of a connection, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Unknown,
    V4(SocketAddrV4),
    /// Boxed, since it is large, and known to every connection.
    V6(Box<SocketAddrV6>),
    /// Something else that has a name.
    #[cfg_attr(
        not(any(feature = "pipe", feature = "unix")),
        allow(dead_code, reason = "for other endpoints")
    )]
    Named(Box<Name>),
}

/// Boxed as a whole, since a pointer to a text has two words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(Box<str>);

impl Peer {
    #[cfg(any(feature = "pipe", feature = "unix"))]
    pub(crate) fn named(name: String) -> Self {
        Self::Named(Box::new(Name(name.into())))
    }

    /// The address, if it is one of the Internet's.
    pub(crate) fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::V4(addr) => Some((*addr).into()),
            Self::V6(addr) => Some((**addr).into()),
            Self::Unknown | Self::Named(_) => None,
        }
    }
}

impl From<Option<SocketAddr>> for Peer {
    fn from(addr: Option<SocketAddr>) -> Self {
        match addr {
            None => Self::Unknown,
            Some(SocketAddr::V4(addr)) => Self::V4(addr),
            Some(SocketAddr::V6(addr)) => Self::V6(Box::new(addr)),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("an unnamed peer"),
            Self::V4(addr) => addr.fmt(f),
            Self::V6(addr) => addr.fmt(f),
            Self::Named(name) => f.write_str(&name.0),
        }
    }
}
