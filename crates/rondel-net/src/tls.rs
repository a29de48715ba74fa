//! TLS, by rustls: how a client and a server are set up, and what can go wrong.
//!
//! [`ClientTls`] and [`ServerTls`] say how one end behaves; they are cheap to clone, and connections made with the same one
//! resume each other's sessions. What they do not cover is set on rustls' own configuration, which either can be made from.
//!
//! ```
//! # use rcgen::generate_simple_self_signed;
//! # let made = generate_simple_self_signed(["example.test".to_owned()])?;
//! # let (chain_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
//! use rondel_net::tls::{ClientTls, Identity, ServerTls};
//!
//! let identity = Identity::from_pem(chain_pem.as_bytes(), key_pem.as_bytes())?;
//! let server = ServerTls::builder().identity(identity).alpn(["h2", "http/1.1"]).build()?;
//! let client = ClientTls::builder().root_pem(chain_pem.as_bytes())?.alpn(["h2"]).build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod config_error;
mod connect;
mod error;
mod identity;
mod layer;
mod provider;
mod server;
mod session;
mod start;
mod words;

pub use client::{ClientTls, ClientTlsBuilder};
pub use config_error::TlsConfigError;
pub use connect::TlsConnectOptions;
pub use error::{TlsError, TlsPhase};
pub use identity::Identity;
pub use server::{ClientAuth, ServerTls, ServerTlsBuilder};
pub use session::SessionInfo;
pub(crate) use start::start_server_side;

/// The library that does the work, for configurations beyond these.
pub use rustls;

use std::time::Duration;

/// How long a handshake may take unless set. asyncio: `ssl_handshake_timeout`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the farewell may take unless set. asyncio: `ssl_shutdown_timeout`.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the two exchanges with the other end may take that are not the program's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) handshake: Duration,
    pub(crate) shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: HANDSHAKE_TIMEOUT,
            shutdown: SHUTDOWN_TIMEOUT,
        }
    }
}
