//! Without the feature `tracing` a task is polled as it is. See `traced.rs`.

use std::task::{Context, Poll};

use crate::core::Local;
use crate::task::header::Header;

#[inline(always)]
pub(in crate::task) fn polling<T>(
    _: &Header,
    _: &Local,
    _: usize,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    poll(cx)
}
