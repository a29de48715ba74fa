//! UDP: a socket to await, and an endpoint that calls a protocol.

mod addr;
pub(crate) mod batch;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod icmp;
pub(crate) mod multicast;
pub(crate) mod options;
pub(crate) mod segments;
pub(crate) mod socket;
mod sys;
