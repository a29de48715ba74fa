//! Without the feature `tracing` there are no spans, and nothing of them in what is compiled. See `span.rs`.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::core::Local;
use crate::site::Site;
use crate::task::header::Header;

pub(crate) struct TaskSpan;

impl TaskSpan {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn rename(&self, _: &str) {}
}

#[inline(always)]
pub(crate) fn polling<T>(
    _: &Header,
    _: &Local,
    _: usize,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    poll(cx)
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
