//! Without the feature `tracing` there are no spans, and nothing of them in what is compiled. See `span.rs`.

use rondel_loop::Registration;

use super::Side;
use crate::peer::Peer;

#[derive(Clone)]
pub(crate) struct ConnectionSpan;

impl ConnectionSpan {
    #[inline(always)]
    pub(super) fn new(_: &Registration, _: &Peer, _: Side) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }

    #[inline(always)]
    pub(super) fn closed(&self, _: &'static str, _: impl FnOnce() -> Option<std::io::Error>) {}
}
