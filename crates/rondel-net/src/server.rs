//! Servers: a listener or several, and a task for each connection.

mod acceptor;
mod handler;
mod sessions;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rondel_loop::timeout;

use crate::connect::ToTarget;
use crate::server::acceptor::Acceptor;
use crate::server::sessions::Sessions;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::tcp::listener::{ListenOptions, TcpListener};

pub use handler::HandlerOutcome;

/// Starts a server: for each connection to `target`, `handler` is run as a task of its own, with asyncio's pair of streams.
/// [`ServerOptions`] has more to say.
///
/// The handler returns nothing, or a `Result<(), E>`. Its error, or its panic, goes to the loop's exception handler, with the
/// peer's name; the server goes on. When it returns, what it was given is dropped, which closes the connection; see
/// [`StreamWriter`]. It is not cancelled when its peer leaves: reading and writing tell it.
///
/// A name that has several addresses is served on all of them; to serve all interfaces, listen on `0.0.0.0` or `[::]`.
///
/// # Errors
/// What the system says of listening there, with the address; of a name that cannot be looked up, the resolver's error.
/// `Unsupported` under a virtual clock, which has no sockets.
///
/// # Cancel safety
/// It waits only for names to be looked up; dropped, nothing listens.
///
/// # Panics
/// If no loop is running on this thread.
///
/// ```
/// use rondel_net::{TcpStream, start_server};
/// use std::{io, time::Duration};
///
/// # rondel_loop::run(async {
/// let server = start_server(
///     async |mut reader, writer| {
///         let name = reader.read_line().await?;
///         writer.write_all(&[b"hello ", &name[..]].concat()).await?;
///         io::Result::Ok(())
///     },
///     "127.0.0.1:0",
/// ).await?;
///
/// let (mut reader, writer) = TcpStream::connect(server.local_addrs()[0]).await?.into_split();
/// writer.write_all(b"world\n").await?;
/// assert_eq!(reader.read_line().await?, b"hello world\n");
///
/// let report = server.shutdown(Duration::from_secs(1)).await;
/// assert!(report.is_clean());
/// # Ok::<(), io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub async fn start_server<H, R>(handler: H, target: impl ToTarget) -> io::Result<Server>
where
    H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
    R: HandlerOutcome + 'static,
{
    ServerOptions::new().serve(handler, target).await
}

/// Sets a [`Server`] up.
///
/// ```
/// use rondel_net::{ListenOptions, ServerOptions};
///
/// # rondel_loop::run(async {
/// let server = ServerOptions::new()
///     .listen(ListenOptions::new().backlog(1000))
///     .limit(1024)
///     .serve(async |_reader, writer| writer.write_all(b"hello\n").await, "127.0.0.1:0")
///     .await?;
/// server.close();
/// server.wait_closed().await;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing unless it is used"]
pub struct ServerOptions {
    listen: ListenOptions,
    limit: Option<usize>,
}

impl ServerOptions {
    /// The defaults, each as its setter says.
    pub fn new() -> Self {
        Self::default()
    }

    /// How its sockets listen. The backlog is also how many connections are accepted at a time, before others have their
    /// turn.
    pub fn listen(mut self, options: ListenOptions) -> Self {
        self.listen = options;
        self
    }

    /// The [limit](StreamReader::set_limit) of the readers that handlers get. Default: 64 KiB.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Listens on `target` and starts serving; see [`start_server`].
    ///
    /// Of several addresses, those that this machine does not have are passed over, if there is one that it has; and the
    /// IPv6 ones keep to IPv6, unless `listen` says otherwise.
    ///
    /// # Errors
    /// As [`start_server`]; nothing listens then.
    ///
    /// # Cancel safety
    /// As [`start_server`].
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub async fn serve<H, R>(&self, handler: H, target: impl ToTarget) -> io::Result<Server>
    where
        H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
        R: HandlerOutcome + 'static,
    {
        let target = target
            .to_target()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let addrs = target.resolve(None).await?;
        Ok(self.serve_on(handler, self.listen_on(&addrs)?))
    }

