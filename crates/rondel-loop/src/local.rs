//! The loop from inside.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rondel_executor::{Handle, Spawner, Task, TaskInfo, ThreadPool};

use crate::current::{self, NoRunningLoop};
use crate::flush::Flush;
use crate::handle::{LoopHandle, Outstanding};
use crate::state::LocalLoop;
use crate::timer::TimerHandle;
use crate::timer::timers::FAR;

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

    /// Schedules `callback` behind everything that is ready now. asyncio: `call_soon`.
    #[track_caller]
    #[inline]
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) -> Handle {
        self.state().executor.call_soon(callback)
    }

    /// Schedules `callback` for when `delay` has passed. Equal deadlines are called in the order in which they were
    /// scheduled; none is called early. asyncio: `call_later`.
    #[track_caller]
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> TimerHandle {
        let now = self.time();
        // What cannot be expressed as an instant is further away than any program lives.
        let when = now.checked_add(delay).unwrap_or_else(|| now + FAR);
        self.call_at(when, callback)
    }

    /// Schedules `callback` for a point on the loop's clock; one that has passed means as soon as the clock is looked at.
    /// asyncio: `call_at`.
    #[track_caller]
    pub fn call_at(&self, when: Instant, callback: impl FnOnce() + 'static) -> TimerHandle {
        let (callback, handle) = Handle::schedule_later(callback);
        let timer = TimerHandle::arm(self.state(), when, handle, callback);
        if self.state().closed.get() {
            timer.cancel();
        }
        timer
    }

    /// The time on the loop's clock: the system's monotonic one, unless the loop was made with another. asyncio: `time`.
    pub fn time(&self) -> Instant {
        self.state().now()
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
        self.state().executor.spawn(future)
    }

    /// Ends the present run of the loop when what is ready now has been run; before a run, the next one ends so.
    /// asyncio: `stop`.
    pub fn stop(&self) {
        self.state().stop();
    }

    /// Whether the loop is being run.
    pub fn is_running(&self) -> bool {
        self.state().running.get()
    }

    /// Whether the loop has been closed.
    pub fn is_closed(&self) -> bool {
        self.state().closed.get()
    }

    /// A handle for other threads.
    pub fn handle(&self) -> LoopHandle {
        LoopHandle {
            remote: self.state().executor.remote(),
            shared: self.state().shared.clone(),
        }
    }

    /// Every task alive. asyncio: `all_tasks`, which [`all_tasks`](crate::all_tasks) is of the running loop.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.state().executor.tasks()
    }

    /// The executor's own handle, for what is built on tasks alone.
    pub fn spawner(&self) -> Spawner {
        self.state().executor.spawner()
    }

    /// The thread pool that [`run_in_executor`](crate::run_in_executor) uses unless given another.
    ///
    /// # Errors
    /// [`LoopClosed`](crate::LoopClosed).
    pub fn default_executor(&self) -> io::Result<ThreadPool> {
        self.state().pool()
    }

    /// Replaces the loop's thread pool; the jobs of the one before run on. asyncio: `set_default_executor`.
    pub fn set_default_executor(&self, pool: ThreadPool) {
        let before = self.state().pool.replace(Some(pool));
        drop(before);
    }

    /// Has `connection` flushed right after the callback or poll that is running; see [`Flush`]. Outside a turn: at the
    /// beginning of the next one.
    #[inline]
    pub fn flush_later(&self, connection: Rc<dyn Flush>) {
        self.state().unflushed.borrow_mut().push(connection);
        self.state().attention.set(true);
    }

    /// Says that work is under way elsewhere which will come back; see [`LoopHandle::outstanding`].
    pub fn outstanding(&self) -> Outstanding {
        Outstanding::new(&self.state().shared)
    }
}
