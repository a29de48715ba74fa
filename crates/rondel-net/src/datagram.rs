//! Endpoints for datagrams, which call a protocol: over UDP and over Unix sockets.

pub(crate) mod addr;
pub(crate) mod dispatch;
pub(crate) mod error;
pub(crate) mod protocol;
mod queue;
pub(crate) mod transport;
