//! [`LoopTimer`]: quinn's timeouts on the loop's clock.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use quinn::AsyncTimer;
use rondel_executor::LoopBound;
use rondel_loop::LocalLoop;
use rondel_loop::time::{Sleep, sleep_until};

/// A sleep of quinn's. It panics if it is used on another thread than its loop's; dropped there, it is sent home.
#[derive(Debug)]
pub(crate) struct LoopTimer(LoopBound<Sleep>);

impl LoopTimer {
    pub(crate) fn new(local: &LocalLoop, deadline: Instant) -> Self {
        Self(LoopBound::new(&local.spawner(), sleep_until(deadline)))
    }
}

impl AsyncTimer for LoopTimer {
    fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.0.get_mut().reset(deadline);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(Pin::new(&mut self.0), cx)
    }
}
