//! The loop from other threads.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rondel_executor::{Remote, RemoteTask};
use rondel_poll::Notifier;

use crate::error::LoopClosed;

/// A handle to a loop that may be used from any thread: `Send + Sync`, cheap to clone.
///
/// ```
/// use rondel_loop::EventLoop;
///
/// let mut lp = EventLoop::new()?;
/// let handle = lp.handle();
/// let worker = std::thread::spawn(move || {
///     let task = handle.spawn(async { 2 + 2 }).unwrap();
///     let sum = task.result(None).unwrap();
///     handle.stop();
///     sum
/// });
/// lp.run_forever()?;
/// assert_eq!(worker.join().unwrap(), 4);
/// # Ok::<(), rondel_loop::RunError>(())
/// ```
#[derive(Clone)]
pub struct LoopHandle {
    pub(crate) remote: Remote,
    pub(crate) shared: Arc<Shared>,
}

/// What a loop shares with other threads, beside its executor's inbox.
pub(crate) struct Shared {
    pub(crate) notifier: Notifier,
    /// Work elsewhere that will notify: while there is some, a virtual clock stands still.
    pub(crate) outstanding: AtomicUsize,
    pub(crate) stop: AtomicBool,
}

impl LoopHandle {
    /// Schedules `callback` on the loop's thread and wakes the loop if it sleeps. On the loop's own thread it keeps its place
    /// among `call_soon`s. asyncio: `call_soon_threadsafe`.
    ///
    /// Unbounded: nothing holds back a thread that calls faster than the loop runs.
    ///
    /// # Errors
    /// [`LoopClosed`]; the closure is dropped on the calling thread.
    #[track_caller]
    pub fn call_soon_threadsafe(
        &self,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<(), LoopClosed> {
        self.remote.call_soon(callback).map_err(|_| LoopClosed)
    }

    /// Runs `future` as a task of the loop. Its result can be waited for, blocking, by
    /// [`RemoteTask::result`], or awaited in another loop. asyncio: `run_coroutine_threadsafe`.
    ///
    /// A future that sleeps, or holds anything else of a loop, is not `Send`: have it made at home, by
    /// [`spawn_with`](LoopHandle::spawn_with).
    ///
    /// # Errors
    /// [`LoopClosed`]; the future is dropped on the calling thread.
    #[doc(alias = "run_coroutine_threadsafe")]
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Result<RemoteTask<F::Output>, LoopClosed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.remote.spawn(future).map_err(|_| LoopClosed)
    }

    /// Calls `make` on the loop's thread and runs the future it returns, which need not be `Send`, as a task there.
    ///
    /// # Errors
    /// [`LoopClosed`]; the closure is dropped on the calling thread.
    #[track_caller]
    pub fn spawn_with<M, F>(&self, make: M) -> Result<RemoteTask<F::Output>, LoopClosed>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.remote.spawn_with(make).map_err(|_| LoopClosed)
    }

    /// Ends the loop's present run after what is ready has been run, as [`LocalLoop::stop`](crate::LocalLoop::stop) does.
    /// Before a run it ends the next one.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.notifier.notify();
    }

    /// Tells the loop that work is under way elsewhere which will come back to it: while the guard lives, a virtual clock
    /// does not jump. The loop's own pools and look-ups do this by themselves; a thread of your own that will call
    /// [`call_soon_threadsafe`](LoopHandle::call_soon_threadsafe) does it by hand. A real clock does not care.
    pub fn outstanding(&self) -> Outstanding {
        Outstanding::new(&self.shared)
    }

    /// Whether the loop has been closed.
    pub fn is_closed(&self) -> bool {
        self.remote.is_closed()
    }

    /// Whether the calling thread is the loop's own.
    pub fn is_own_thread(&self) -> bool {
        self.remote.is_home()
    }

    /// Values bound to the loop ([`LoopBound`](rondel_executor::LoopBound)) that were dropped elsewhere after it had closed,
    /// and so are leaked.
    pub fn leaked(&self) -> usize {
        self.remote.leaked()
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle")
            .field("closed", &self.is_closed())
            .field("own_thread", &self.is_own_thread())
            .finish()
    }
}

/// Work under way elsewhere, until this is dropped; see [`LoopHandle::outstanding`].
#[must_use = "dropped at once, it says nothing"]
pub struct Outstanding {
    shared: Arc<Shared>,
}

impl Outstanding {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        // Relaxed: the loop reads it before it sleeps, on the thread that made it or after a message from the one that did.
        shared.outstanding.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        // Release, then the notification: a loop that stood still for it sees that it is gone.
        if self.shared.outstanding.fetch_sub(1, Ordering::Release) == 1 {
            self.shared.notifier.notify();
        }
    }
}

impl fmt::Debug for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outstanding").finish_non_exhaustive()
    }
}
