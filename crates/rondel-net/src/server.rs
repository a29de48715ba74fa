//! Servers: a listener or several, and a task for each connection.

mod acceptor;
mod handler;
pub(crate) mod listening;
mod sessions;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use rondel_loop::timeout;

use crate::connect::ToTarget;
use crate::server::acceptor::Acceptor;
use crate::server::handler::{Prelude, Start};
use crate::server::listening::Listening;
use crate::server::sessions::Sessions;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::tcp::listener::{ListenOptions, TcpListener};
#[cfg(feature = "tls-core")]
use crate::tls::ServerTls;
use crate::transport::kind::AnyProtocol;

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

/// Starts a server: for each connection to `target`, `factory` makes a protocol, which is called with what the connection
/// brings. asyncio: `create_server`.
///
/// All is as with [`start_server`], but that there are no tasks. A factory that panics costs its connection, and is reported
/// to the loop's exception handler. A [`Server`] that is dropped stops listening; its connections live on, until
/// [`close_clients`](Server::close_clients), [`abort_clients`](Server::abort_clients) or [`shutdown`](Server::shutdown).
///
/// # Errors
/// As [`start_server`].
///
/// # Cancel safety
/// As [`start_server`].
///
/// # Panics
/// If no loop is running on this thread.
///
/// ```
/// use rondel_net::{Protocol, Transport, create_server, open_connection};
/// use std::{io, time::Duration};
///
/// struct Shout;
///
/// impl Protocol for Shout {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         let _ = transport.write(&data.to_ascii_uppercase());
///     }
/// }
///
/// # rondel_loop::run(async {
/// let server = create_server(|| Shout, "127.0.0.1:0").await?;
/// let (mut reader, writer) = open_connection(server.local_addrs()[0]).await?;
/// writer.write_all(b"hello\n").await?;
/// assert_eq!(reader.read_line().await?, b"HELLO\n");
/// writer.close();
/// assert!(server.shutdown(Duration::from_secs(1)).await.is_clean());
/// # Ok::<(), io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub async fn create_server<P: AnyProtocol<Kind>, Kind: 'static>(
    factory: impl FnMut() -> P + 'static,
    target: impl ToTarget,
) -> io::Result<Server> {
    ServerOptions::new().serve_protocol(factory, target).await
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
    most: Option<usize>,
    paused: bool,
    #[cfg(feature = "tls-core")]
    tls: Option<ServerTls>,
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

    /// How many connections there are at most, those included whose handler has not ended; others wait to be accepted, as many
    /// as the backlog holds. 0 is taken for 1. Default: no limit but descriptors.
    pub fn max_connections(mut self, most: impl Into<Option<usize>>) -> Self {
        self.most = most.into();
        self
    }

    /// Speaks TLS on every connection: handlers and protocols begin when hands have been shaken. A connection whose handshake fails
    /// is closed and not reported: anybody can bring that about. asyncio: `ssl`.
    #[cfg(feature = "tls-core")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-core")))]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What has to be done with a connection before it is served.
    fn prelude(&self) -> Prelude {
        #[cfg(feature = "tls-core")]
        if let Some(tls) = &self.tls {
            return Prelude::Tls(tls.clone());
        }
        Prelude::None
    }

    /// Whether connections are accepted from the beginning. If not, they wait, as many as the backlog holds, until
    /// [`Server::start_serving`] or [`Server::serve_forever`]. (asyncio does not even listen until then.) Default: yes.
    pub fn start_serving(mut self, at_once: bool) -> Self {
        self.paused = !at_once;
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
        Ok(self.serve_on(handler, self.listen_at(target).await?))
    }

    /// Listens on `target` and has a protocol called for each connection; see [`create_server`].
    ///
    /// # Errors
    /// As [`start_server`]; nothing listens then.
    ///
    /// # Cancel safety
    /// As [`start_server`].
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub async fn serve_protocol<P: AnyProtocol<Kind>, Kind: 'static>(
        &self,
        factory: impl FnMut() -> P + 'static,
        target: impl ToTarget,
    ) -> io::Result<Server> {
        Ok(self.serve_protocol_on(factory, self.listen_at(target).await?))
    }

    async fn listen_at(&self, target: impl ToTarget) -> io::Result<Vec<TcpListener>> {
        let target = target
            .to_target()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let addrs = target.resolve(None).await?;
        self.listen_on(&addrs)
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
        self.start_tasks(handler, listeners)
    }

    /// The same, with a protocol for each connection; see [`create_server`].
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub fn serve_protocol_on<P: AnyProtocol<Kind>, Kind: 'static>(
        &self,
        factory: impl FnMut() -> P + 'static,
        listeners: impl IntoIterator<Item = TcpListener>,
    ) -> Server {
        self.start_protocols(factory, listeners)
    }

    pub(crate) fn start_tasks<H, R, L: Listening + 'static>(
        &self,
        handler: H,
        listeners: impl IntoIterator<Item = L>,
    ) -> Server
    where
        H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
        R: HandlerOutcome + 'static,
    {
        self.start(
            handler::start(handler, self.limit, self.prelude()),
            listeners,
        )
    }

    pub(crate) fn start_protocols<P, Kind, L>(
        &self,
        factory: impl FnMut() -> P + 'static,
        listeners: impl IntoIterator<Item = L>,
    ) -> Server
    where
        P: AnyProtocol<Kind>,
        Kind: 'static,
        L: Listening + 'static,
    {
        self.start(handler::start_protocol(factory, self.prelude()), listeners)
    }

    fn start<L: Listening + 'static>(
        &self,
        start: Start,
        listeners: impl IntoIterator<Item = L>,
    ) -> Server {
        let most = self.most.map_or(usize::MAX, |most| most.max(1));
        let sessions = Sessions::new(start, most);
        let acceptors = listeners
            .into_iter()
            .map(|listener| {
                Acceptor::start(Rc::new(listener), self.listen.backlog_size(), &sessions)
            })
            .collect();
        if !self.paused {
            sessions.start_serving();
        }
        Server {
            sessions,
            acceptors,
        }
    }
}

