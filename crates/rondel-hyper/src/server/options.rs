//! [`HttpServer`]: how a server behaves.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;
#[cfg(feature = "tls-core")]
use rondel_net::tls::ServerTls;
use rondel_net::{ServerOptions, StreamReader, StreamWriter, TcpListener, ToTarget};
use rondel_sync::Event;

use super::body::RequestBody;
use super::connection;
use super::running::RunningServer;
use crate::error::BoxError;

/// A server for HTTP/1.1 and HTTP/2, before it runs: how it behaves, and whom it lets in.
///
/// Both versions are served on one port; the first bytes of a connection tell, over TLS after the two have agreed by ALPN. A
/// request reaches the service as soon as its head is there, with a body that is read as it arrives. Connections are kept alive
/// between requests, and those that ask for it are upgraded (`hyper::upgrade::on`; its `Upgraded` can be taken apart into a
/// [`HyperIo`](crate::HyperIo), and that into reader and writer).
///
/// A service is `Fn(Request) -> Future` by [`hyper::service::service_fn`], or anything else that is a
/// [`hyper::service::Service`]; with the feature `tower`, `server::tower` makes one of a `tower::Service`, an
/// axum `Router` for instance. Nothing of it has to be `Send`. It is called in a task of the connection's (HTTP/1.1) or of
/// the request's (HTTP/2), and dropped with it if the client goes away. If it fails, the client gets a 500 without
/// words, and the loop's exception handler the error; if it panics, the connection or the stream ends, and the handler is told.
///
/// ```
/// use rondel_hyper::bytes::Bytes;
/// use rondel_hyper::http::{Request, Response};
/// use rondel_hyper::http_body_util::Full;
/// use rondel_hyper::hyper::service::service_fn;
/// use rondel_hyper::server::{HttpServer, RequestBody};
/// use std::cell::Cell;
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// let count = Cell::new(0); // no Arc, no Mutex: it is one thread
/// let hello = service_fn(move |_request: Request<RequestBody>| {
///     count.set(count.get() + 1);
///     let text = format!("hello, number {}", count.get());
///     async { Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from(text)))) }
/// });
/// let server = HttpServer::new().serve(hello, "127.0.0.1:0").await?;
/// println!("http://{}", server.local_addrs()[0]);
/// server.shutdown(Duration::from_secs(1)).await;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing unless it is used"]
pub struct HttpServer {
    net: ServerOptions,
    #[cfg(feature = "tls-core")]
    tls: Option<ServerTls>,
    pub(super) http1: bool,
    pub(super) http2: bool,
    pub(super) keep_alive: bool,
    pub(super) header_timeout: Option<Duration>,
    pub(super) header_bytes: usize,
    pub(super) body_limit: Option<u64>,
    pub(super) body_timeout: Option<Duration>,
    pub(super) max_streams: u32,
    pub(super) ping_interval: Option<Duration>,
}

/// hyper needs that much for a head.
const LEAST_HEADER_BYTES: usize = 8 * 1024;

impl Default for HttpServer {
    fn default() -> Self {
        Self {
            net: ServerOptions::new(),
            #[cfg(feature = "tls-core")]
            tls: None,
            http1: true,
            http2: true,
            keep_alive: true,
            header_timeout: Some(Duration::from_secs(30)),
            header_bytes: 64 * 1024,
            body_limit: Some(2 * 1024 * 1024),
            body_timeout: Some(Duration::from_secs(30)),
            max_streams: 200,
            ping_interval: Some(Duration::from_secs(30)),
        }
    }
}

impl HttpServer {
    /// The defaults, each as its setter says.
    pub fn new() -> Self {
        Self::default()
    }

    /// How it listens, and how many connections it lets in at a time; see [`ServerOptions`].
    pub fn net(mut self, options: ServerOptions) -> Self {
        self.net = options;
        self
    }

    /// Speaks TLS. HTTP/2 is offered by ALPN before HTTP/1.1, as far as both are allowed, unless `tls` offers something itself.
    #[cfg(feature = "tls-core")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-core")))]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How it listens, TLS included, when all has been said.
    fn to_net(&self) -> ServerOptions {
        #[cfg(feature = "tls-core")]
        if let Some(tls) = &self.tls {
            let offered = [(self.http2, "h2"), (self.http1, "http/1.1")];
            let offered = offered.iter().filter(|(allowed, _)| *allowed);
            let tls = tls.clone().alpn_unless_set(offered.map(|(_, name)| name));
            return self.net.clone().tls(tls);
        }
        self.net.clone()
    }

    /// Whether HTTP/1.1 is spoken. Default: yes.
    pub const fn http1(mut self, allowed: bool) -> Self {
        self.http1 = allowed;
        self
    }

