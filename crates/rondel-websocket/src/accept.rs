//! The server's end of the handshake.

use http::{Request, Response, StatusCode};
use rondel_net::{ReadError, StreamReader, StreamWriter};
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::error::{HandshakeError, WebSocketError};
use crate::handshake::{self, END};
use crate::socket::WebSocket;

impl WebSocket {
    /// Takes a connection over that a server has accepted: reads the client's request, and agrees.
    ///
    /// There is no time limit but the caller's: a client that says nothing is waited for.
    ///
    /// # Errors
    /// [`WebSocketError::Handshake`], [`WebSocketError::Io`]. A client that asks for something else has been told 400.
    ///
    /// # Cancel safety
    /// Dropped, it closes the connection.
    pub async fn accept(
        reader: StreamReader,
        writer: StreamWriter,
    ) -> Result<Self, WebSocketError> {
        Self::accept_with(reader, writer, None, |_, response| Ok(response)).await
    }

    /// The same with limits, and with a look at the request: `choose` may add headers to the answer (a protocol, a cookie), or refuse with a
    /// status.
    ///
    /// # Errors
    /// As [`accept`](WebSocket::accept); [`HandshakeError::Rejected`] if `choose` refuses.
    ///
    /// # Cancel safety
    /// As [`accept`](WebSocket::accept).
    pub async fn accept_with(
        mut reader: StreamReader,
        writer: StreamWriter,
        config: Option<WebSocketConfig>,
        choose: impl FnOnce(&Request<()>, Response<()>) -> Result<Response<()>, StatusCode>,
    ) -> Result<Self, WebSocketError> {
        let head = reader.read_until(END).await.map_err(|error| match error {
            ReadError::Incomplete { .. } => HandshakeError::Ended.into(),
            error => WebSocketError::from(error),
        })?;
        let agreed = match handshake::read_request(&head) {
            Ok((request, response)) => choose(&request, response)
                .map_err(|status| (HandshakeError::Rejected(status), status)),
            Err(error) => Err((error, StatusCode::BAD_REQUEST)),
        };
        match agreed {
            Ok(response) => {
                writer
                    .write_all(&handshake::write_response(&response))
                    .await?;
                let pair = (reader, writer).into();
                Ok(Self::begin(
                    pair,
                    Role::Server,
                    config,
                    Vec::new(),
                    response,
                ))
            }
            Err((error, status)) => {
                writer.write_all(&handshake::refusal(status)).await?;
                Err(error.into())
            }
        }
    }
}
