//! The half of a promise that awaits, for many.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::promise::error::{DeferredError, Settled};
use crate::promise::on_done::{self, CallbackToken};
use crate::promise::state::State;

/// A [`Deferred`](crate::Deferred) for many: clone it, await each clone, and each gets a clone of the outcome.
///
/// Those who wait are woken in the order in which they began to. Cancelling it cancels it for all, as with asyncio's
/// `Future`; dropping one of several does nothing to the others, and dropping the last is as dropping a `Deferred`.
///
/// ```
/// use rondel_loop::{promise, spawn};
///
/// # rondel_loop::run(async {
/// let (promise, deferred) = promise::<_, String>();
/// let deferred = deferred.shared();
/// let readers: Vec<_> = (0..3).map(|_| spawn(deferred.clone())).collect();
/// promise.set_result("ready").unwrap();
/// for reader in readers {
///     assert_eq!(reader.await.unwrap(), Ok("ready"));
/// }
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`DeferredError`], but never [`Taken`](DeferredError::Taken).
///
/// # Cancel safety
/// Awaiting a clone, or `&mut deferred`, and dropping that loses nothing.
#[must_use = "dropping the last one cancels its promise"]
pub struct SharedDeferred<T, E> {
    state: Rc<State<T, E>>,
    /// Where its waker is kept.
    number: Option<u64>,
}

impl<T, E> SharedDeferred<T, E> {
    pub(super) fn new(state: Rc<State<T, E>>) -> Self {
        state.join();
        Self {
            state,
            number: None,
        }
    }

    /// A clone of the outcome, without waiting; `None` while it is pending. asyncio: `result()` and `exception()`.
    ///
    /// # Errors
    /// [`DeferredError`].
    pub fn try_result(&self) -> Option<Result<T, DeferredError<E>>>
    where
        T: Clone,
        E: Clone,
    {
        self.state.copy()
    }

    /// Cancels it, for all; see [`Deferred::cancel`](crate::Deferred::cancel).
    pub fn cancel(&self) -> bool {
        self.state.cancel()
    }

    /// How it ended; `None` while it is pending.
    pub fn settled(&self) -> Option<Settled> {
        self.state.settled()
    }

    /// Calls `callback` when it is settled; see [`Deferred::on_done`](crate::Deferred::on_done). A clone taken along gives it
    /// the value.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    #[track_caller]
    pub fn on_done(&self, callback: impl FnOnce(Settled) + 'static) -> CallbackToken {
        on_done::add(&self.state, callback)
    }

    /// Takes a done-callback back; see [`Deferred::remove_on_done`](crate::Deferred::remove_on_done).
    pub fn remove_on_done(&self, token: CallbackToken) -> bool {
        on_done::remove(&self.state, token)
    }

    /// Where the promise was made.
    pub fn made_at(&self) -> &'static Location<'static> {
        self.state.site()
    }
}

impl<T: Clone, E: Clone> Future for SharedDeferred<T, E> {
    type Output = Result<T, DeferredError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.state.copy() {
            return Poll::Ready(outcome);
        }
        self.number = Some(self.state.await_together(self.number, cx.waker()));
        // Looked at again: the waker's code may have kept the promise.
        self.state.copy().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T, E> Clone for SharedDeferred<T, E> {
    fn clone(&self) -> Self {
        Self::new(Rc::clone(&self.state))
    }
}

impl<T, E> Drop for SharedDeferred<T, E> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.state.stop_awaiting(number);
        }
        self.state.leave();
    }
}

impl<T, E> fmt::Debug for SharedDeferred<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDeferred")
            .field("settled", &self.settled())
            .field("made_at", &format_args!("{}", self.made_at()))
            .finish()
    }
}
