//! Unix sockets: streams, listeners and datagrams, by path or abstract name.

mod addr;
mod ancillary;
mod connect;
mod credentials;
mod datagram;
mod datagram_calls;
mod datagram_endpoint;
mod listener;
mod room;
mod serve;
mod socket_file;
mod stream;

pub use addr::ToUnixAddr;
pub use connect::{create_unix_connection, open_unix_connection};
pub use credentials::{PeerCredentials, peer_credentials};
pub use datagram::UnixDatagram;
pub use datagram_endpoint::{UnixDatagramOptions, create_unix_datagram_endpoint};
pub use listener::{UnixListenOptions, UnixListener};
pub use serve::{create_unix_server, start_unix_server};
pub use stream::UnixStream;
