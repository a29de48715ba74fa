//! The half of a promise that awaits, for one.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::promise::error::{DeferredError, Settled};
use crate::promise::on_done::{self, CallbackToken};
use crate::promise::shared::SharedDeferred;
use crate::promise::state::State;

/// The half that awaits: a future of what a [`Promise`](crate::Promise) is set to, which moves out to the one who awaits it.
/// For several, there is [`shared`](Deferred::shared). See [`promise`](fn@crate::promise).
///
/// Ready at once, without yielding, if the promise has been kept. Dropping it while it is pending cancels it, unless
/// done-callbacks are registered: they want to know.
///
/// An error that was set and that nobody has seen when this is dropped is reported to the loop's exception handler, once.
/// Awaiting, [`try_result`](Deferred::try_result) and [`cancel`](Deferred::cancel) count as having seen it.
///
/// # Errors
/// [`DeferredError`].
///
/// # Cancel safety
/// Awaiting `&mut deferred` and dropping that loses nothing. Dropping the `Deferred` itself cancels, as said.
#[must_use = "dropped at once, it cancels its promise"]
pub struct Deferred<T, E> {
    state: Rc<State<T, E>>,
}

impl<T, E> Deferred<T, E> {
    pub(super) fn new(state: Rc<State<T, E>>) -> Self {
        state.join();
        Self { state }
    }

    /// The outcome, once, without waiting; `None` while it is pending. asyncio: `result()` and `exception()`.
    ///
    /// ```
    /// # use rondel_loop::{DeferredError, promise};
    /// let (promise, mut deferred) = promise::<u32, String>();
    /// assert_eq!(deferred.try_result(), None, "pending");
    /// promise.set_error("no such number".to_owned()).unwrap();
    /// assert_eq!(deferred.try_result(), Some(Err(DeferredError::Failed("no such number".to_owned()))));
    /// assert_eq!(deferred.try_result(), Some(Err(DeferredError::Taken)));
    /// ```
    ///
    /// # Errors
    /// [`DeferredError`].
    #[doc(alias = "exception")]
    pub fn try_result(&mut self) -> Option<Result<T, DeferredError<E>>> {
        self.state.take()
    }

    /// Cancels it: from now on the promise cannot be kept, those who wait get [`DeferredError::Cancelled`], and done-callbacks
    /// are scheduled. `true` only the first time, and `false` if it is settled already. asyncio: `cancel`.
    pub fn cancel(&self) -> bool {
        self.state.cancel()
    }

    /// How it ended; `None` while it is pending. asyncio: `done()` and `cancelled()`.
    #[doc(alias = "done")]
    pub fn settled(&self) -> Option<Settled> {
        self.state.settled()
    }

    /// Calls `callback` when it is settled: always through the ready queue of the running loop, in the order of registration,
    /// also if it is settled already. asyncio: `add_done_callback`.
    ///
    /// The callback learns how it ended; the outcome stays for whoever awaits it, after whom it may run. For callbacks that
    /// want the value, [`shared`](Deferred::shared) gives handles they can take along.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    ///
    /// ```
    /// use rondel_loop::{Settled, promise, yield_now};
    ///
    /// # rondel_loop::run(async {
    /// let (promise, deferred) = promise::<_, std::io::Error>();
    /// deferred.on_done(|how| assert_eq!(how, Settled::Finished));
    /// promise.set_result(()).unwrap();
    /// yield_now().await;
    /// # }).unwrap();
    /// ```
    #[doc(alias = "add_done_callback")]
    #[track_caller]
    pub fn on_done(&self, callback: impl FnOnce(Settled) + 'static) -> CallbackToken {
        on_done::add(&self.state, callback)
    }

    /// Takes a done-callback back: its closure is dropped before this returns. `false` if it was taken back before, is in the
    /// queue or was called. asyncio: `remove_done_callback`.
    #[doc(alias = "remove_done_callback")]
    pub fn remove_on_done(&self, token: CallbackToken) -> bool {
        on_done::remove(&self.state, token)
    }

    /// Makes it awaitable by many: every clone gives a clone of the outcome.
    pub fn shared(self) -> SharedDeferred<T, E> {
        SharedDeferred::new(Rc::clone(&self.state))
    }

    /// Where the promise was made.
    pub fn made_at(&self) -> &'static Location<'static> {
        self.state.site()
    }
}

impl<T, E> Future for Deferred<T, E> {
    type Output = Result<T, DeferredError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.state.take() {
            return Poll::Ready(outcome);
        }
        self.state.await_alone(cx.waker());
        // Looked at again: the waker's code may have kept the promise. Then nobody takes the waker out but us.
        match self.state.take() {
            Some(outcome) => {
                self.state.stop_awaiting_alone();
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl<T, E> Drop for Deferred<T, E> {
    fn drop(&mut self) {
        self.state.stop_awaiting_alone();
        self.state.leave();
    }
}

impl<T, E> fmt::Debug for Deferred<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("settled", &self.settled())
            .field("made_at", &format_args!("{}", self.made_at()))
            .finish()
    }
}
