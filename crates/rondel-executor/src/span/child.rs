//! Spans of the children of groups.

use std::rc::Rc;

use tracing::level_filters::LevelFilter;

use super::kept::{Inside, Kept};
use crate::site::Site;

/// A child's span, if somebody wants it: inside that of the task that polls the group.
pub(crate) struct ChildSpan(Option<Kept>);

impl ChildSpan {
    /// Made where the child is spawned.
    #[inline]
    pub(crate) fn new(site: Option<Site>, name: Option<&Rc<str>>) -> Self {
        if LevelFilter::current() < LevelFilter::DEBUG {
            return Self(None);
        }
        Self::begin(site, name)
    }

    #[cold]
    fn begin(site: Option<Site>, name: Option<&Rc<str>>) -> Self {
        // The group's task is current, and outlives its children: it may be the parent.
        let span = Kept::of(|| {
            tracing::debug_span!(
                target: "rondel::task",
                "child",
                name = name.map(|name| &**name),
                spawned_at = site.map(tracing::field::display),
            )
        });
        Self((!span.is_disabled()).then_some(span))
    }

    /// Runs `f`, a poll or a drop, inside it.
    #[inline]
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.0 {
            None => f(),
            Some(span) => {
                let _inside = Inside::of(span);
                f()
            }
        }
    }
}
