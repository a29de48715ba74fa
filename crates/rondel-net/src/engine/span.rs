//! A connection's span of `tracing`: from when it is there until nobody holds it any more.
//!
//! A protocol is called inside it, and a server's handlers are spawned inside it, by which their tasks belong to it. Code that merely
//! reads and writes is not inside: it may be about several connections.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rondel_loop::Registration;
use socket2::SockRef;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};

use super::Side;
use crate::peer::Peer;

/// Empty without a subscriber. One word, since every idle connection has one.
#[derive(Clone)]
pub(crate) struct ConnectionSpan(Option<Box<Span>>);

impl ConnectionSpan {
    #[inline]
    pub(super) fn new(registration: &Registration, peer: &Peer, side: Side) -> Self {
        if LevelFilter::current() < Level::DEBUG {
            return Self(None);
        }
        Self::begin(registration, peer, side)
    }

    #[cold]
    fn begin(registration: &Registration, peer: &Peer, side: Side) -> Self {
        let local = SockRef::from(registration).local_addr().ok();
        let local = local.and_then(|local| local.as_socket());
        let span = tracing::debug_span!(
            target: "rondel::connection",
            parent: None,
            "connection",
            side = side.name(),
            peer = %peer,
            local = local.map(display),
            tls = Empty,
        );
        if span.is_disabled() {
            return Self(None);
        }
        span.follows_from(Span::current());
        tracing::debug!(target: "rondel::connection", parent: &span, "open");
        Self(Some(Box::new(span)))
    }

    /// The span itself.
    #[cfg(feature = "tls-core")]
    pub(crate) fn get(&self) -> Option<&Span> {
        self.0.as_deref()
    }

    /// Runs `f` inside it.
    #[inline]
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.0 {
            None => f(),
            Some(span) => span.in_scope(f),
        }
    }

    /// The descriptor is closed.
    #[inline]
    pub(super) fn closed(&self, how: &'static str, error: impl FnOnce() -> Option<io::Error>) {
        if let Some(span) = &self.0 {
            tell_closed(span, how, error().as_ref());
        }
    }
}

#[cold]
fn tell_closed(span: &Span, how: &str, error: Option<&io::Error>) {
    // Closing is not to be cut short by a subscriber that panics; the panic hook has told of it.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        tracing::debug!(
            target: "rondel::connection",
            parent: span,
            error = error.map(display),
            "{how}",
        );
    }));
}