    fn listen_on(&self, addrs: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
        if let [addr] = addrs {
            return Ok(vec![self.listen.bind(*addr)?]);
        }
        let options = self.listen.clone().only_v6_unless_set();
        let mut listeners = Vec::new();
        let mut passed_over = None;
        for addr in addrs {
            match options.bind(*addr) {
                Ok(listener) => listeners.push(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    passed_over = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match passed_over {
            Some(error) if listeners.is_empty() => Err(error),
            _ => Ok(listeners),
        }
    }

    /// Starts serving connections to listeners of your own.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub fn serve_on<H, R>(
        &self,
        handler: H,
        listeners: impl IntoIterator<Item = TcpListener>,
    ) -> Server
    where
        H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
        R: HandlerOutcome + 'static,
    {
        let sessions = Sessions::new(handler::start(handler, self.limit));
        let acceptors = listeners
            .into_iter()
            .map(|listener| Acceptor::start(listener, self.listen.backlog_size(), &sessions))
            .collect();
        Server {
            sessions,
            acceptors,
        }
    }
}

/// A server that accepts connections and owns the tasks that handle them. asyncio: `Server`.
///
/// Dropped, it stops listening and cancels its handlers; [`shutdown`](Server::shutdown) gives them time. Connections that a
/// handler has passed on live on. `!Send`.
///
/// The system's answers to accepting are of two kinds. A connection that is gone before it could be accepted is passed over.
/// Anything else, exhausted descriptors most likely, is reported to the loop's exception handler, and accepting is tried
/// again after a second.
#[must_use = "dropped, the server stops"]
pub struct Server {
    sessions: Rc<Sessions>,
    acceptors: Vec<Rc<Acceptor>>,
}

/// How a [`shutdown`](Server::shutdown) went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// Handlers that did not end in time, and were cancelled.
    pub cancelled: usize,
    /// Connections that were still open after that, and were aborted: those that handlers had passed on, and closed ones
    /// whose peers did not read what was left to send.
    pub aborted: usize,
}

impl ServerReport {
    /// Whether everything ended by itself.
    pub const fn is_clean(&self) -> bool {
        self.cancelled == 0 && self.aborted == 0
    }
}

impl Server {
    /// The addresses it listens on, or did before it was closed. asyncio: `sockets`.
    #[doc(alias = "sockets")]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.acceptors
            .iter()
            .map(|acceptor| acceptor.local_addr())
            .collect()
    }

    /// Whether it accepts connections.
    pub fn is_serving(&self) -> bool {
        !self.sessions.is_closed()
    }

    /// How many connections are open, or have a handler that runs.
    pub fn connections(&self) -> usize {
        self.sessions.len()
    }

    /// Stops listening: the sockets are closed. Connections that were accepted go on. Again, it does nothing.
    pub fn close(&self) {
        for acceptor in &self.acceptors {
            acceptor.close();
        }
        self.sessions.close();
    }

    /// Waits until the server was closed, and every connection is closed and every handler has ended.
    ///
    /// # Cancel safety
    /// Dropped, it changes nothing.
    pub async fn wait_closed(&self) {
        self.sessions
            .until(|sessions| sessions.is_closed() && sessions.len() == 0)
            .await;
    }

    /// Serves until somebody [closes](Server::close) the server, and every connection is closed and every handler has ended.
    ///
    /// # Cancel safety
    /// Dropped, it closes the server, as in asyncio; handlers run on.
    pub async fn serve_forever(&self) {
        struct Close<'s>(&'s Server);

        impl Drop for Close<'_> {
            fn drop(&mut self) {
                self.0.close();
            }
        }

        let _close = Close(self);
        self.wait_closed().await;
    }

    /// Ends well: stops listening, gives handlers and connections `grace` to end by themselves, then cancels the handlers
    /// that are left, waits until they have cleaned up, and aborts the connections that are left.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the server closed; handlers run on.
    pub async fn shutdown(&self, grace: Duration) -> ServerReport {
        self.close();
        let in_time = timeout(grace, self.wait_closed()).await;
        if in_time.is_ok() {
            return ServerReport {
                cancelled: 0,
                aborted: 0,
            };
        }
        let cancelled = self.sessions.cancel();
        self.sessions
            .until(|sessions| sessions.handlers() == 0)
            .await;
        let aborted = self.sessions.abort();
        self.wait_closed().await;
        ServerReport { cancelled, aborted }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
        self.sessions.cancel();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addrs", &self.local_addrs())
            .field("is_serving", &self.is_serving())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