/// A server that accepts connections and owns the tasks that handle them, or has protocols called. asyncio: `Server`.
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
            .filter_map(|acceptor| acceptor.local_addr())
            .collect()
    }

    fn names(&self) -> Vec<&str> {
        self.acceptors
            .iter()
            .map(|acceptor| acceptor.name())
            .collect()
    }

    /// Calls `look` with each socket it listens on, for options that have no method here; see the crate `socket2`. With none
    /// after it was closed.
    pub fn for_each_socket(&self, mut look: impl FnMut(BorrowedFd<'_>)) {
        for acceptor in &self.acceptors {
            if let Some(listener) = acceptor.listener() {
                look(listener.registration().as_fd());
            }
        }
    }

    /// Begins to accept connections, unless it does already, or was closed; see [`ServerOptions::start_serving`].
    pub fn start_serving(&self) {
        self.sessions.start_serving();
    }

    /// Whether it accepts connections: from when it was started until it is closed.
    pub fn is_serving(&self) -> bool {
        self.sessions.is_serving()
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

    /// Closes every connection that is open, when what is queued for it has been sent. Handlers learn it from reading and
    /// writing, protocols by `connection_lost`.
    pub fn close_clients(&self) {
        for connection in self.sessions.open() {
            connection.close();
        }
    }

    /// Aborts every connection that is open, be its peer stuck or not; gives their number. Their peers see a reset.
    pub fn abort_clients(&self) -> usize {
        let open = self.sessions.open();
        for connection in &open {
            connection.abort();
        }
        open.len()
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
    /// # Errors
    /// `AlreadyExists` if somebody else waits so, `NotConnected` if the server is closed.
    ///
    /// # Cancel safety
    /// Dropped, it closes the server, as in asyncio; handlers run on.
    pub async fn serve_forever(&self) -> io::Result<()> {
        struct Close<'s>(&'s Server);

        impl Drop for Close<'_> {
            fn drop(&mut self) {
                self.0.close();
            }
        }

        if self.sessions.is_closed() {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the server is closed",
            ));
        }
        let Some(_only) = self.sessions.serve_for_ever() else {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the server is being served for ever already",
            ));
        };
        let _close = Close(self);
        self.start_serving();
        self.wait_closed().await;
        Ok(())
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
        let aborted = self.abort_clients();
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
            .field("listens_on", &self.names())
            .field("is_serving", &self.is_serving())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
