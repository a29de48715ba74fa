//! Beginning TLS on a connection that is there.

use std::io;
use std::rc::Rc;

use rondel_loop::timeout;
use rustls::pki_types::ServerName;

use super::layer::TlsLayer;
use super::session::{Session, SessionInfo};
use super::{ClientTls, ServerTls, Timeouts};
use crate::engine::Connection;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::Transport;

impl ClientTls {
    /// Begins TLS as the client, on a connection that has been used in clear until now or is new: what either end sends from
    /// here on is encrypted. What the reader has received already belongs to TLS. asyncio: `StreamWriter.start_tls`.
    ///
    /// `server_name` is the host, or the literal address, that the server has to show a certificate for.
    ///
    /// On a connection that speaks TLS already, the new session runs inside the one there is.
    ///
    /// # Errors
    /// [`TlsError`](super::TlsError) in an [`io::Error`]: the handshake failed, or took longer than the [limit](ClientTls::handshake_timeout).
    /// `InvalidInput` if `server_name` is none, or if reader and writer are of two connections. The connection is closed then.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it aborts the connection.
    ///
    /// ```
    /// # use rondel_net::tls::{ClientTls, Identity, ServerTls};
    /// # use rondel_net::{TcpListener, TcpStream};
    /// # let made = rcgen::generate_simple_self_signed(["example.test".to_owned()])?;
    /// # let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    /// # let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes())?;
    /// # let server_tls = ServerTls::builder().identity(identity).build()?;
    /// # let client_tls = ClientTls::builder().root_pem(chain.as_bytes())?.build()?;
    /// # rondel_loop::run(async {
    /// # let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    /// let server = async {
    ///     let (stream, _) = listener.accept().await?;
    ///     let (mut reader, writer) = stream.into_split();
    ///     assert_eq!(reader.read_line().await?, b"STARTTLS\n");
    ///     writer.write_all(b"go ahead\n").await?;
    ///     let (_reader, writer) = server_tls.start(reader, writer).await?;
    ///     writer.write_all(b"nobody else reads this\n").await?;
    ///     writer.close();
    ///     writer.wait_closed().await
    /// };
    /// let client = async {
    ///     let (mut reader, writer) = TcpStream::connect(listener.local_addr()).await?.into_split();
    ///     writer.write_all(b"STARTTLS\n").await?;
    ///     assert_eq!(reader.read_line().await?, b"go ahead\n");
    ///     let (mut reader, _writer) = client_tls.start(reader, writer, "example.test").await?;
    ///     Ok::<_, std::io::Error>(reader.read_line().await?)
    /// };
    /// let (served, secret) = futures_util::join!(server, client);
    /// served?;
    /// assert_eq!(secret?, b"nobody else reads this\n");
    /// # Ok::<(), std::io::Error>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "start_tls")]
    pub async fn start(
        &self,
        reader: StreamReader,
        writer: StreamWriter,
        server_name: &str,
    ) -> io::Result<(StreamReader, StreamWriter)> {
        let session = self.session(server_name)?;
        start_streams(session, self.timeouts, reader, writer).await
    }

    /// The same for a transport: reading pauses until the handshake is done, and the protocol is told nothing of it.
    /// asyncio: `start_tls`, which gives a new transport; here it stays the same one.
    ///
    /// # Errors
    /// As [`start`](ClientTls::start); the connection is lost then, and the protocol is told so.
    ///
    /// # Cancel safety
    /// As [`start`](ClientTls::start).
    pub async fn start_transport(
        &self,
        transport: &Transport,
        server_name: &str,
    ) -> io::Result<()> {
        let session = self.session(server_name)?;
        start_transport(session, self.timeouts, transport).await
    }

    pub(super) fn session(&self, server_name: &str) -> io::Result<Session> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{server_name:?} is neither a host name nor an address, so no certificate can be for it"),
            )
        })?;
        Ok(Session::client(self.config.clone(), name)?)
    }
}

impl ServerTls {
    /// Begins TLS as the server; see [`ClientTls::start`].
    ///
    /// # Errors
    /// As [`ClientTls::start`].
    ///
    /// # Cancel safety
    /// As [`ClientTls::start`].
    #[doc(alias = "start_tls")]
    #[doc(alias = "accept")]
    pub async fn start(
        &self,
        reader: StreamReader,
        writer: StreamWriter,
    ) -> io::Result<(StreamReader, StreamWriter)> {
        let session = Session::server(self.config.clone())?;
        start_streams(session, self.timeouts, reader, writer).await
    }

