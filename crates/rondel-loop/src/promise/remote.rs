//! Promises across threads: kept elsewhere, or awaited elsewhere.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use rondel_executor::{LoopBound, RemoteTask};

use crate::error::LoopClosed;
use crate::handle::{LoopHandle, Outstanding};
use crate::promise::{Deferred, DeferredError, Promise};
use crate::state::LocalLoop;

/// A [`Promise`] that any thread can keep; see [`Promise::remote`]. `Send + Sync`.
///
/// Dropped unset, wherever that is, it lets those who wait fail with [`DeferredError::Dropped`].
#[must_use = "dropped, it is a promise not kept"]
pub struct RemotePromise<T: 'static, E: 'static> {
    // First, so that what its drop sends home is there before the virtual clock may go on.
    promise: LoopBound<Promise<T, E>>,
    cancelled: Arc<Cancelled>,
    home: LoopHandle,
    outstanding: Outstanding,
}

/// Set on the loop's thread, when the deferred is cancelled, and looked at elsewhere.
#[derive(Default)]
struct Cancelled(AtomicBool);

impl Wake for Cancelled {
    fn wake(self: Arc<Self>) {
        // Relaxed: nothing is handed over with it, it is a hint to stop.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why a [`RemotePromise`] could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteSetError<V> {
    /// The deferred was cancelled, or nobody wants it any more; here is what was to be set.
    Cancelled(V),
    /// The loop has been closed; what was to be set has been dropped.
    LoopClosed,
}

impl<V> fmt::Display for RemoteSetError<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled(_) => "cannot keep the promise: nobody waits for it any more",
            Self::LoopClosed => "cannot keep the promise: its event loop is closed",
        })
    }
}

impl<V: fmt::Debug> Error for RemoteSetError<V> {}

impl<T: 'static, E: 'static> Promise<T, E> {
    /// Has the promise kept by another thread. asyncio: `call_soon_threadsafe(future.set_result, …)`, `wrap_future`.
    ///
    /// While it is out, a virtual clock stands still.
    ///
    /// ```
    /// use rondel_loop::{LocalLoop, promise};
    ///
    /// # rondel_loop::run(async {
    /// let (promise, deferred) = promise::<_, std::io::Error>();
    /// let promise = promise.remote(&LocalLoop::current().unwrap());
    /// std::thread::spawn(move || promise.set_result("from afar").unwrap());
    /// assert_eq!(deferred.await.unwrap(), "from afar");
    /// # }).unwrap();
    /// ```
    #[doc(alias = "wrap_future")]
    pub fn remote(self, home: &LocalLoop) -> RemotePromise<T, E>
    where
        T: Send,
        E: Send,
    {
        let cancelled = Arc::new(Cancelled::default());
        self.state.on_cancel(Waker::from(Arc::clone(&cancelled)));
        RemotePromise {
            promise: LoopBound::new(&home.spawner(), self),
            cancelled,
            home: home.handle(),
            outstanding: home.outstanding(),
        }
    }
}

impl<T: Send + 'static, E: Send + 'static> RemotePromise<T, E> {
    /// Keeps the promise, at the loop's next turn. Should it be cancelled meanwhile, the value is dropped there.
    ///
    /// # Errors
    /// [`RemoteSetError`].
    #[track_caller]
    pub fn set_result(self, value: T) -> Result<(), RemoteSetError<T>> {
        self.send(value, |promise, value| drop(promise.set_result(value)))
    }

    /// Fails it, at the loop's next turn. Should it be cancelled meanwhile, the error is dropped there.
    ///
    /// # Errors
    /// [`RemoteSetError`].
    #[track_caller]
    pub fn set_error(self, error: E) -> Result<(), RemoteSetError<E>> {
        self.send(error, |promise, error| drop(promise.set_error(error)))
    }

    /// Whether nobody waits for it any more, as far as this thread has heard: a moment to stop working on the result.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.0.load(Ordering::Relaxed)
    }

    #[track_caller]
    fn send<V: Send + 'static>(
        self,
        what: V,
        set: fn(Promise<T, E>, V),
    ) -> Result<(), RemoteSetError<V>> {
        if self.is_cancelled() {
            return Err(RemoteSetError::Cancelled(what));
        }
        let Self {
            promise,
            home,
            outstanding,
            ..
        } = self;
        home.call_soon_threadsafe(move || {
            let _under_way = outstanding;
            if let Ok(promise) = promise.try_into_inner() {
                set(promise, what);
            }
        })
        .map_err(|LoopClosed| RemoteSetError::LoopClosed)
    }
}

impl<T, E> fmt::Debug for RemotePromise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemotePromise")
            .field("cancelled", &self.cancelled.0.load(Ordering::Relaxed))
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

impl<T, E> Deferred<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    /// Has it awaited by another thread: [`RemoteTask::result`] blocks there until the promise is kept, and refuses to on the
    /// loop's own thread, where that could never happen. The tasks of another loop can await it.
    ///
    /// Cancelling the remote end cancels this; dropping it lets the promise be, and an error of it goes unreported.
    ///
    /// # Errors
    /// [`LoopClosed`].
    ///
    /// ```
    /// use rondel_loop::{EventLoop, promise};
    ///
    /// let mut lp = EventLoop::new()?;
    /// let (promise, deferred) = promise::<_, String>();
    /// let remote = deferred.remote(&lp).unwrap();
    /// let waiting = std::thread::spawn(move || remote.result(None).unwrap());
    /// promise.set_result(5).unwrap();
    /// while !waiting.is_finished() {
    ///     lp.run_once(rondel_poll::Wait::Poll)?;
    /// }
    /// assert_eq!(waiting.join().unwrap(), Ok(5));
    /// # Ok::<(), rondel_loop::RunError>(())
    /// ```
    #[track_caller]
    pub fn remote(
        self,
        home: &LocalLoop,
    ) -> Result<RemoteTask<Result<T, DeferredError<E>>>, LoopClosed> {
        home.handle().spawn(LoopBound::new(&home.spawner(), self))
    }
}
