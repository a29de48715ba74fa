//! [`MessageTransport`]: what a protocol sends messages by.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use rondel_net::Transport;
use tungstenite::Message;
use tungstenite::protocol::{CloseFrame, WebSocketContext};

use crate::bridge::Memory;
use crate::error::WebSocketError;

/// What a [`MessageProtocol`](crate::MessageProtocol) sends messages by. Cheap to clone; usable from anywhere on the loop's thread, while the
/// protocol is being called and at any other time. `!Send`.
#[derive(Clone)]
pub struct MessageTransport {
    pub(crate) transport: Transport,
    /// Taken out while it is used.
    pub(crate) context: Rc<Cell<Option<Box<WebSocketContext>>>>,
}

impl MessageTransport {
    /// Accepts a message whole, to be sent with what else this turn sends. Does not wait; after
    /// [`pause_writing`](crate::MessageProtocol::pause_writing) one should send no more.
    ///
    /// # Errors
    /// [`WebSocketError::Closed`] after a farewell of either end; [`WebSocketError::Io`] if more would be queued than the transport's
    /// hard limit allows, or the connection has failed.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), WebSocketError> {
        let message = message.into();
        self.act(|context, memory| {
            context.write(memory, message)?;
            context.flush(memory)
        })
    }

    /// Says farewell. The connection is closed when the other end has answered it.
    ///
    /// # Errors
    /// As [`send`](MessageTransport::send).
    pub fn close(&self, farewell: Option<CloseFrame>) -> Result<(), WebSocketError> {
        self.act(|context, memory| context.close(memory, farewell))
    }

    /// The connection underneath: its peer, its water marks, [`abort`](Transport::abort).
    pub const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Has the context do something, and sends what comes of it.
    fn act(
        &self,
        act: impl FnOnce(&mut WebSocketContext, &mut Memory<'_>) -> tungstenite::Result<()>,
    ) -> Result<(), WebSocketError> {
        // Only while it reads is it out, and no code of others runs then.
        let mut context = self.context.take().ok_or(WebSocketError::Closed)?;
        let mut memory = Memory::default();
        let outcome = act(&mut context, &mut memory);
        self.context.set(Some(context));
        if !memory.output.is_empty() {
            self.transport.write(&memory.output)?;
        }
        outcome.map_err(WebSocketError::of)
    }
}

impl fmt::Debug for MessageTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageTransport")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
