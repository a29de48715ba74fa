//! The loop from inside.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rondel_executor::{Handle, Spawner, Task, TaskInfo, ThreadPool};
use rondel_poll::SourceKind;

use crate::current::{self, NoRunningLoop};
use crate::exception::{ExceptionContext, ExceptionHandler};
use crate::handle::{LoopHandle, Outstanding};
use crate::inherit::inheriting;
use crate::readiness::{Flush, Registration};
use crate::signal::Signal;
use crate::state::State;
use crate::timer::TimerHandle;
use crate::watch::{self, Direction};

/// A loop as its own tasks and callbacks see it: takes `!Send` closures and futures. Cheap to clone, `!Send`.
///
/// It stays valid after the loop has been closed; what it schedules then is dropped, uncalled, and what can fail says
/// [`LoopClosed`](crate::LoopClosed).
///
/// ```
/// use rondel_loop::LocalLoop;
/// use std::time::Duration;
///
/// rondel_loop::run(async {
///     let lp = LocalLoop::current().unwrap();
///     let same = lp.clone();
///     lp.call_later(Duration::from_millis(1), move || same.stop());
///     rondel_loop::sleep(Duration::from_secs(3600)).await
/// }).unwrap_err();
/// ```
#[derive(Clone)]
pub struct LocalLoop(Rc<State>);

impl LocalLoop {
    /// The loop that is running on this thread. asyncio: `get_running_loop`.
    ///
    /// # Errors
    /// [`NoRunningLoop`] outside tasks and callbacks; and in the child of a fork(2) made inside of one, where the parent's loop does
    /// not run. Such a child may run a loop of its own, call `exec`, or `_exit`.
    #[doc(alias = "get_running_loop")]
    pub fn current() -> Result<Self, NoRunningLoop> {
        current::get("LocalLoop::current")
    }

    pub(crate) fn of(state: &Rc<State>) -> Self {
        Self(Rc::clone(state))
    }

    pub(crate) fn state(&self) -> &Rc<State> {
        &self.0
    }

