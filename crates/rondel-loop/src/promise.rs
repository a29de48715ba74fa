//! A value that will be there later: asyncio's `Future`, in two halves.
//!
//! [`promise`] makes a [`Promise`], which is kept once, and a [`Deferred`], which awaits that. What asyncio's one object
//! checks when it runs (set twice, awaited while nobody can set it) cannot be written down here: setting takes the
//! promise, and a promise that is dropped unkept says so to the other half.
//!
//! ```text
//!              set_result, set_error          taken by await, try_result
//!   pending ------------------------> settled --------------------------> taken
//!      |                                 ^
//!      +--- cancel, the last Deferred dropped (cancelled)
//!      +--- Promise dropped (dropped)
//! ```
//!
//! It wakes through wakers alone, so either half works without a loop; only done-callbacks need one to be called in.

mod deferred;
mod error;
mod on_done;
mod remote;
mod shared;
mod state;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub use deferred::Deferred;
pub use error::{DeferredError, Settled};
pub use on_done::CallbackToken;
pub use remote::{RemotePromise, RemoteSetError};
pub use shared::SharedDeferred;
use state::State;

/// Makes a promise and what awaits it. One allocation, no loop needed. asyncio: `loop.create_future`.
///
/// An error that nobody retrieves is reported to the exception handler of the loop in which the promise was made (outside
/// of any: to that of the running one, else to standard error), with this call's place in the source.
///
/// ```
/// use rondel_loop::{call_soon, promise};
///
/// # rondel_loop::run(async {
/// let (promise, deferred) = promise::<_, std::io::Error>();
/// call_soon(move || promise.set_result(42).unwrap());
/// assert_eq!(deferred.await.unwrap(), 42);
/// # }).unwrap();
/// ```
///
/// If it cannot fail, the error is `Infallible`.
#[doc(alias = "create_future")]
#[doc(alias = "Future")]
#[doc(alias = "oneshot")]
#[track_caller]
pub fn promise<T, E>() -> (Promise<T, E>, Deferred<T, E>)
where
    E: Into<Box<dyn Error>>,
{
    let state = Rc::new(State::new(Location::caller(), E::into));
    let deferred = Deferred::new(Rc::clone(&state));
    (Promise { state }, deferred)
}

/// The half that is kept: sets the result or the error, once. See [`promise`].
///
/// Dropped unset, it lets those who wait fail with [`DeferredError::Dropped`].
#[must_use = "dropped, it is a promise not kept"]
pub struct Promise<T, E> {
    state: Rc<State<T, E>>,
}

impl<T, E> Promise<T, E> {
    /// Keeps the promise: whoever waits is woken, done-callbacks are scheduled. asyncio: `set_result`.
    ///
    /// # Errors
    /// Gives the value back if the deferred was cancelled, or nobody wants it any more.
    pub fn set_result(self, value: T) -> Result<(), T> {
        match self.state.set(Ok(value)) {
            Err(Ok(value)) => Err(value),
            _ => Ok(()),
        }
    }

    /// Fails it: whoever waits gets the error as [`DeferredError::Failed`]. asyncio: `set_exception`.
    ///
    /// # Errors
    /// Gives the error back if the deferred was cancelled, or nobody wants it any more.
    #[doc(alias = "set_exception")]
    pub fn set_error(self, error: E) -> Result<(), E> {
        match self.state.set(Err(error)) {
            Err(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Sets a result or an error, whichever it is.
    ///
    /// # Errors
    /// Gives it back if the deferred was cancelled, or nobody wants it any more.
    ///
    /// ```
    /// # use rondel_loop::promise;
    /// let (promise, mut deferred) = promise();
    /// promise.set("7".parse::<u8>()).unwrap();
    /// assert_eq!(deferred.try_result().unwrap().unwrap(), 7);
    /// ```
    pub fn set(self, outcome: Result<T, E>) -> Result<(), Result<T, E>> {
        self.state.set(outcome)
    }

    /// Whether nobody waits for it any more: the deferred was cancelled, or dropped.
    pub fn is_cancelled(&self) -> bool {
        self.state.settled() == Some(Settled::Cancelled)
    }

    /// Waits until nobody waits for it any more: the moment to stop working on the result.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing; call it again to go on waiting.
    ///
    /// ```
    /// use rondel_loop::promise;
    ///
    /// # rondel_loop::run(async {
    /// let (mut promise, deferred) = promise::<u32, std::io::Error>();
    /// rondel_loop::call_soon(move || drop(deferred));
    /// promise.cancelled().await;
    /// assert_eq!(promise.set_result(1), Err(1));
    /// # }).unwrap();
    /// ```
    pub fn cancelled(&mut self) -> PromiseCancelled<'_, T, E> {
        PromiseCancelled { promise: self }
    }

    /// [`cancelled`](Promise::cancelled) for futures written by hand. Only the waker of the latest call is woken.
    pub fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.poll_cancelled(cx)
    }

    /// Where it was made.
    pub fn made_at(&self) -> &'static Location<'static> {
        self.state.site()
    }
}

impl<T, E> Drop for Promise<T, E> {
    fn drop(&mut self) {
        self.state.abandon();
    }
}

impl<T, E> fmt::Debug for Promise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise")
            .field("cancelled", &self.is_cancelled())
            .field("made_at", &format_args!("{}", self.made_at()))
            .finish()
    }
}

/// The future of [`Promise::cancelled`].
#[must_use = "futures do nothing unless awaited"]
pub struct PromiseCancelled<'a, T, E> {
    promise: &'a mut Promise<T, E>,
}

impl<T, E> Future for PromiseCancelled<'_, T, E> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.promise.poll_cancelled(cx)
    }
}

impl<T, E> Drop for PromiseCancelled<'_, T, E> {
    fn drop(&mut self) {
        // No spurious wake later, and the task's memory is not held on to.
        self.promise.state.forget_canceller();
    }
}

impl<T, E> fmt::Debug for PromiseCancelled<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromiseCancelled")
            .field("promise", self.promise)
            .finish()
    }
}
