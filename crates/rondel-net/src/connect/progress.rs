//! How far connecting has come, and what is told of it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;

use super::attempt::Failure;
use super::error::{AttemptStep, ConnectAttempt, ConnectPhase};

/// What is left to tell when the time is up.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) phase: Cell<ConnectPhase>,
    /// How many there are to try.
    pub(super) addresses: Cell<usize>,
    pub(super) tried: RefCell<Vec<Tried>>,
}

/// An address that an attempt was begun for.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) address: SocketAddr,
    /// `None`: still under way.
    pub(super) failure: Option<Failure>,
}

impl Progress {
    pub(super) fn into_attempts(self) -> Vec<ConnectAttempt> {
        let tried = self.tried.into_inner();
        tried.into_iter().map(Tried::into_attempt).collect()
    }
}

impl Tried {
    fn into_attempt(self) -> ConnectAttempt {
        let failure = self.failure.unwrap_or_else(|| Failure {
            step: AttemptStep::Connect,
            error: io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        });
        ConnectAttempt::new(self.address, failure.step, failure.error)
    }
}
