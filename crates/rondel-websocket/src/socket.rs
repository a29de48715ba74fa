//! [`WebSocket`]: messages, sent and received.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use futures_sink::Sink;
use http::Response;
use rondel_loop::timeout;
use rondel_net::StreamPair;
use tungstenite::Message;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};

use crate::bridge::Bridge;
use crate::error::WebSocketError;

/// How long a farewell waits for the other end's.
const FAREWELL: Duration = Duration::from_secs(10);

/// A WebSocket: messages, sent and received.
///
/// Pings are answered by themselves, whenever somebody receives. A message that is too long for the
/// [limits](WebSocketConfig) (64 MiB, frames of 16 MiB, unless set) is an error.
///
/// It is a `Stream` of messages and a `Sink` for them, too.
///
/// Dropped, it closes the connection without a farewell; [`close`](WebSocket::close) says it. `!Send`.
pub struct WebSocket {
    shared: Rc<Shared>,
    response: Response<()>,
    /// Given to it as a `Sink`, and not taken yet.
    given: Option<Message>,
    /// Its end as a `Sink`.
    closing: Option<Closing>,
}

type Closing = Pin<Box<dyn Future<Output = Result<(), WebSocketError>>>>;

/// The receiving half; see [`WebSocket::into_split`].
pub struct WebSocketReader(Rc<Shared>);

/// The sending half; see [`WebSocket::into_split`].
#[derive(Clone)]
pub struct WebSocketWriter(Rc<Shared>);

/// What the halves share. Taken out while it is used, since a waker is foreign code, which may come back here.
struct Shared(Cell<Option<Box<Inside>>>);

struct Inside {
    context: WebSocketContext,
    pair: StreamPair,
}

impl Shared {
    /// Does something with it, as far as that can be done at once.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut WebSocketContext, &mut Bridge<'_, '_>) -> tungstenite::Result<T>,
    ) -> Poll<tungstenite::Result<T>> {
        let Some(mut inside) = self.0.take() else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let Inside { context, pair } = &mut *inside;
        let outcome = act(context, &mut Bridge { pair, cx });
        self.0.set(Some(inside));
        match outcome {
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Poll::Pending
            }
            outcome => Poll::Ready(outcome),
        }
    }

    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, WebSocketError>> {
        let outcome = ready!(self.poll(cx, |context, bridge| context.read(bridge)));
        Poll::Ready(match outcome {
            Ok(message) => Ok(Some(message)),
            Err(error) => match WebSocketError::of(error) {
                WebSocketError::Closed => Ok(None),
                error => Err(error),
            },
        })
    }

    async fn send(&self, message: Message) -> Result<(), WebSocketError> {
        let mut message = Some(message);
        poll_fn(|cx| self.poll_send(cx, &mut message)).await
    }

    /// Takes the message, if there is one, and sends all that was taken.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), WebSocketError>> {
        let outcome = self.poll(cx, |context, bridge| {
            if let Some(first) = message.take() {
                match context.write(bridge, first) {
                    // It is taken all the same, and goes out below.
                    Err(tungstenite::Error::Io(error))
                        if error.kind() == io::ErrorKind::WouldBlock => {}
                    outcome => outcome?,
                }
            }
            context.flush(bridge)
        });
        outcome.map(|outcome| outcome.map_err(WebSocketError::of))
    }

    async fn close(&self, farewell: Option<CloseFrame>) -> Result<(), WebSocketError> {
        let ending = async {
            let mut said = false;
            let saying = poll_fn(|cx| {
                self.poll(cx, |context, bridge| {
                    if std::mem::replace(&mut said, true) {
                        return context.flush(bridge);
                    }
                    context.close(bridge, farewell.clone())
                })
            });
            match saying.await.map_err(WebSocketError::of) {
                Ok(()) | Err(WebSocketError::Closed) => {}
                Err(error) => return Err(error),
            }
            while poll_fn(|cx| self.poll_receive(cx)).await?.is_some() {}
            Ok(())
        };
        let outcome = timeout(FAREWELL, ending).await;
        if let Some(inside) = self.0.take() {
            inside.pair.writer().close();
            self.0.set(Some(inside));
        }
        // Whoever does not answer a farewell has been waited for long enough.
        outcome.unwrap_or(Ok(()))
    }
}

impl WebSocket {
    /// After the handshake: `early` was received behind it.
    pub(crate) fn begin(
        pair: StreamPair,
        role: Role,
        config: Option<WebSocketConfig>,
        early: Vec<u8>,
        response: Response<()>,
    ) -> Self {
        let context = WebSocketContext::from_partially_read(early, role, config);
        let inside = Box::new(Inside { context, pair });
        Self {
            shared: Rc::new(Shared(Cell::new(Some(inside)))),
            response,
            given: None,
            closing: None,
        }
    }

