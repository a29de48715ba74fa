//! A TLS session as a layer of a connection.

use std::any::Any;
use std::io;
use std::time::Duration;

use super::Timeouts;
use super::error::{TlsCause, TlsError, TlsPhase};
use super::session::Session;
use crate::engine::{Clear, Layer};

pub(super) struct TlsLayer {
    session: Session,
    timeouts: Timeouts,
    /// With whom, for errors.
    peer: String,
    failure: Option<TlsError>,
}

impl TlsLayer {
    pub(super) fn new(session: Session, timeouts: Timeouts, peer: String) -> Self {
        Self {
            session,
            timeouts,
            peer,
            failure: None,
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Notes the first failure, and gives it.
    fn check<T>(&mut self, result: Result<T, TlsError>) -> io::Result<T> {
        result.map_err(|error| {
            let error = error.with_peer(&self.peer);
            self.failure.get_or_insert(error).clone().into()
        })
    }

    /// The peer has not answered in time.
    pub(super) fn time_out(timeouts: Timeouts, peer: &str) -> TlsError {
        TlsError::new(TlsPhase::Handshake, TlsCause::TimedOut(timeouts.handshake)).with_peer(peer)
    }
}

impl Layer for TlsLayer {
    fn take_in(&mut self, arrived: &[u8]) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone().into());
        }
        let taken = self.session.take_in(arrived);
        self.check(taken)
    }

    fn take_in_end(&mut self) -> io::Result<()> {
        let ended = self.session.take_in_end();
        self.check(ended)
    }

    fn hand_out(&mut self, buffer: &mut [u8]) -> Clear {
        self.session.hand_out(buffer)
    }

    fn write(&mut self, clear: &[u8], wire: &mut Vec<u8>) {
        self.session.write(clear, wire);
    }

    fn take_out(&mut self, wire: &mut Vec<u8>) {
        self.session.take_out(wire);
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        // What has failed does not end well: the peer gets the alert alone, and rustls panics if a farewell follows one.
        if self.failure.is_none() {
            self.session.close(wire);
        } else {
            self.session.take_out(wire);
        }
    }

    fn is_ready(&self) -> bool {
        !self.session.is_handshaking() && self.failure.is_none()
    }

    fn is_peer_closed(&self) -> bool {
        self.session.is_peer_closed()
    }

    fn farewell_limit(&self) -> Duration {
        self.timeouts.shutdown
    }

    fn failure(&self) -> Option<io::Error> {
        self.failure.clone().map(Into::into)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