    /// Whether HTTP/2 is spoken. Default: yes.
    pub const fn http2(mut self, allowed: bool) -> Self {
        self.http2 = allowed;
        self
    }

    /// Whether an HTTP/1.1 connection goes on after an answer. Default: yes.
    pub const fn keep_alive(mut self, on: bool) -> Self {
        self.keep_alive = on;
        self
    }

    /// How long a client may take for the head of a request, counted from the end of the one before (HTTP/1.1), and for its first
    /// bytes (both): so also how long a connection is kept that asks for nothing. It is closed then. Default: 30 s.
    pub fn header_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.header_timeout = limit.into();
        self
    }

    /// How many bytes the head of a request may have; the answer to more is 431. Not less than 8 KiB. Default: 64 KiB.
    pub fn header_limit(mut self, bytes: usize) -> Self {
        self.header_bytes = bytes.max(LEAST_HEADER_BYTES);
        self
    }

    /// How many bytes the body of a request may have. One that announces more is answered by 413 and does not reach the service;
    /// one that turns out to be longer fails while it is read ([`BodyError`](super::BodyError)). Default: 2 MiB.
    pub fn body_limit(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.body_limit = bytes.into();
        self
    }

    /// How long the client may send nothing while the service waits for more of a body; reading it fails then. Default: 30 s.
    pub fn body_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.body_timeout = limit.into();
        self
    }

    /// How many requests at a time an HTTP/2 connection may have. Default: 200.
    pub const fn max_streams(mut self, most: u32) -> Self {
        self.max_streams = most;
        self
    }

    /// How long an HTTP/2 connection may be silent before it is asked for a sign of life; without one within 20 s it is
    /// closed. Default: 30 s.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = interval.into();
        self
    }

    /// Listens on `target` and serves it, until the [`RunningServer`] is shut down or dropped.
    ///
    /// # Errors
    /// As [`rondel_net::start_server`]; nothing listens then.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub async fn serve<S, B>(self, service: S, target: impl ToTarget) -> io::Result<RunningServer>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let closing = Rc::new(Event::new());
        let net = self.to_net();
        let handler = self.handler(service, &closing);
        let server = net.serve(handler, target).await?;
        Ok(RunningServer::new(server, closing))
    }

    /// Serves listeners of your own; see [`serve`](HttpServer::serve).
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub fn serve_on<S, B>(
        self,
        service: S,
        listeners: impl IntoIterator<Item = TcpListener>,
    ) -> RunningServer
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let closing = Rc::new(Event::new());
        let net = self.to_net();
        let handler = self.handler(service, &closing);
        RunningServer::new(net.serve_on(handler, listeners), closing)
    }

    /// Serves one connection, to its end: for servers of another kind, on Unix sockets for instance. Its options for listening
    /// and TLS do nothing here.
    ///
    /// # Cancel safety
    /// Dropped, it closes the connection, whatever is under way.
    ///
    /// ```
    /// use rondel_hyper::bytes::Bytes;
    /// use rondel_hyper::http::Response;
    /// use rondel_hyper::http_body_util::Full;
    /// use rondel_hyper::hyper::service::service_fn;
    /// use rondel_hyper::HttpServer;
    /// use rondel_net::{open_unix_connection, start_unix_server};
    /// use std::rc::Rc;
    ///
    /// # let folder = std::env::temp_dir().join(format!("rondel-doc-http-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// let path = folder.join("http.sock");
    /// # rondel_loop::run(async {
    /// let hello = Rc::new(service_fn(async |_| {
    ///     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("hello"))))
    /// }));
    /// let _server = start_unix_server(
    ///     move |reader, writer| {
    ///         let hello = Rc::clone(&hello);
    ///         async move { HttpServer::new().serve_connection(hello, reader, writer).await }
    ///     },
    ///     &path,
    /// )?;
    ///
    /// let (mut reader, writer) = open_unix_connection(&path).await?;
    /// writer.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await?;
    /// assert!(reader.read_to_end(1000).await?.ends_with(b"hello"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn serve_connection<S, B>(
        &self,
        service: Rc<S>,
        reader: StreamReader,
        writer: StreamWriter,
    ) where
        S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        connection::serve(self, service, &Event::new(), reader, writer).await;
    }

    fn handler<S, B>(
        self,
        service: S,
        closing: &Rc<Event>,
    ) -> impl AsyncFn(StreamReader, StreamWriter) + use<S, B>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let service = Rc::new(service);
        let (options, closing) = (Rc::new(self), Rc::clone(closing));
        async move |reader, writer| {
            connection::serve(&options, Rc::clone(&service), &closing, reader, writer).await;
        }
    }
}
