//! The two kinds of protocols, brought together.

use std::io;

use crate::engine::{Connection, Received};
use crate::transport::Transport;
use crate::transport::protocol::{BufferedProtocol, Protocol};

/// What a buffered protocol is told would be convenient. asyncio's value is the size of its own buffer, 256 KiB.
const SIZE_HINT: usize = 64 * 1024;

/// Stands for [`Protocol`] in [`AnyProtocol`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Plain;

/// Stands for [`BufferedProtocol`] in [`AnyProtocol`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Buffered;

/// A [`Protocol`] or a [`BufferedProtocol`]: whatever is one of them is one of these. The parameter, which says which, is
/// found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a protocol",
    label = "neither a `Protocol` nor a `BufferedProtocol`",
    note = "a factory returns the protocol: `|| Echo`, not `Echo`"
)]
pub trait AnyProtocol<Kind>: Sealed<Kind> {}

impl<P: Sealed<Kind>, Kind: 'static> AnyProtocol<Kind> for P {}

/// What a transport calls.
#[allow(unnameable_types, reason = "sealed: nobody else implements it")]
pub trait Sealed<Kind>: Sized + 'static {
    #[doc(hidden)]
    fn made(&mut self, transport: &Transport);
    /// Receives once, and hands over what that brought.
    #[doc(hidden)]
    fn receive(&mut self, transport: &Transport) -> Step;
    #[doc(hidden)]
    fn ended(&mut self, transport: &Transport) -> bool;
    #[doc(hidden)]
    fn paused(&mut self, transport: &Transport, paused: bool);
    #[doc(hidden)]
    fn lost(&mut self, transport: &Transport, error: Option<io::Error>);
}

/// What came of receiving.
#[allow(unnameable_types, reason = "belongs to a sealed trait")]
#[derive(Debug)]
pub enum Step {
    /// Something was handed over.
    Some {
        /// Whether there may be more.
        more: bool,
    },
    /// There is nothing more, for now or for good.
    Nothing,
    /// The protocol has nowhere to receive to.
    NoBuffer,
}

/// What the end or the lack of bytes means for a protocol.
fn without_bytes<Kind, P: Sealed<Kind>>(
    protocol: &mut P,
    transport: &Transport,
    received: &Received,
) -> Step {
    if matches!(received, Received::End) {
        let keeps = protocol.ended(transport);
        // With nothing to send either, there would be nothing left.
        if !(keeps && transport.connection().is_for_sending()) {
            transport.close();
        }
    }
    Step::Nothing
}

impl<P: Protocol> Sealed<Plain> for P {
    fn made(&mut self, transport: &Transport) {
        self.connection_made(transport);
    }

    #[inline]
    fn receive(&mut self, transport: &Transport) -> Step {
        let connection: &Connection = transport.connection();
        let mut buffer = connection.receive_buffer();
        match connection.try_receive(&mut buffer) {
            Received::Some(count, more) => {
                self.data_received(transport, &buffer[..count]);
                Step::Some { more }
            }
            other => {
                drop(buffer);
                without_bytes(self, transport, &other)
            }
        }
    }

    fn ended(&mut self, transport: &Transport) -> bool {
        self.eof_received(transport)
    }

    fn paused(&mut self, transport: &Transport, paused: bool) {
        if paused {
            self.pause_writing(transport);
        } else {
            self.resume_writing(transport);
        }
    }

    fn lost(&mut self, transport: &Transport, error: Option<io::Error>) {
        self.connection_lost(transport, error);
    }
}

impl<P: BufferedProtocol> Sealed<Buffered> for P {
    fn made(&mut self, transport: &Transport) {
        self.connection_made(transport);
    }

    fn receive(&mut self, transport: &Transport) -> Step {
        let buffer = self.get_buffer(SIZE_HINT);
        // It may have closed or paused.
        if !transport.connection().may_receive() {
            return Step::Nothing;
        }
        if buffer.is_empty() {
            return Step::NoBuffer;
        }
        match transport.connection().try_receive(buffer) {
            Received::Some(count, more) => {
                self.buffer_updated(transport, count);
                Step::Some { more }
            }
            other => without_bytes(self, transport, &other),
        }
    }

    fn ended(&mut self, transport: &Transport) -> bool {
        self.eof_received(transport)
    }

    fn paused(&mut self, transport: &Transport, paused: bool) {
        if paused {
            self.pause_writing(transport);
        } else {
            self.resume_writing(transport);
        }
    }

    fn lost(&mut self, transport: &Transport, error: Option<io::Error>) {
        self.connection_lost(transport, error);
    }
}
