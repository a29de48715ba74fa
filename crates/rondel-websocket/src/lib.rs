#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod accept;
mod bridge;
mod connect;
mod error;
mod handshake;
mod message_protocol;
mod message_transport;
mod socket;
#[cfg(feature = "hyper")]
mod upgrade;

pub use connect::Connect;
pub use error::{HandshakeError, WebSocketError};
pub use message_protocol::{MessageProtocol, WebSocketProtocol};
pub use message_transport::MessageTransport;
pub use socket::{WebSocket, WebSocketReader, WebSocketWriter};
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub use upgrade::{Upgrade, upgrade};

/// What goes over a WebSocket, and how it is limited: tungstenite's own.
pub use tungstenite::protocol::frame::coding::CloseCode;
pub use tungstenite::protocol::{CloseFrame, WebSocketConfig};
pub use tungstenite::{Bytes, Message, Utf8Bytes};
/// The crate whose types show up here.
pub use {http, tungstenite};
