//! [`Connect`]: the client's end of the handshake.

use std::fmt;
use std::time::Duration;

use http::Uri;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use rondel_loop::timeout;
#[cfg(feature = "tls-core")]
use rondel_net::tls::ClientTls;
use rondel_net::{ConnectOptions, StreamReader, StreamWriter};
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::error::{HandshakeError, WebSocketError};
use crate::handshake::{self, END};
use crate::socket::WebSocket;

/// How to open a WebSocket.
///
/// ```
/// # use rondel_net::{StreamReader, StreamWriter, start_server};
/// # use rondel_websocket::WebSocketError;
/// use rondel_websocket::{Connect, WebSocket};
///
/// # rondel_loop::run(async {
/// # let server = start_server(
/// #     async |reader: StreamReader, writer: StreamWriter| {
/// #         let mut socket = WebSocket::accept(reader, writer).await?;
/// #         while socket.receive().await?.is_some() {}
/// #         Ok::<(), WebSocketError>(())
/// #     },
/// #     "127.0.0.1:0",
/// # )
/// # .await?;
/// # let url = format!("ws://{}/", server.local_addrs()[0]);
/// let socket = Connect::new()
///     .header("authorization", "Bearer of news")?
///     .open(&url)
///     .await?;
/// socket.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing unless it is used"]
pub struct Connect {
    options: ConnectOptions,
    #[cfg(feature = "tls-core")]
    tls: Option<ClientTls>,
    headers: HeaderMap,
    protocols: Vec<String>,
    config: Option<WebSocketConfig>,
    limit: Option<Duration>,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            options: ConnectOptions::new(),
            #[cfg(feature = "tls-core")]
            tls: None,
            headers: HeaderMap::new(),
            protocols: Vec::new(),
            config: None,
            limit: Some(Duration::from_secs(30)),
        }
    }
}

impl Connect {
    /// The defaults, each as its setter says.
    pub fn new() -> Self {
        Self::default()
    }

    /// How it connects: time limit, Happy Eyeballs, own address, resolver. Default: [`ConnectOptions::new`].
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// How it speaks TLS, for `wss`. Default: with the feature `tls` ring and the platform's store of roots.
    #[cfg(feature = "tls-core")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-core")))]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// A header for the request: `Origin`, `Authorization`, `Cookie`. Those of the handshake itself are left out.
    ///
    /// # Errors
    /// If it cannot be a header's name or value.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, http::Error> {
        let name: HeaderName = name.parse()?;
        self.headers.append(name, HeaderValue::from_str(value)?);
        Ok(self)
    }

    /// A protocol to speak inside, the preferred one first. The server's choice is in [`WebSocket::response`].
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocols.push(name.into());
        self
    }

    /// Limits for messages and frames. Default: tungstenite's, 64 and 16 MiB.
    pub fn config(mut self, config: WebSocketConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// How long the handshake may take, once there is a connection. Default: 30 s.
    pub fn handshake_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit = limit.into();
        self
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`WebSocketError::Connect`], [`WebSocketError::Handshake`], [`WebSocketError::Io`].
    ///
    /// # Cancel safety
    /// Dropped at any point, it closes every descriptor that it has opened.
    pub async fn open(&self, url: &str) -> Result<WebSocket, WebSocketError> {
        let url: Uri = url
            .parse()
            .map_err(|error| HandshakeError::Url(format!("{error}")))?;
        let asked = handshake::ask(&url, &self.protocols, &self.headers)?;
        let (mut reader, writer) = self.connect(&url).await?;
        let shaking = async {
            writer.write_all(&asked.head).await?;
            let head = reader.read_until(END).await.map_err(|error| match error {
                rondel_net::ReadError::Incomplete { .. } => HandshakeError::Ended.into(),
                error => WebSocketError::from(error),
            })?;
            Ok::<_, WebSocketError>(asked.answered(&head)?)
        };
        let response = match self.limit {
            None => shaking.await?,
            Some(limit) => timeout(limit, shaking)
                .await
                .map_err(|_| HandshakeError::TimedOut)??,
        };
        let pair = (reader, writer).into();
        Ok(WebSocket::begin(
            pair,
            Role::Client,
            self.config,
            Vec::new(),
            response,
        ))
    }

    async fn connect(&self, url: &Uri) -> Result<(StreamReader, StreamWriter), WebSocketError> {
        let host = url.host().unwrap_or_default();
        let host = host.strip_prefix('[').unwrap_or(host);
        let host = host.strip_suffix(']').unwrap_or(host);
        match url.scheme_str() {
            Some("ws") => {
                let target = (host, url.port_u16().unwrap_or(80));
                Ok(self.options.open_connection(target).await?)
            }
            Some("wss") => {
                self.connect_securely((host, url.port_u16().unwrap_or(443)))
                    .await
            }
            _ => {
                let text = "it has to begin with ws:// or wss://".to_owned();
                Err(HandshakeError::Url(text).into())
            }
        }
    }

    #[cfg(feature = "tls-core")]
    async fn connect_securely(
        &self,
        target: (&str, u16),
    ) -> Result<(StreamReader, StreamWriter), WebSocketError> {
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None if cfg!(feature = "tls") => {
                ClientTls::new().map_err(|error| WebSocketError::Io(error.into()))?
            }
            None => {
                let text = "wss needs the feature `tls`, or `Connect::tls`".to_owned();
                return Err(HandshakeError::Url(text).into());
            }
        };
        Ok(self
            .options
            .clone()
            .tls(tls)
            .open_connection(target)
            .await?)
    }

    #[cfg(not(feature = "tls-core"))]
    async fn connect_securely(
        &self,
        _: (&str, u16),
    ) -> Result<(StreamReader, StreamWriter), WebSocketError> {
        let text = "wss needs the feature `tls`".to_owned();
        Err(HandshakeError::Url(text).into())
    }
}

impl WebSocket {
    /// Opens a WebSocket to `url`: `ws://…`, or with the feature `tls` `wss://…`. See [`Connect`] for more.
    ///
    /// # Errors
    /// As [`Connect::open`].
    ///
    /// # Cancel safety
    /// As [`Connect::open`].
    pub async fn connect(url: &str) -> Result<Self, WebSocketError> {
        Connect::new().open(url).await
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold what nobody else should read.
        f.debug_struct("Connect")
            .field("options", &self.options)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}