    /// The server's answer in the handshake: which of the protocols it has chosen, for instance.
    pub const fn response(&self) -> &Response<()> {
        &self.response
    }

    /// The next message; `None` after the other end's farewell, which is given as a [`Message::Close`] before. Pings and pongs are given,
    /// too; pings have been answered.
    ///
    /// # Errors
    /// [`WebSocketError::Io`], [`WebSocketError::Protocol`]: among them an end without a farewell.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has lost nothing: half a message stays to be completed.
    pub async fn receive(&mut self) -> Result<Option<Message>, WebSocketError> {
        poll_fn(|cx| self.shared.poll_receive(cx)).await
    }

    /// Sends a message: text by a `String` or `&str`, binary by a `Vec<u8>` or `&[u8]`. Waits while the peer is slow.
    ///
    /// # Errors
    /// [`WebSocketError::Closed`] after a farewell of either end; [`WebSocketError::Io`]; [`WebSocketError::Protocol`] for one
    /// that is too long.
    ///
    /// # Cancel safety
    /// Dropped after it was polled, the message is sent whole with the next one, or when somebody receives.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), WebSocketError> {
        self.shared.send(message.into()).await
    }

    /// Says farewell, waits for the other end's, at most 10 s, and closes. Messages that come meanwhile are dropped.
    ///
    /// # Errors
    /// [`WebSocketError::Io`], [`WebSocketError::Protocol`]; it is closed then all the same.
    pub async fn close(self) -> Result<(), WebSocketError> {
        self.shared.close(None).await
    }

    /// The same with a reason.
    ///
    /// # Errors
    /// As [`close`](WebSocket::close).
    pub async fn close_with(self, farewell: CloseFrame) -> Result<(), WebSocketError> {
        self.shared.close(Some(farewell)).await
    }

    /// Splits it for two tasks. The connection is closed when both halves are gone.
    pub fn into_split(self) -> (WebSocketReader, WebSocketWriter) {
        let writer = WebSocketWriter(Rc::clone(&self.shared));
        (WebSocketReader(self.shared), writer)
    }
}

impl WebSocketReader {
    /// The next message; see [`WebSocket::receive`].
    ///
    /// # Errors
    /// As [`WebSocket::receive`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::receive`].
    pub async fn receive(&mut self) -> Result<Option<Message>, WebSocketError> {
        poll_fn(|cx| self.0.poll_receive(cx)).await
    }
}

impl WebSocketWriter {
    /// Sends a message; see [`WebSocket::send`].
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), WebSocketError> {
        self.0.send(message.into()).await
    }

    /// Says farewell, and lets the other half hear the other end's: its [`receive`](WebSocketReader::receive) ends then.
    ///
    /// # Errors
    /// As [`send`](WebSocketWriter::send).
    pub async fn close(&self, farewell: Option<CloseFrame>) -> Result<(), WebSocketError> {
        self.send(Message::Close(farewell)).await
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, WebSocketError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.shared.poll_receive(cx).map(Result::transpose)
    }
}

/// One message waits to be sent, or is being sent; whoever sends another waits for that. To close it is to say farewell, to wait for
/// the other end's, at most 10 s, and to close the connection; as [`WebSocket::close`], which drops what comes meanwhile.
impl Sink<Message> for WebSocket {
    type Error = WebSocketError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        self.poll_flush(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), WebSocketError> {
        self.given = Some(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        let Self { shared, given, .. } = self.get_mut();
        shared.poll_send(cx, given)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WebSocketError>> {
        if self.given.is_some() {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        let Self {
            shared, closing, ..
        } = self.get_mut();
        let ending = closing.get_or_insert_with(|| {
            let shared = Rc::clone(shared);
            Box::pin(async move { shared.close(None).await })
        });
        let outcome = ready!(ending.as_mut().poll(cx));
        *closing = None;
        Poll::Ready(outcome)
    }
}

impl Stream for WebSocketReader {
    type Item = Result<Message, WebSocketError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_receive(cx).map(Result::transpose)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(inside) = self.0.take() else {
            return f.write_str("in use");
        };
        let written = f
            .debug_struct("Shared")
            .field("pair", &inside.pair)
            .field("can_read", &inside.context.can_read())
            .field("can_write", &inside.context.can_write())
            .finish();
        self.0.set(Some(inside));
        written
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocket").field(&self.shared).finish()
    }
}

impl fmt::Debug for WebSocketReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocketReader").field(&self.0).finish()
    }
}

impl fmt::Debug for WebSocketWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocketWriter").field(&self.0).finish()
    }
}
