//! [`HttpServer`]: how a server behaves.

use std::time::Duration;

use rondel_net::ServerOptions;
#[cfg(feature = "tls-core")]
use rondel_net::tls::ServerTls;

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
    pub(super) fn to_net(&self) -> ServerOptions {
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
}
