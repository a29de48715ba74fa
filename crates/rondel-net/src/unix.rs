//! Unix sockets: streams and listeners, by path or abstract name.

mod addr;
mod connect;
mod credentials;
mod listener;
mod serve;
mod socket_file;
mod stream;

pub use addr::ToUnixAddr;
pub use connect::{create_unix_connection, open_unix_connection};
pub use credentials::{PeerCredentials, peer_credentials};
pub use listener::{UnixListenOptions, UnixListener};
pub use serve::{create_unix_server, start_unix_server};
pub use stream::UnixStream;
