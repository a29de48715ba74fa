//! Polling by hand, and a record of who was woken in which order.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Whom the wakers made here have woken, in order.
#[derive(Clone, Default)]
pub(crate) struct Wakes(Arc<Mutex<Vec<u32>>>);

impl Wakes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn waker(&self, id: u32) -> Waker {
        Waker::from(Arc::new(Recorder {
            id,
            wakes: self.clone(),
        }))
    }

    /// Those woken since the last call.
    pub(crate) fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Recorder {
    id: u32,
    wakes: Wakes,
}

impl Wake for Recorder {
    fn wake(self: Arc<Self>) {
        self.wakes.0.lock().unwrap().push(self.id);
    }
}

/// A future with a waker of its own, polled when the test says so, never twice after it was ready.
pub(crate) struct Task<F: Future> {
    future: Pin<Box<F>>,
    waker: Waker,
}

impl<F: Future> Task<F> {
    pub(crate) fn new(id: u32, wakes: &Wakes, future: F) -> Self {
        Self {
            future: Box::pin(future),
            waker: wakes.waker(id),
        }
    }

    /// Made and polled once, which must leave it waiting.
    #[track_caller]
    pub(crate) fn waiting(id: u32, wakes: &Wakes, future: F) -> Self {
        let mut task = Self::new(id, wakes, future);
        assert!(task.poll().is_pending(), "task {id} should wait");
        task
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker))
    }

    #[track_caller]
    pub(crate) fn is_pending(&mut self) -> bool {
        self.poll().is_pending()
    }

    #[track_caller]
    pub(crate) fn ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the task should be ready"),
        }
    }

    /// Leaks the future where it is, as a reference cycle would.
    pub(crate) fn leak(self) {
        std::mem::forget(self.future);
    }
}

/// Polls once with a waker that does nothing.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
