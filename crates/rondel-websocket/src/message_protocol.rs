//! [`WebSocketProtocol`]: a WebSocket as a protocol, called with each message.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;

use http::{HeaderMap, StatusCode, Uri};
use rondel_net::{Protocol, Transport};
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use crate::bridge::Memory;
use crate::error::{HandshakeError, WebSocketError};
use crate::handshake::{self, Asked, END};
use crate::message_transport::MessageTransport;

/// How long a head may be.
const HEAD: usize = 64 * 1024;

/// What is called with the messages of a WebSocket.
///
/// The order is [`opened`](MessageProtocol::opened), any number of times [`message_received`](MessageProtocol::message_received), and
/// [`lost`](MessageProtocol::lost), once, whatever happens; it alone if the handshake fails.
#[allow(unused_variables, reason = "named for the documentation")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not called with messages",
    note = "implement `MessageProtocol` for it"
)]
pub trait MessageProtocol: 'static {
    /// The two have agreed.
    fn opened(&mut self, transport: &MessageTransport) {}

    /// A message has come: text or binary, or a ping, which has been answered, a pong, or the other end's farewell, which is
    /// answered, too.
    fn message_received(&mut self, transport: &MessageTransport, message: Message);

    /// More is queued than the high water mark: one should send no more.
    fn pause_writing(&mut self, transport: &MessageTransport) {}

    /// The queue is down at the low water mark again.
    fn resume_writing(&mut self, transport: &MessageTransport) {}

    /// It is over. Without an error after a farewell of either end.
    fn lost(&mut self, error: Option<WebSocketError>) {}
}

/// A [`Protocol`] of bytes that calls a [`MessageProtocol`]: no task, and no buffer while nothing comes.
///
/// ```
/// use rondel_net::create_server;
/// use rondel_websocket::{Message, MessageProtocol, MessageTransport, WebSocket, WebSocketProtocol};
///
/// struct Echo;
///
/// impl MessageProtocol for Echo {
///     fn message_received(&mut self, transport: &MessageTransport, message: Message) {
///         if message.is_text() || message.is_binary() {
///             // A failure is told by `lost`.
///             let _ = transport.send(message);
///         }
///     }
/// }
///
/// # rondel_loop::run(async {
/// let server = create_server(|| WebSocketProtocol::server(Echo), "127.0.0.1:0").await?;
///
/// let mut socket = WebSocket::connect(&format!("ws://{}/", server.local_addrs()[0])).await?;
/// socket.send("hello").await?;
/// assert_eq!(socket.receive().await?, Some(Message::text("hello")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
pub struct WebSocketProtocol<P> {
    protocol: P,
    config: Option<WebSocketConfig>,
    stage: Stage,
    /// Why it is over, if it is known before the connection is.
    error: Option<WebSocketError>,
}

enum Stage {
    /// A client's head is being received.
    Asked(Vec<u8>),
    /// The server's answer is.
    Asking(Asked, Vec<u8>),
    Open(MessageTransport),
    Over,
}

impl<P: MessageProtocol> WebSocketProtocol<P> {
    /// The server's end, for `create_server`.
    pub const fn server(protocol: P) -> Self {
        Self {
            protocol,
            config: None,
            stage: Stage::Asked(Vec::new()),
            error: None,
        }
    }

    /// The client's end, for `create_connection` to the host that `url` names.
    ///
    /// # Errors
    /// [`HandshakeError::Url`].
    pub fn client(protocol: P, url: &str) -> Result<Self, HandshakeError> {
        let url: Uri = url
            .parse()
            .map_err(|error| HandshakeError::Url(format!("{error}")))?;
        let asked = handshake::ask(&url, &[], &HeaderMap::new())?;
        Ok(Self {
            protocol,
            config: None,
            stage: Stage::Asking(asked, Vec::new()),
            error: None,
        })
    }

