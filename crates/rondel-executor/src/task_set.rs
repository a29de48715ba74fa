//! Tasks that come and go, kept together: a server's handlers, a crawler's fetches.

mod slots;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cleanup::leave;
use crate::spawner::Spawner;
use crate::task::handle::Task;
use crate::task::info::TaskInfo;
use crate::task::join_error::JoinError;
use crate::wait::Waits;

use self::slots::{Counted, Slots};

/// A set of tasks on the executor's queue, which gives their outcomes as they end, and does not leave them behind.
///
/// A task may outlive the call that spawned it, but not the set: dropped, the set cancels what has not ended, and whoever drops it
/// waits for the cleanup. Each task that ends costs the same, however many there are, and what the set needs is bounded by the
/// most there ever were at a time, if their outcomes are asked for: those that nobody asks for are kept.
///
/// For children that borrow, and end before the call does, see [`task_group`](crate::task_group). tokio: `JoinSet`.
///
/// ```
/// use rondel_executor::{Executor, TaskSet};
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let mut set = TaskSet::new();
///     for n in 0..10 {
///         set.spawn(async move { n * n });
///     }
///     let mut sum = 0;
///     while let Some(square) = set.join_next().await {
///         sum += square.unwrap();
///     }
///     sum
/// });
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), 285);
/// ```
#[doc(alias = "JoinSet")]
pub struct TaskSet<T: 'static> {
    slots: Slots<T>,
    /// `None`: whose turn it is.
    spawner: Option<Spawner>,
}

impl<T: 'static> Default for TaskSet<T> {
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            spawner: None,
        }
    }
}

impl<T: 'static> TaskSet<T> {
    /// An empty set. Tasks go to the executor whose turn it is when they are spawned.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty set whose tasks go to this executor.
    pub fn on(spawner: Spawner) -> Self {
        Self {
            slots: Slots::default(),
            spawner: Some(spawner),
        }
    }

    /// How many tasks there are: those that have not ended, and those whose outcome has not been asked for.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks every task to stop. Their outcomes can still be joined; most will be [`JoinError::Cancelled`].
    pub fn cancel_all(&self) {
        for task in self.slots.iter() {
            task.cancel();
        }
    }

    /// Lets all tasks run on by themselves, and forgets them. A panic of one is then reported as lost.
    pub fn detach_all(&mut self) {
        let tasks = self.slots.forget();
        drop(tasks);
    }

    /// What can be said about each task now, in no particular order.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.slots.iter().filter_map(Task::info).collect()
    }

    /// Waits for the next task to be done, and gives its outcome; `None` if there are no tasks.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub fn join_next(&mut self) -> impl Future<Output = Option<Result<T, JoinError>>> {
        poll_fn(|cx| self.poll_join_next(cx))
    }

    /// The same, with which task it was.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub fn join_next_with_info(
        &mut self,
    ) -> impl Future<Output = Option<(TaskInfo, Result<T, JoinError>)>> {
        poll_fn(|cx| {
            self.poll_done(cx).map(|done| {
                let mut task = done?;
                let info = task.info()?;
                Some((info, outcome(&mut task)))
            })
        })
    }

    /// The outcome of a task that is done, without waiting; `None` if none is.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.slots.next_done().map(|mut task| outcome(&mut task))
    }

    /// What [`join_next`](TaskSet::join_next) polls, for futures and streams written by hand.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_done(cx)
            .map(|done| done.map(|mut task| outcome(&mut task)))
    }

    fn poll_done(&mut self, cx: &Context<'_>) -> Poll<Option<Task<T>>> {
        if let Some(task) = self.slots.next_done() {
            return Poll::Ready(Some(task));
        }
        if self.is_empty() {
            return Poll::Ready(None);
        }
        self.slots.register(cx);
        // It may have ended inside the waker's own code.
        match self.slots.next_done() {
            Some(task) => Poll::Ready(Some(task)),
            None => {
                Waits::TASK.label(0);
                Poll::Pending
            }
        }
    }

    /// Waits for all tasks, and gives their outcomes in the order in which they ended.
    ///
    /// # Cancel safety
    /// Dropped, it loses the outcomes that it has collected; the other tasks stay in the set.
    pub async fn join_all(&mut self) -> Vec<Result<T, JoinError>> {
        let mut outcomes = Vec::with_capacity(self.len());
        while let Some(outcome) = self.join_next().await {
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Cancels all tasks and waits until they are done, what they leave to clean up included. Outcomes are dropped; a panic is
    /// reported as lost.
    ///
    /// # Cancel safety
    /// Dropped, it has cancelled all tasks; those not done stay in the set.
    pub async fn shutdown(&mut self) {
        self.cancel_all();
        // A handle that goes without having been asked reports a panic.
        while let Some(done) = poll_fn(|cx| self.poll_done(cx)).await {
            drop(done);
        }
    }
}

impl<T: 'static> TaskSet<T> {
    /// Makes a task of `future` and takes it in. Its only allocation is the task itself.
    ///
    /// # Panics
    /// If no executor's turn is under way on this thread, and the set was not made [on](TaskSet::on) one.
    #[track_caller]
    pub fn spawn(&mut self, future: impl Future<Output = T> + 'static) {
        let place = self.slots.reserve();
        let counted = self.slots.counted(future, place);
        let task = self.start(counted);
        self.slots.fill(place, task);
    }

    /// The same with a name, for reports. Names need not be unique.
    ///
    /// # Panics
    /// As [`spawn`](TaskSet::spawn).
    #[track_caller]
    pub fn spawn_named(
        &mut self,
        name: impl Into<String>,
        future: impl Future<Output = T> + 'static,
    ) {
        let place = self.slots.reserve();
        let counted = self.slots.counted(future, place);
        let task = self.start(counted);
        task.set_name(name);
        self.slots.fill(place, task);
    }

    #[track_caller]
    #[inline]
    fn start<F>(&self, future: Counted<F>) -> Task<T>
    where
        F: Future<Output = T> + 'static,
    {
        match &self.spawner {
            Some(spawner) => spawner.spawn(future),
            None => match Spawner::spawn_current(future) {
                Ok(task) => task,
                Err(_) => outside_a_turn(),
            },
        }
    }
}

#[cold]
#[track_caller]
fn outside_a_turn() -> ! {
    panic!(
        "TaskSet::spawn: no executor's turn is under way on this thread; call it from a task or a callback, or make the set \
         with `TaskSet::on`"
    )
}

/// The outcome of a task that is done.
fn outcome<T>(task: &mut Task<T>) -> Result<T, JoinError> {
    match Pin::new(task).poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => unreachable!("only tasks that are done leave the set"),
    }
}

impl<T: 'static> Drop for TaskSet<T> {
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        self.cancel_all();
        let tasks = self.slots.forget();
        let alive: Vec<_> = tasks
            .into_iter()
            .filter(|task| !task.is_finished())
            .collect();
        // Outside a turn there is nobody to wait.
        if !alive.is_empty() && Spawner::current().is_some() {
            leave(Box::pin(async move {
                for task in alive {
                    task.done().await;
                }
            }));
        }
    }
}

impl<T: 'static> fmt::Debug for TaskSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSet")
            .field("tasks", &self.len())
            .finish_non_exhaustive()
    }
}