    /// Schedules `callback` behind everything that is ready now. asyncio: `call_soon`.
    #[track_caller]
    #[inline]
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) -> Handle {
        self.0.executor.call_soon(callback)
    }

    /// Schedules `callback` for when `delay` has passed. Equal deadlines are called in the order in which they were
    /// scheduled; none is called early. asyncio: `call_later`.
    #[track_caller]
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> TimerHandle {
        let now = self.time();
        // What cannot be expressed as an instant is further away than any program lives.
        let when = now
            .checked_add(delay)
            .unwrap_or_else(|| now + crate::time::FAR);
        self.call_at(when, callback)
    }

    /// Schedules `callback` for a point on the loop's clock; one that has passed means as soon as the clock is looked at.
    /// asyncio: `call_at`.
    #[track_caller]
    pub fn call_at(&self, when: Instant, callback: impl FnOnce() + 'static) -> TimerHandle {
        let (callback, handle) = Handle::schedule_later(callback);
        let timer = TimerHandle::arm(&self.0, when, handle, callback);
        if self.0.closed.get() {
            timer.cancel();
        }
        timer
    }

    /// The time on the loop's clock: the system's monotonic one, unless the loop was made with another. asyncio: `time`.
    pub fn time(&self) -> Instant {
        self.0.now()
    }

    /// Runs `future` as a task. asyncio: `create_task`.
    #[doc(alias = "ensure_future")]
    #[track_caller]
    #[inline]
    pub fn create_task<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.0.executor.spawn(future)
    }

    /// Ends the present run of the loop when what is ready now has been run; before a run, the next one ends so.
    /// asyncio: `stop`.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Whether the loop is being run.
    pub fn is_running(&self) -> bool {
        self.0.running.get()
    }

    /// Whether the loop has been closed.
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// A handle for other threads.
    pub fn handle(&self) -> LoopHandle {
        LoopHandle {
            remote: self.0.executor.remote(),
            shared: self.0.shared.clone(),
        }
    }

    /// Every task alive. asyncio: `all_tasks`, which [`all_tasks`](crate::all_tasks) is of the running loop.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.0.executor.tasks()
    }

    /// The executor's own handle, for what is built on tasks alone.
    pub fn spawner(&self) -> Spawner {
        self.0.executor.spawner()
    }

    /// The thread pool that [`run_in_executor`](crate::run_in_executor) uses unless given another.
    ///
    /// # Errors
    /// [`LoopClosed`](crate::LoopClosed).
    pub fn default_executor(&self) -> io::Result<ThreadPool> {
        self.0.pool()
    }

    /// Replaces the loop's thread pool; the jobs of the one before run on. asyncio: `set_default_executor`.
    pub fn set_default_executor(&self, pool: ThreadPool) {
        let before = self.0.pool.replace(Some(pool));
        drop(before);
    }

    /// Calls `callback` whenever `fd` is readable (data, an end or an error), until
    /// [`remove_reader`](LocalLoop::remove_reader); a callback that was there is replaced. Level-triggered: what is not read is
    /// announced again. asyncio: `add_reader`.
    ///
    /// The loop watches a duplicate of the descriptor, so that closing yours does no harm; what it refers to stays open
    /// until the watch is removed.
    ///
    /// # Errors
    /// What the system says of watching this kind of file; [`LoopClosed`](crate::LoopClosed).
    #[track_caller]
    pub fn add_reader(&self, fd: impl AsFd, callback: impl FnMut() + 'static) -> io::Result<()> {
        let site = Location::caller();
        let callback = inheriting(site, callback);
        watch::add(&self.0, fd, Direction::Read, site, callback)
    }

    /// Calls `callback` whenever `fd` is writable; see [`add_reader`](LocalLoop::add_reader).
    ///
    /// # Errors
    /// As [`add_reader`](LocalLoop::add_reader).
    #[track_caller]
    pub fn add_writer(&self, fd: impl AsFd, callback: impl FnMut() + 'static) -> io::Result<()> {
        let site = Location::caller();
        let callback = inheriting(site, callback);
        watch::add(&self.0, fd, Direction::Write, site, callback)
    }

    /// Ends the watch for reading; `false` if there is none. A call that is queued already is not made.
    pub fn remove_reader(&self, fd: impl AsFd) -> bool {
        watch::remove(&self.0, fd.as_fd().as_raw_fd(), Direction::Read)
    }

    /// Ends the watch for writing; `false` if there is none.
    pub fn remove_writer(&self, fd: impl AsFd) -> bool {
        watch::remove(&self.0, fd.as_fd().as_raw_fd(), Direction::Write)
    }

    /// Calls `callback` in the loop whenever the process receives `signal`, instead of what the signal did before; a callback
    /// that was there is replaced. Several arrivals in quick succession may be one call. asyncio: `add_signal_handler`.
    ///
    /// # Errors
    /// `InvalidInput` for signals that cannot be caught, `Unsupported` under a virtual clock,
    /// [`LoopClosed`](crate::LoopClosed).
    #[track_caller]
    pub fn add_signal_handler(
        &self,
        signal: Signal,
        callback: impl FnMut() + 'static,
    ) -> io::Result<()> {
        let site = Location::caller();
        let callback = inheriting(site, callback);
        crate::signal::set_callback(&self.0, signal, site, callback)
    }

    /// Ends what [`add_signal_handler`](LocalLoop::add_signal_handler) began; when nobody else listens, the signal does again
    /// what it did before. `false` if there was none.
    pub fn remove_signal_handler(&self, signal: Signal) -> bool {
        crate::signal::remove_callback(&self.0, signal)
    }

    /// Sets who is told of failures that nobody awaits; `None`: standard error. A handler that panics is reported there, too.
    /// asyncio: `set_exception_handler`.
    ///
    /// ```
    /// use rondel_loop::{LocalLoop, spawn, yield_now};
    /// use std::{cell::RefCell, rc::Rc};
    ///
    /// rondel_loop::run(async {
    ///     let told = Rc::new(RefCell::new(String::new()));
    ///     let note = Rc::clone(&told);
    ///     LocalLoop::current().unwrap().set_exception_handler(Some(Rc::new(
    ///         move |_, context| *note.borrow_mut() = context.to_string(),
    ///     )));
    ///     spawn(async { panic!("on the stairs") }).detach();
    ///     yield_now().await;
    ///     assert!(told.borrow().contains("on the stairs"));
    /// }).unwrap();
    /// ```
    pub fn set_exception_handler(&self, handler: Option<ExceptionHandler>) {
        let before = self.0.exception_handler.replace(handler);
        drop(before);
    }

    /// The exception handler that is set. asyncio: `get_exception_handler`.
    #[doc(alias = "get_exception_handler")]
    pub fn exception_handler(&self) -> Option<ExceptionHandler> {
        self.0.exception_handler.borrow().clone()
    }

    /// Reports a failure that nobody awaits to the exception handler. asyncio: `call_exception_handler`.
    pub fn call_exception_handler(&self, context: &ExceptionContext) {
        self.0.call_exception_handler(context);
    }

    /// Registers a descriptor of your own for good, edge-triggered and for both directions; see [`Registration`].
    ///
    /// # Errors
    /// What the system says of watching this kind of file; [`LoopClosed`](crate::LoopClosed).
    pub fn register(&self, fd: OwnedFd, kind: SourceKind) -> io::Result<Registration> {
        Registration::new(self, fd, kind)
    }

    /// Has `connection` flushed right after the callback or poll that is running; see [`Flush`]. Outside a turn: at the
    /// beginning of the next one.
    #[inline]
    pub fn flush_later(&self, connection: Rc<dyn Flush>) {
        self.0.unflushed.borrow_mut().push(connection);
        self.0.attention.set(true);
    }

    /// Says that work is under way elsewhere which will come back; see [`LoopHandle::outstanding`].
    pub fn outstanding(&self) -> Outstanding {
        Outstanding::new(&self.0.shared)
    }
}

impl fmt::Debug for LocalLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
