//! What a server accepts connections from.

use std::io;
use std::net::SocketAddr;

use rondel_loop::Registration;

use crate::engine::Handles;
use crate::tcp::listener::TcpListener;

/// A listening socket.
pub(crate) trait Listening {
    fn registration(&self) -> &Registration;

    /// Accepts a connection if one waits.
    fn try_accept(&self) -> io::Result<Handles>;

    /// The address, if it is one of the Internet's.
    fn local_addr(&self) -> Option<SocketAddr>;

    /// What it is called in reports.
    fn name(&self) -> String;
}

impl Listening for TcpListener {
    fn registration(&self) -> &Registration {
        self.registration()
    }

    fn try_accept(&self) -> io::Result<Handles> {
        Ok(self.try_accept()?.0.into_handles())
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(self.local_addr())
    }

    fn name(&self) -> String {
        self.local_addr().to_string()
    }
}
