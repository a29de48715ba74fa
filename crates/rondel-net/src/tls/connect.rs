//! Connecting by TLS.

use std::fmt;
use std::rc::Rc;

use rondel_loop::{LocalLoop, timeout_at};

use super::ClientTls;
use super::start::start;
use crate::connect::{
    ConnectError, ConnectErrorKind, ConnectOptions, ConnectPhase, Target, ToTarget,
};
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::tcp::stream::TcpStream;
use crate::transport::Transport;
use crate::transport::endpoint::begin;
use crate::transport::kind::AnyProtocol;
use crate::transport::protocol_ref::ProtocolRef;

impl ConnectOptions {
    /// Speaks TLS on the connection. asyncio: `ssl`.
    ///
    /// The time limit of these options is for all of it: look-up, connecting, and the handshake.
    ///
    /// ```
    /// # use rondel_net::tls::{ClientTls, Identity, ServerTls};
    /// # use rondel_net::{ConnectOptions, ServerOptions};
    /// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    /// # let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    /// # let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes())?;
    /// let server_tls = ServerTls::builder().identity(identity).build()?;
    /// let client_tls = ClientTls::builder().root_pem(chain.as_bytes())?.build()?;
    /// # rondel_loop::run(async {
    /// let server = ServerOptions::new()
    ///     .tls(server_tls)
    ///     .serve(async |_, writer| writer.write_all(b"hello\n").await, "127.0.0.1:0")
    ///     .await?;
    /// let port = server.local_addrs()[0].port();
    /// let options = ConnectOptions::new().tls(client_tls);
    /// let (mut reader, writer) = options.open_connection(("localhost", port)).await?;
    /// assert_eq!(reader.read_line().await?, b"hello\n");
    /// assert!(writer.tls().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tls(self, tls: ClientTls) -> TlsConnectOptions {
        TlsConnectOptions {
            options: self,
            tls,
            server_name: None,
        }
    }
}

/// How to connect by TLS; made by [`ConnectOptions::tls`].
#[derive(Clone)]
#[must_use = "options do nothing by themselves: call `open_connection` or `create_connection`"]
pub struct TlsConnectOptions {
    options: ConnectOptions,
    tls: ClientTls,
    server_name: Option<String>,
}

impl TlsConnectOptions {
    /// The host that the server has to show a certificate for. Default: the one that is connected to. asyncio:
    /// `server_hostname`.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Connects, shakes hands, and gives a reader and a writer; see [`open_connection`](crate::open_connection).
    ///
    /// # Cancel safety
    /// Dropped at any point, it closes every descriptor that it has opened.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn open_connection(
        &self,
        target: impl ToTarget,
    ) -> Result<(StreamReader, StreamWriter), ConnectError> {
        let (mut reader, writer) = self.connect(target).await?.into_split();
        if let Some(limit) = self.options.limit {
            reader.set_limit(limit);
        }
        Ok((reader, writer))
    }

    /// Connects, shakes hands, and has a protocol called with what the connection brings; see
    /// [`create_connection`](crate::create_connection).
    ///
    /// # Cancel safety
    /// Dropped at any point, it closes every descriptor that it has opened.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn create_connection<P: AnyProtocol<Kind>, Kind: 'static>(
        &self,
        factory: impl FnOnce() -> P,
        target: impl ToTarget,
    ) -> Result<(Transport, ProtocolRef<P>), ConnectError> {
        let stream = self.connect(target).await?;
        Ok(begin(stream.into_handles(), factory()))
    }

    async fn connect(&self, target: impl ToTarget) -> Result<TcpStream, ConnectError> {
        let target = target.to_target()?;
        let fail = |kind| ConnectError::new(target.to_string(), kind);
        let local = LocalLoop::current().map_err(|error| fail(ConnectErrorKind::NoLoop(error)))?;
        let begun = local.time();
        let stream = self.options.connect(target.clone()).await?;
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => name_of(&target, &stream),
        };
        let session = self
            .tls
            .session(&name)
            .map_err(|error| fail(ConnectErrorKind::Tls(error)))?;
        let connection = Rc::clone(stream.connection());
        let handshake = start(session, self.tls.timeouts, &connection, Vec::new());
        let deadline = self
            .options
            .timeout
            .and_then(|limit| Some((limit, begun.checked_add(limit)?)));
        let done = match deadline {
            None => handshake.await,
            Some((limit, deadline)) => match timeout_at(deadline, handshake).await {
                Ok(done) => done,
                Err(_) => {
                    let phase = ConnectPhase::Tls;
                    return Err(fail(ConnectErrorKind::TimedOut { limit, phase }));
                }
            },
        };
        done.map_err(|error| fail(ConnectErrorKind::Tls(error)))?;
        Ok(stream)
    }
}

/// The host that was connected to; without one, the address.
fn name_of(target: &Target, stream: &TcpStream) -> String {
    match (target.host_name(), stream.peer_addr()) {
        // A scope is nothing that a certificate knows of.
        (Some(host), _) => host.split('%').next().unwrap_or(host).to_owned(),
        (None, Some(peer)) => peer.ip().to_string(),
        (None, None) => String::new(),
    }
}

impl fmt::Debug for TlsConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnectOptions")
            .field("options", &self.options)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
