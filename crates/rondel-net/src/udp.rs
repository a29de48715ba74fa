//! UDP: a socket to await, and an endpoint that calls a protocol.

pub(crate) mod batch;
pub(crate) mod dispatch;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod icmp;
pub(crate) mod multicast;
pub(crate) mod options;
pub(crate) mod protocol;
mod queue;
pub(crate) mod segments;
pub(crate) mod socket;
mod sys;
pub(crate) mod transport;
