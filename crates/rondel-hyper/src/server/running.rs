//! [`RunningServer`]: a server that serves.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rondel_net::{Server, ServerReport};
use rondel_sync::Event;

/// A server that listens. Dropped, it stops listening; connections go on.
#[must_use = "dropped, it stops listening"]
pub struct RunningServer {
    server: Server,
    closing: Rc<Event>,
}

impl RunningServer {
    pub(super) const fn new(server: Server, closing: Rc<Event>) -> Self {
        Self { server, closing }
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.server.local_addrs()
    }

    /// How many connections there are, idle ones included.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Serves until it is cancelled, or shut down from elsewhere.
    ///
    /// # Errors
    /// As [`Server::serve_forever`].
    pub async fn serve_forever(&self) -> io::Result<()> {
        self.server.serve_forever().await
    }

    /// Ends it: nobody is let in any more, idle connections are closed, and requests under way are answered to their end; whatever
    /// is left after `grace`, upgraded connections included, is cut off.
    ///
    /// # Cancel safety
    /// Dropped, it has stopped listening and asked the connections to end; nothing is cut off.
    pub async fn shutdown(&self, grace: Duration) -> ServerReport {
        self.closing.set();
        self.server.shutdown(grace).await
    }

    /// The server of connections underneath.
    pub const fn server(&self) -> &Server {
        &self.server
    }
}

impl fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningServer")
            .field("server", &self.server)
            .field("closing", &self.closing.is_set())
            .finish()
    }
}
