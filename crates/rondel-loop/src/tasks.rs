//! The running task, all tasks, and how tasks are started.

use std::future::Future;

use rondel_executor::{Spawner, Task, TaskFactory, TaskInfo};

use crate::current;
use crate::state::LocalLoop;

/// The task that is being polled on this thread; `None` in callbacks and outside loops. asyncio: `current_task`.
///
/// What it says is of this moment: a name that is given later is not in it.
///
/// ```
/// # rondel_loop::run(async {
/// let task = rondel_loop::spawn(async { rondel_loop::current_task().unwrap().name() }).named("polisher");
/// assert_eq!(task.await.unwrap(), "polisher");
/// # }).unwrap();
/// assert!(rondel_loop::current_task().is_none());
/// ```
pub fn current_task() -> Option<TaskInfo> {
    Spawner::current_task()
}

/// Every task of the running loop that has not finished; see [`LocalLoop::tasks`]. asyncio: `all_tasks`.
///
/// # Panics
/// If no loop is running on this thread.
///
/// ```
/// # rondel_loop::run(async {
/// let task = rondel_loop::spawn(std::future::pending::<()>()).named("idler");
/// let names: Vec<_> = rondel_loop::all_tasks().iter().map(|task| task.name()).collect();
/// assert!(names.contains(&"idler".to_owned()));
/// # task.cancel();
/// # }).unwrap();
/// ```
#[track_caller]
pub fn all_tasks() -> Vec<TaskInfo> {
    current::expect("all_tasks").tasks()
}

/// Runs `future` as a task of the running loop, polling it for the first time here and now: one that finishes at once is done
/// when this returns, and was never scheduled. asyncio: `create_task(…, eager_start=True)`, `eager_task_factory`.
///
/// [`LocalLoop::spawn_eager`] says more.
///
/// # Panics
/// If no loop is running on this thread.
///
/// ```
/// # rondel_loop::run(async {
/// let task = rondel_loop::spawn_eager(async { "in the cache" });
/// assert!(task.is_finished());
/// assert_eq!(task.await.unwrap(), "in the cache");
/// # }).unwrap();
/// ```
#[doc(alias = "eager_task_factory")]
#[track_caller]
pub fn spawn_eager<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    current::expect("spawn_eager").spawn_eager(future)
}

impl LocalLoop {
    /// Runs `future` as a task whose first poll runs inside this call, with the task as the current one and task-local values
    /// of its own. If it has to wait, it goes on as any task. While the loop is not running it is scheduled as usual.
    /// asyncio: `create_task(…, eager_start=True)`.
    ///
    /// What the future does before its first wait happens before the caller goes on; eager tasks that start each other
    /// recurse on the stack.
    #[track_caller]
    pub fn spawn_eager<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.state().executor.spawn_eager(future)
    }

    /// Has `factory` called with every task that is started from now on; `None`: nothing. Gives the one before. asyncio:
    /// `set_task_factory`.
    ///
    /// It can name the task and put a future around its own. What asyncio's can do and this one cannot: see the future or its
    /// output, return another kind of task, start all tasks eagerly. The main future, which may borrow, and cleanups do
    /// not pass through it. Without one, nothing is paid for it; with one, a task costs two allocations more.
    ///
    /// ```
    /// use rondel_loop::{EventLoop, spawn};
    /// use std::rc::Rc;
    ///
    /// let mut lp = EventLoop::builder()
    ///     .task_factory(Rc::new(|task| {
    ///         let name = format!("worker at line {}", task.spawned_at().line());
    ///         task.set_name(name);
    ///     }))
    ///     .build()?;
    /// let name = lp.run_until_complete(async { spawn(async {}).name() })?;
    /// assert!(name.starts_with("worker at line"));
    /// # Ok::<(), rondel_loop::RunError>(())
    /// ```
    ///
    /// # Panics
    /// A factory that panics makes the call that starts the task panic.
    pub fn set_task_factory(&self, factory: Option<TaskFactory>) -> Option<TaskFactory> {
        self.spawner().set_task_factory(factory)
    }

    /// The task factory that is set. asyncio: `get_task_factory`.
    #[doc(alias = "get_task_factory")]
    pub fn task_factory(&self) -> Option<TaskFactory> {
        self.spawner().task_factory()
    }
}
