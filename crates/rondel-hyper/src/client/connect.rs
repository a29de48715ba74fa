//! A new connection, and which HTTP it speaks.

use std::cell::OnceCell;
use std::fmt;

use hyper::client::conn::{http1, http2};
use rondel_loop::spawn;
#[cfg(feature = "tls-core")]
use rondel_net::tls::ClientTls;
use rondel_net::{ConnectOptions, StreamPair};

use super::body::Body;
use super::builder::{Http2, Options};
use super::error::ClientErrorKind;
use super::origin::Origin;
use crate::executor::LoopExecutor;
use crate::io::HyperIo;
use crate::timer::LoopTimer;

/// The sending end of a connection; a task of its own drives it.
pub(super) enum Connected {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

pub(super) struct Connector {
    options: ConnectOptions,
    http2: Http2,
    header_limit: Option<usize>,
    #[cfg(feature = "tls-core")]
    given: Option<ClientTls>,
    /// Made for the first https.
    #[cfg(feature = "tls-core")]
    tls: OnceCell<ClientTls>,
    #[cfg(not(feature = "tls-core"))]
    tls: OnceCell<()>,
}

impl Connector {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            options: options.connect.clone(),
            http2: options.http2,
            header_limit: options.header_limit,
            #[cfg(feature = "tls-core")]
            given: options.tls.clone(),
            tls: OnceCell::new(),
        }
    }

    /// Whether the next connection to `origin` may turn out to be one that all can share.
    pub(super) fn may_be_shared(&self, origin: &Origin) -> bool {
        match self.http2 {
            Http2::Always => true,
            Http2::Never => false,
            Http2::Offered => origin.secure,
        }
    }

    pub(super) async fn connect(&self, origin: &Origin) -> Result<Connected, ClientErrorKind> {
        let (pair, offered) = if origin.secure {
            self.connect_securely(origin).await?
        } else {
            let target = (origin.host.as_str(), origin.port);
            let halves = self.options.open_connection(target).await;
            (halves.map_err(ClientErrorKind::Connect)?.into(), false)
        };
        if offered || self.http2 == Http2::Always {
            let io = HyperIo::gathering(pair, Vec::new());
            let mut builder = http2::Builder::new(LoopExecutor);
            builder.timer(LoopTimer).adaptive_window(true);
            if let Some(limit) = self.header_limit {
                builder.max_header_list_size(limit.try_into().unwrap_or(u32::MAX));
            }
            let (sender, connection) =
                builder.handshake(io).await.map_err(ClientErrorKind::Http)?;
            // It ends when the server closes, or when nobody can send any more. How it ended, those who wait for answers hear.
            drop(spawn(connection));
            return Ok(Connected::Http2(sender));
        }
        let io = HyperIo::new(pair);
        let mut builder = http1::Builder::new();
        if let Some(limit) = self.header_limit {
            builder.max_buf_size(limit);
        }
        let (sender, connection) = builder.handshake(io).await.map_err(ClientErrorKind::Http)?;
        drop(spawn(connection.with_upgrades()));
        Ok(Connected::Http1(sender))
    }

    /// With TLS; and whether HTTP/2 was agreed on.
    #[cfg(feature = "tls-core")]
    async fn connect_securely(
        &self,
        origin: &Origin,
    ) -> Result<(StreamPair, bool), ClientErrorKind> {
        let tls = match self.tls.get() {
            Some(tls) => tls.clone(),
            None => {
                let tls = self.make_tls()?;
                self.tls.get_or_init(|| tls).clone()
            }
        };
        let target = (origin.host.as_str(), origin.port);
        let options = self.options.clone().tls(tls);
        let (reader, writer) = options
            .open_connection(target)
            .await
            .map_err(ClientErrorKind::Connect)?;
        let agreed = writer.tls().and_then(|session| session.alpn);
        let http2 = self.http2 != Http2::Never && agreed.as_deref() == Some(b"h2");
        Ok((StreamPair::new(reader, writer), http2))
    }

    #[cfg(feature = "tls-core")]
    fn make_tls(&self) -> Result<ClientTls, ClientErrorKind> {
        let tls = match &self.given {
            Some(given) => given.clone(),
            None if cfg!(feature = "tls") => ClientTls::new().map_err(ClientErrorKind::Tls)?,
            None => return Err(ClientErrorKind::NoTls),
        };
        let asked: &[&str] = match self.http2 {
            Http2::Offered => &["h2", "http/1.1"],
            Http2::Never => &["http/1.1"],
            Http2::Always => &["h2"],
        };
        Ok(tls.alpn_unless_set(asked))
    }

    #[cfg(not(feature = "tls-core"))]
    async fn connect_securely(&self, _: &Origin) -> Result<(StreamPair, bool), ClientErrorKind> {
        Err(ClientErrorKind::NoTls)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("options", &self.options)
            .field("http2", &self.http2)
            .field("tls", &self.tls.get().is_some())
            .finish_non_exhaustive()
    }
}
