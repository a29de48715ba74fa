//! Spans that are kept, entered and left; no panic of a subscriber comes out of here.

use std::mem;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::Span;
use tracing::span::Id;

/// A span that is kept, and closed with this.
pub(super) struct Kept(Span);

impl Kept {
    pub(super) fn of(make: impl FnOnce() -> Span) -> Self {
        Self(contained(make).unwrap_or_else(Span::none))
    }

    /// The parent of a task that was spawned inside this span, if it is to be one. A connection's is: it has no parent itself. With
    /// others, tasks that spawn each other would have more and more ancestors, none of which would be closed.
    pub(super) fn as_parent(&self) -> Option<Id> {
        let metadata = self.0.metadata()?;
        if metadata.target() == "rondel::connection" {
            self.0.id()
        } else {
            None
        }
    }
}

impl Deref for Kept {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let span = mem::replace(&mut self.0, Span::none());
        contained(|| drop(span));
    }
}

/// A span that has been entered, and is left again with this, however that comes.
pub(super) struct Inside<'s>(pub(super) &'s Span);

impl<'s> Inside<'s> {
    pub(super) fn of(span: &'s Span) -> Self {
        enter(span);
        Self(span)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        exit(self.0);
    }
}

pub(super) fn enter(span: &Span) {
    contained(|| span.with_subscriber(|(id, subscriber)| subscriber.enter(id)));
}

pub(super) fn exit(span: &Span) {
    contained(|| span.with_subscriber(|(id, subscriber)| subscriber.exit(id)));
}

/// Runs code of a subscriber. Its panic has been told by the panic hook, and goes no further.
pub(super) fn contained<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}
