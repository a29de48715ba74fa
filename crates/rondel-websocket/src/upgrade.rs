//! [`upgrade`]: a request to an HTTP server becomes a WebSocket.

use std::fmt;

use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use rondel_hyper::HyperIo;
use rondel_net::StreamPair;
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::error::{HandshakeError, WebSocketError};
use crate::handshake;
use crate::socket::WebSocket;

/// Agrees to a request that asks for a WebSocket: gives the answer to send, and what becomes the WebSocket when it is sent.
///
/// The service answers, and the WebSocket lives in a task of its own:
///
/// ```
/// use rondel_hyper::bytes::Bytes;
/// use rondel_hyper::http::{Request, Response};
/// use rondel_hyper::http_body_util::Full;
/// use rondel_hyper::hyper::service::service_fn;
/// use rondel_hyper::server::RequestBody;
/// use rondel_hyper::{BoxError, HttpServer};
/// use rondel_websocket::{Message, WebSocket, WebSocketError, upgrade};
///
/// # rondel_loop::run(async {
/// let service = service_fn(async |mut request: Request<RequestBody>| {
///     let (response, upgrading) = upgrade(&mut request)?;
///     rondel_loop::spawn(async move {
///         let mut socket = upgrading.finish().await?;
///         while let Some(message) = socket.receive().await? {
///             socket.send(message).await?;
///         }
///         Ok::<(), WebSocketError>(())
///     })
///     .detach_reported();
///     Ok::<_, BoxError>(response.map(|()| Full::<Bytes>::default()))
/// });
/// let server = HttpServer::new().serve(service, "127.0.0.1:0").await?;
///
/// let mut socket = WebSocket::connect(&format!("ws://{}/", server.local_addrs()[0])).await?;
/// socket.send("echo").await?;
/// assert_eq!(socket.receive().await?, Some(Message::text("echo")));
/// # Ok::<(), BoxError>(())
/// # }).unwrap().unwrap();
/// ```
///
/// # Errors
/// [`HandshakeError`] if it does not ask for that; 400 is the answer then. An upgrade exists in HTTP/1.1 only.
pub fn upgrade<B>(request: &mut Request<B>) -> Result<(Response<()>, Upgrade), HandshakeError> {
    let mut asked = Request::new(());
    *asked.method_mut() = request.method().clone();
    *asked.version_mut() = request.version();
    *asked.headers_mut() = request.headers().clone();
    let response = handshake::agree(&asked)?;
    let upgrade = Upgrade {
        upgrading: hyper::upgrade::on(request),
        config: None,
        response: response.clone(),
    };
    Ok((response, upgrade))
}

/// What becomes a WebSocket when the answer has been sent.
#[must_use = "nothing becomes of it unless it is finished"]
pub struct Upgrade {
    upgrading: OnUpgrade,
    config: Option<WebSocketConfig>,
    response: Response<()>,
}

impl Upgrade {
    /// Limits for messages and frames. Default: tungstenite's, 64 and 16 MiB.
    pub fn config(mut self, config: WebSocketConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// The WebSocket, when the answer has been sent. To be awaited in a task of its own: the service has to answer first.
    ///
    /// # Errors
    /// [`HandshakeError::Upgrade`] if the client has gone, or the server is no `HttpServer` of rondel's.
    pub async fn finish(self) -> Result<WebSocket, WebSocketError> {
        let upgraded = self.upgrading.await.map_err(HandshakeError::Upgrade)?;
        let parts = upgraded
            .downcast::<HyperIo>()
            .map_err(|_| HandshakeError::WrongThread)?;
        let (reader, writer, mut early) = parts
            .io
            .into_inner()
            .map_err(|_| HandshakeError::WrongThread)?;
        // What hyper has read comes before what it has not seen.
        let mut first = parts.read_buf.to_vec();
        first.append(&mut early);
        let pair = StreamPair::new(reader, writer);
        Ok(WebSocket::begin(
            pair,
            Role::Server,
            self.config,
            first,
            self.response,
        ))
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}