    /// Limits for messages and frames. Default: tungstenite's, 64 and 16 MiB.
    #[must_use]
    pub fn config(mut self, config: WebSocketConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// The protocol inside.
    pub const fn get_ref(&self) -> &P {
        &self.protocol
    }

    /// The protocol inside.
    pub const fn get_mut(&mut self) -> &mut P {
        &mut self.protocol
    }

    /// Goes on with the handshake; gives what comes behind it, when it is over.
    fn shake(&mut self, transport: &Transport, data: &[u8]) -> Option<Vec<u8>> {
        let (Stage::Asked(head) | Stage::Asking(_, head)) = &mut self.stage else {
            return None;
        };
        head.extend_from_slice(data);
        let Some(at) = head.windows(END.len()).position(|four| four == END) else {
            if head.len() > HEAD {
                let too_long = HandshakeError::Malformed("the head has no end".to_owned());
                self.refuse(transport, too_long);
            }
            return None;
        };
        let rest = head.split_off(at + END.len());
        let (role, answered) = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Asked(head) => {
                let answer = handshake::read_request(&head).map(|(_, response)| response);
                (Role::Server, answer)
            }
            Stage::Asking(asked, head) => (Role::Client, asked.answered(&head)),
            Stage::Open(_) | Stage::Over => return None,
        };
        let response = match answered {
            Ok(response) => response,
            Err(error) => {
                let is_server = role == Role::Server;
                self.stage = match is_server {
                    true => Stage::Asked(Vec::new()),
                    false => Stage::Over,
                };
                self.refuse(transport, error);
                return None;
            }
        };
        if role == Role::Server {
            // A failure is told when the connection is lost.
            let _ = transport.write(&handshake::write_response(&response));
        }
        let context = Box::new(WebSocketContext::new(role, self.config));
        let messages = MessageTransport {
            transport: transport.clone(),
            context: Rc::new(Cell::new(Some(context))),
        };
        self.stage = Stage::Open(messages.clone());
        self.protocol.opened(&messages);
        Some(rest)
    }

    fn refuse(&mut self, transport: &Transport, error: HandshakeError) {
        if matches!(self.stage, Stage::Asked(_)) {
            let _ = transport.write(&handshake::refusal(StatusCode::BAD_REQUEST));
        }
        self.stage = Stage::Over;
        self.error = Some(error.into());
        transport.close();
    }

    /// Reads what has come, and tells the protocol of each message.
    fn read(&mut self, data: &[u8], ended: bool) {
        let Stage::Open(messages) = &self.stage else {
            return;
        };
        let messages = messages.clone();
        let mut memory = Memory {
            input: data,
            ended,
            output: Vec::new(),
        };
        loop {
            let Some(mut context) = messages.context.take() else {
                return;
            };
            let outcome = context.read(&mut memory);
            messages.context.set(Some(context));
            if !memory.output.is_empty() {
                let _ = messages.transport.write(&memory.output);
                memory.output.clear();
            }
            match outcome {
                Ok(message) => self.protocol.message_received(&messages, message),
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return;
                }
                Err(error) => {
                    self.error = match WebSocketError::of(error) {
                        WebSocketError::Closed => None,
                        error => Some(error),
                    };
                    self.stage = Stage::Over;
                    messages.transport.close();
                    return;
                }
            }
        }
    }
}

impl<P: MessageProtocol> Protocol for WebSocketProtocol<P> {
    fn connection_made(&mut self, transport: &Transport) {
        if let Stage::Asking(asked, _) = &self.stage {
            let _ = transport.write(&asked.head);
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if matches!(self.stage, Stage::Open(_)) {
            self.read(data, false);
        } else if let Some(rest) = self.shake(transport, data) {
            self.read(&rest, false);
        }
    }

    fn eof_received(&mut self, _: &Transport) -> bool {
        self.read(&[], true);
        false
    }

    fn pause_writing(&mut self, _: &Transport) {
        if let Stage::Open(messages) = &self.stage {
            self.protocol.pause_writing(messages);
        }
    }

    fn resume_writing(&mut self, _: &Transport) {
        if let Stage::Open(messages) = &self.stage {
            self.protocol.resume_writing(messages);
        }
    }

    fn connection_lost(&mut self, _: &Transport, error: Option<io::Error>) {
        let known = self.error.take().or_else(|| error.map(WebSocketError::Io));
        let error = known.or(match self.stage {
            Stage::Asked(_) | Stage::Asking(..) => Some(HandshakeError::Ended.into()),
            Stage::Open(_) | Stage::Over => None,
        });
        self.stage = Stage::Over;
        self.protocol.lost(error);
    }
}

impl<P: fmt::Debug> fmt::Debug for WebSocketProtocol<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketProtocol")
            .field("protocol", &self.protocol)
            .field("open", &matches!(self.stage, Stage::Open(_)))
            .finish_non_exhaustive()
    }
}
