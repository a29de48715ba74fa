//! Without the feature `tracing` there are no spans, and nothing of them in what is compiled. See `span.rs`.

#[path = "off/poll.rs"]
pub(crate) mod poll;

use std::rc::Rc;

use crate::site::Site;

pub(crate) struct TaskSpan;

impl TaskSpan {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn rename(&self, _: &str) {}
}

pub(crate) struct CallbackSpan;

impl CallbackSpan {
    #[inline(always)]
    pub(crate) fn leave(self) {}
}

#[inline(always)]
pub(crate) fn callback(_: impl FnOnce() -> Site) -> CallbackSpan {
    CallbackSpan
}

pub(crate) struct ChildSpan;

impl ChildSpan {
    #[inline(always)]
    pub(crate) fn new(_: Option<Site>, _: Option<&Rc<str>>) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }
}
