//! Servers on Unix sockets.

use std::io;

use crate::server::{HandlerOutcome, Server, ServerOptions};
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::kind::AnyProtocol;
use crate::unix::addr::ToUnixAddr;
use crate::unix::listener::UnixListener;

/// Starts a server on a Unix socket: for each connection, `handler` is run as a task of its own. asyncio:
/// `start_unix_server`. All else is as with [`start_server`](crate::start_server); nothing has to be looked up, so it does not
/// wait.
///
/// # Errors
/// As [`UnixListener::bind`].
///
/// # Panics
/// If no loop is running on this thread.
pub fn start_unix_server<H, R>(handler: H, addr: impl ToUnixAddr) -> io::Result<Server>
where
    H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
    R: HandlerOutcome + 'static,
{
    Ok(ServerOptions::new().serve_unix(handler, UnixListener::bind(addr)?))
}

/// Starts a server on a Unix socket: for each connection, `factory` makes a protocol. asyncio: `create_unix_server`. All else
/// is as with [`create_server`](crate::create_server).
///
/// # Errors
/// As [`UnixListener::bind`].
///
/// # Panics
/// If no loop is running on this thread.
pub fn create_unix_server<P: AnyProtocol<Kind>, Kind: 'static>(
    factory: impl FnMut() -> P + 'static,
    addr: impl ToUnixAddr,
) -> io::Result<Server> {
    Ok(ServerOptions::new().serve_protocol_unix(factory, UnixListener::bind(addr)?))
}

impl ServerOptions {
    /// Starts serving connections to a Unix listener; see [`start_unix_server`]. What [`listen`](ServerOptions::listen) says is
    /// for TCP, but for the backlog, which is also how many are accepted at a time.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub fn serve_unix<H, R>(&self, handler: H, listener: UnixListener) -> Server
    where
        H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
        R: HandlerOutcome + 'static,
    {
        self.start_tasks(handler, [listener])
    }

    /// The same, with a protocol for each connection; see [`create_unix_server`].
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub fn serve_protocol_unix<P: AnyProtocol<Kind>, Kind: 'static>(
        &self,
        factory: impl FnMut() -> P + 'static,
        listener: UnixListener,
    ) -> Server {
        self.start_protocols(factory, [listener])
    }
}
