//! Callbacks' spans.

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::kept::{Inside, Kept};
use crate::site::Site;

/// A callback's span, entered; left and closed with this.
pub(crate) struct CallbackSpan(Option<Kept>);

/// Enters the span of a callback that was scheduled at `site`.
#[inline]
pub(crate) fn callback(site: impl FnOnce() -> Site) -> CallbackSpan {
    // As for tasks: without a subscriber this is all.
    if LevelFilter::current() < Level::TRACE {
        return CallbackSpan(None);
    }
    CallbackSpan(enter(site))
}

#[cold]
fn enter(site: impl FnOnce() -> Site) -> Option<Kept> {
    // The site may be somebody else's code, too.
    let span = Kept::of(|| {
        tracing::trace_span!(
            target: "rondel::callback",
            parent: None,
            "callback",
            scheduled_at = %site(),
        )
    });
    if span.is_disabled() {
        return None;
    }
    // Left by the drop below.
    std::mem::forget(Inside::of(&span));
    Some(span)
}

impl CallbackSpan {
    /// The callback has returned.
    #[inline]
    pub(crate) fn leave(self) {}
}

impl Drop for CallbackSpan {
    #[inline]
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            close(span);
        }
    }
}

#[cold]
fn close(span: Kept) {
    drop(Inside(&span));
}
