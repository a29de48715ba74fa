//! One TLS session: bytes in, bytes out, no I/O.
//!
//! ```text
//!   arrived ──take_in──> [ deframe, decrypt ] ──hand_out──> clear text, for the user
//!   to send <──take_out── [ encrypt, frame ] <──write────── clear text, from the user
//! ```
//!
//! The shape is that of two buffers: whoever owns a session moves what arrives into it, and what it wants to say onto the wire,
//! after every call. rustls' own way in and out is used in this file and nowhere else.

use std::fmt;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, IoState, ProtocolVersion,
    ServerConfig, ServerConnection, SupportedCipherSuite,
};

use super::error::{TlsCause, TlsError, TlsPhase};
use crate::engine::Clear;

/// How much clear text is encrypted at a time before it is taken out: bounds what rustls keeps.
const PIECE: usize = 64 * 1024;

/// One end of a TLS session.
pub(crate) struct Session {
    connection: Connection,
    /// The peer has said that it will send nothing more.
    peer_closed: bool,
    /// The farewell has been said here.
    closed: bool,
}

/// What the two ends have agreed on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// TLS 1.2 or 1.3.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub cipher_suite: Option<SupportedCipherSuite>,
    /// The application protocol (ALPN).
    pub alpn: Option<Vec<u8>>,
    /// The host name that the client asked for (SNI), as the server saw it.
    pub server_name: Option<String>,
    /// The certificates that the peer has shown, its own first.
    pub peer_certificates: Option<Vec<CertificateDer<'static>>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

impl Session {
    /// The client's end. It has something to say at once.
    pub(crate) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, TlsError> {
        ClientConnection::new(config, name)
            .map(|connection| Self::new(connection.into()))
            .map_err(|error| TlsError::new(TlsPhase::Handshake, TlsCause::Protocol(error)))
    }

    /// The server's end.
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        ServerConnection::new(config)
            .map(|connection| Self::new(connection.into()))
            .map_err(|error| TlsError::new(TlsPhase::Handshake, TlsCause::Protocol(error)))
    }

    fn new(mut connection: Connection) -> Self {
        // What is written is taken out right away, see `write`; a limit would only split it anew.
        connection.set_buffer_limit(None);
        Self {
            connection,
            peer_closed: false,
            closed: false,
        }
    }

    /// Whether the two ends are still agreeing on keys.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer has said its farewell.
    pub(crate) fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    fn phase(&self) -> TlsPhase {
        if self.is_handshaking() {
            TlsPhase::Handshake
        } else if self.closed {
            TlsPhase::Shutdown
        } else {
            TlsPhase::Transfer
        }
    }

    /// Takes in what has arrived, all of it or up to a full buffer of clear text: gives how much. After the peer's farewell what
    /// arrives is not TLS any more, and left alone.
    ///
    /// An error is final; what is there to be taken out after it tells the peer.
    pub(crate) fn take_in(&mut self, arrived: &[u8]) -> Result<usize, TlsError> {
        let mut rest = arrived;
        while !rest.is_empty() && !self.peer_closed {
            let count = match self.connection.read_tls(&mut rest) {
                Ok(count) => count,
                // Its buffer of clear text is full: the user has to take some first.
                Err(_) => break,
            };
            if count == 0 {
                break;
            }
            let phase = self.phase();
            let state = self
                .process()
                .map_err(|error| TlsError::new(phase, TlsCause::Protocol(error)))?;
            self.peer_closed = state.peer_has_closed();
        }
        Ok(arrived.len() - rest.len())
    }

    /// Lets rustls work on what it has read.
    ///
    /// With debug assertions, rustls 0.23 takes its own farewell for a fatal alert, and panics instead of giving the error when the
    /// peer sends broken records after it. What a peer sends must not be able to do that, so that panic becomes the error.
    fn process(&mut self) -> Result<IoState, rustls::Error> {
        let connection = &mut self.connection;
        if !(self.closed && cfg!(debug_assertions)) {
            return connection.process_new_packets();
        }
        // The session is not used to read from any more after an error, so nothing half done is seen.
        catch_unwind(AssertUnwindSafe(|| connection.process_new_packets())).unwrap_or_else(|_| {
            Err(rustls::Error::General(
                "the peer broke the protocol after the farewell".to_owned(),
            ))
        })
    }

    /// The wire has ended: an error if the peer had not said so before.
    pub(crate) fn take_in_end(&self) -> Result<(), TlsError> {
        if self.peer_closed {
            Ok(())
        } else {
            Err(TlsError::new(self.phase(), TlsCause::Truncated))
        }
    }

    /// Moves clear text into `buffer`.
    pub(crate) fn hand_out(&mut self, buffer: &mut [u8]) -> Clear {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.connection.reader().read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(_) => break,
            }
        }
        // An empty buffer says nothing of what there is; but before the handshake is done, there is nothing in front of a farewell.
        let asked = !buffer.is_empty() || self.is_handshaking();
        match filled {
            0 if self.peer_closed && asked => Clear::End,
            0 => Clear::Nothing,
            filled => Clear::Some(filled),
        }
    }

    /// Encrypts `clear`, and appends what goes onto the wire to `wire`. During the handshake it is kept until that is done.
    pub(crate) fn write(&mut self, clear: &[u8], wire: &mut Vec<u8>) {
        for piece in clear.chunks(PIECE) {
            // Without a limit on its buffer it takes everything.
            let _ = self.connection.writer().write_all(piece);
            self.take_out(wire);
        }
    }

    /// Appends to `wire` what the session wants to say.
    pub(crate) fn take_out(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // A `Vec` refuses nothing.
            if !matches!(self.connection.write_tls(wire), Ok(count) if count > 0) {
                break;
            }
        }
    }

    /// Says the farewell, once: nothing can be written after it.
    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        if !self.closed {
            self.closed = true;
            self.connection.send_close_notify();
            self.take_out(wire);
        }
    }

    /// What the two ends have agreed on, as far as they have.
    pub(crate) fn info(&self) -> SessionInfo {
        SessionInfo {
            version: self.connection.protocol_version(),
            cipher_suite: self.connection.negotiated_cipher_suite(),
            alpn: self.connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: match &self.connection {
                Connection::Server(server) => server.server_name().map(ToOwned::to_owned),
                Connection::Client(_) => None,
            },
            peer_certificates: self
                .connection
                .peer_certificates()
                .map(|chain| chain.to_vec()),
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("handshaking", &self.is_handshaking())
            .field("peer_closed", &self.peer_closed)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
