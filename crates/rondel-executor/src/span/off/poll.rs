//! Without the feature `tracing` a task is polled as it is. See `span/poll.rs`.

use std::task::{Context, Poll};

use crate::core::Local;
use crate::task::header::Header;

#[inline(always)]
pub(crate) fn poll_inside<T>(
    _: &Header,
    _: &Local,
    _: usize,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    poll(cx)
}
