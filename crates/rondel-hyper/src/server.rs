//! The server: HTTP/1.1 and HTTP/2 on one port, with limits, and an end that loses no request.
//!
//! ```text
//!   a connection ── TLS, if asked for ── version: the first bytes tell ── hyper ── the service, for each request
//! ```

mod answer;
mod body;
mod connect_info;
mod connection;
mod options;
mod patience;
mod running;
mod serve;
#[cfg(feature = "tower")]
mod tower;
mod version;

pub use self::body::{BodyError, RequestBody};
pub use self::connect_info::ConnectInfo;
pub use self::options::HttpServer;
pub use self::running::RunningServer;
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub use self::tower::tower;
