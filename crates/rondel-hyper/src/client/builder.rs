//! [`ClientBuilder`]: how a client behaves.

use std::time::Duration;

use http::HeaderValue;
use rondel_net::ConnectOptions;
#[cfg(feature = "tls-core")]
use rondel_net::tls::ClientTls;

use super::Client;

/// Sets up a [`Client`].
///
/// ```
/// use rondel_hyper::Client;
/// use rondel_hyper::http::HeaderValue;
/// use std::time::Duration;
///
/// let client = Client::builder()
///     .user_agent(HeaderValue::from_static("patience/1.0"))
///     .max_per_host(4)
///     .redirects(3)
///     .head_timeout(Duration::from_secs(5))
///     .build();
/// # drop(client);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing unless built"]
pub struct ClientBuilder(Options);

/// What hyper takes at least.
const SMALLEST_HEADER_LIMIT: usize = 8 * 1024;

/// What a client was told.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) connect: ConnectOptions,
    #[cfg(feature = "tls-core")]
    pub(super) tls: Option<ClientTls>,
    pub(super) http2: Http2,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) header_limit: Option<usize>,
    pub(super) redirects: usize,
    pub(super) per_host: usize,
    pub(super) idle_per_host: usize,
    pub(super) idle_timeout: Duration,
    pub(super) place_timeout: Option<Duration>,
    pub(super) head_timeout: Option<Duration>,
    pub(super) body_timeout: Option<Duration>,
    #[cfg(feature = "decompression")]
    pub(super) decode: bool,
}

/// Whether HTTP/2 is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http2 {
    /// Where the server offers it by ALPN.
    Offered,
    Never,
    /// Everywhere, without asking.
    Always,
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        Self(Options {
            connect: ConnectOptions::new(),
            #[cfg(feature = "tls-core")]
            tls: None,
            http2: Http2::Offered,
            user_agent: Some(HeaderValue::from_static(concat!(
                "rondel-hyper/",
                env!("CARGO_PKG_VERSION")
            ))),
            header_limit: None,
            redirects: 10,
            per_host: 100,
            idle_per_host: 32,
            idle_timeout: Duration::from_secs(90),
            place_timeout: Some(Duration::from_secs(30)),
            head_timeout: Some(Duration::from_secs(30)),
            body_timeout: Some(Duration::from_secs(30)),
            #[cfg(feature = "decompression")]
            decode: true,
        })
    }

    /// How it connects: time limit, Happy Eyeballs, own address, resolver. Default: [`ConnectOptions::new`].
    pub fn connect(mut self, options: ConnectOptions) -> Self {
        self.0.connect = options;
        self
    }

    /// How it speaks TLS. Default: with the feature `tls` ring and the platform's store of roots; else there is no https. HTTP/2
    /// and HTTP/1.1 are asked for by ALPN unless `tls` asks for something itself.
    #[cfg(feature = "tls-core")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-core")))]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.0.tls = Some(tls);
        self
    }

    /// HTTP/1.1 alone, also where HTTP/2 could be had.
    pub const fn http1_only(mut self) -> Self {
        self.0.http2 = Http2::Never;
        self
    }

    /// HTTP/2 alone, without asking ("prior knowledge", RFC 9113, 3.3), also over plain TCP.
    pub const fn http2_only(mut self) -> Self {
        self.0.http2 = Http2::Always;
        self
    }

    /// What it calls itself where a request does not say. `None`: nothing. Default: `rondel-hyper` and its version.
    pub fn user_agent(mut self, name: impl Into<Option<HeaderValue>>) -> Self {
        self.0.user_agent = name.into();
        self
    }

    /// How many bytes the head of an answer may have; at least 8 KiB, less is taken for that. Default: hyper's, 400 KiB over
    /// HTTP/1.1 and 16 KiB over HTTP/2. It bounds what hyper reads before it looks: up to twice as much passes. Over HTTP/1.1 a head of more than 100 fields is refused besides.
    pub fn header_limit(mut self, bytes: usize) -> Self {
        self.0.header_limit = Some(bytes.max(SMALLEST_HEADER_LIMIT));
        self
    }

    /// How many redirects are followed; 0: none, the redirect itself is the answer. One more is an error. Default: 10.
    pub const fn redirects(mut self, most: usize) -> Self {
        self.0.redirects = most;
        self
    }

    /// How many requests at a time each host gets, and so how many HTTP/1.1 connections; others wait, first come, first served.
    /// A place is taken until the body of the answer has been read or dropped. 0 is taken for 1. Default: 100.
    pub fn max_per_host(mut self, most: usize) -> Self {
        self.0.per_host = most.max(1);
        self
    }

    /// How many HTTP/1.1 connections to each host are kept for later. Default: 32.
    pub const fn max_idle_per_host(mut self, most: usize) -> Self {
        self.0.idle_per_host = most;
        self
    }

    /// How long they are kept. Default: 90 s.
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.0.idle_timeout = limit;
        self
    }

    /// How long a request waits for a place at its host. Default: 30 s.
    pub fn place_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.0.place_timeout = limit.into();
        self
    }

    /// How long the head of an answer may take, counted from when there is a connection. Default: 30 s.
    pub fn head_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.0.head_timeout = limit.into();
        self
    }

    /// How long nothing of an answer's body may come while it is waited for. Default: 30 s.
    pub fn body_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.0.body_timeout = limit.into();
        self
    }

    /// Whether gzip and deflate are asked for and decoded; requests with an `Accept-Encoding` of their own are left alone.
    /// Default: yes.
    #[cfg(feature = "decompression")]
    #[cfg_attr(docsrs, doc(cfg(feature = "decompression")))]
    pub const fn decode(mut self, on: bool) -> Self {
        self.0.decode = on;
        self
    }

    /// The client.
    #[must_use]
    pub fn build(self) -> Client {
        Client::from_options(self.0)
    }
}