    /// Begins TLS as the server; see [`ClientTls::start_transport`].
    ///
    /// # Errors
    /// As [`ClientTls::start_transport`].
    ///
    /// # Cancel safety
    /// As [`ClientTls::start`].
    pub async fn start_transport(&self, transport: &Transport) -> io::Result<()> {
        let session = Session::server(self.config.clone())?;
        start_transport(session, self.timeouts, transport).await
    }
}

/// Begins TLS on a connection that a server has accepted.
pub(crate) async fn start_server_side(
    tls: &ServerTls,
    connection: &Rc<Connection>,
) -> io::Result<()> {
    let session = Session::server(tls.config.clone())?;
    start(session, tls.timeouts, connection, Vec::new()).await
}

async fn start_streams(
    session: Session,
    timeouts: Timeouts,
    mut reader: StreamReader,
    writer: StreamWriter,
) -> io::Result<(StreamReader, StreamWriter)> {
    if !Rc::ptr_eq(reader.connection(), writer.connection()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the reader and the writer belong to two connections",
        ));
    }
    let arrived = reader.take_buffer();
    start(session, timeouts, writer.connection(), arrived).await?;
    Ok((reader, writer))
}

async fn start_transport(
    session: Session,
    timeouts: Timeouts,
    transport: &Transport,
) -> io::Result<()> {
    let connection = transport.connection();
    let reading = connection.is_reading();
    connection.pause_reading();
    let arrived = connection.take_all_early();
    start(session, timeouts, connection, arrived).await?;
    if reading {
        connection.resume_reading();
    }
    Ok(())
}

/// Puts the session in place and shakes hands.
pub(super) async fn start(
    session: Session,
    timeouts: Timeouts,
    connection: &Rc<Connection>,
    arrived: Vec<u8>,
) -> io::Result<()> {
    /// Nothing can be done with a connection in the middle of a handshake.
    struct Abort<'c>(Option<&'c Rc<Connection>>);
    impl Drop for Abort<'_> {
        fn drop(&mut self) {
            if let Some(connection) = self.0 {
                connection.abort();
            }
        }
    }

    if !connection.is_whole() {
        connection.abort();
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a pipe goes one way, and TLS needs both",
        ));
    }
    let peer = connection.peer_name().to_string();
    let layer = TlsLayer::new(session, timeouts, peer.clone());
    connection.add_layer(Box::new(layer), arrived);
    let mut abort = Abort(Some(connection));
    let done = match timeout(timeouts.handshake, connection.shake_hands()).await {
        Ok(done) => done,
        Err(_) => return Err(TlsLayer::time_out(timeouts, &peer).into()),
    };
    abort.0 = None;
    #[cfg(feature = "tracing")]
    tell(connection, &done);
    if done.is_err() {
        // What TLS says of the failure has been sent; the peer is to read it, which a reset would prevent.
        connection.close();
    }
    done
}

/// Tells those who watch the connection.
#[cfg(feature = "tracing")]
fn tell(connection: &Connection, done: &io::Result<()>) {
    let Some(span) = connection.span().get() else {
        return;
    };
    match (done, info(connection)) {
        (Err(error), _) => {
            tracing::debug!(target: "rondel::connection", parent: span, %error, "no TLS");
        }
        (Ok(()), Some(info)) => {
            if let Some(version) = info.version {
                span.record("tls", version.as_str());
            }
            tracing::debug!(
                target: "rondel::connection",
                parent: span,
                cipher_suite = info.cipher_suite.map(|suite| tracing::field::debug(suite.suite())),
                server_name = info.server_name,
                resumed = info.resumed,
                "TLS",
            );
        }
        (Ok(()), None) => {}
    }
}

fn info(connection: &Connection) -> Option<SessionInfo> {
    connection
        .look_at_layer(|layer| {
            let layer = layer.downcast_ref::<TlsLayer>()?;
            Some(layer.session().info())
        })
        .flatten()
}

impl StreamWriter {
    /// What the two ends of TLS have agreed on; `None` if the connection does not speak TLS. asyncio: `get_extra_info` of
    /// `cipher`, `peercert` and others.
    pub fn tls(&self) -> Option<SessionInfo> {
        info(self.connection())
    }
}

impl Transport {
    /// What the two ends of TLS have agreed on; `None` if the connection does not speak TLS.
    pub fn tls(&self) -> Option<SessionInfo> {
        info(self.connection())
    }
}
