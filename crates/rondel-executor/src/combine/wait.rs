//! Waiting for tasks without owning their fate.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::crowd::Crowd;
use crate::task::handle::Task;
use crate::task::info::TaskInfo;
use crate::task::join_error::JoinError;
use crate::wait::Waits;

/// Waits for tasks until the first, the first failure, or all of them are done; gives those that are done, with their outcomes,
/// and those that are not. Nobody is cancelled, whatever comes of it, and no failure is raised.
///
/// Outcomes come in the order in which the tasks ended, pending tasks in the order of the argument. No tasks: nothing to wait
/// for, both are empty (asyncio raises a `ValueError`).
///
/// For a wait with a limit put a timeout around `&mut` of the future, and [`split`](Wait::split) it when time is up.
///
/// asyncio: `wait`.
///
/// ```
/// use rondel_executor::{Executor, ReturnWhen, Spawner, wait};
/// use std::future::pending;
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let here = Spawner::current().unwrap();
///     let tasks = [here.spawn(async { Ok("well") }), here.spawn(pending()), here.spawn(async { Err(404) })];
///     let (done, pending) = wait(tasks, ReturnWhen::FirstError).await;
///     assert_eq!(done[0].outcome.as_ref().unwrap(), &Ok("well"));
///     assert_eq!(done[1].outcome.as_ref().unwrap(), &Err(404));
///     assert_eq!((done[1].place, pending.len()), (2, 1));
///     pending[0].cancel();
/// });
/// executor.run_until_idle();
/// assert!(task.into_result().unwrap().is_ok());
/// ```
pub fn wait<T>(tasks: impl IntoIterator<Item = Task<T>>, until: ReturnWhen<T>) -> Wait<T> {
    let crowd = Crowd::new();
    for (place, task) in tasks.into_iter().enumerate() {
        crowd.insert((place, task), ());
    }
    Wait {
        tasks: crowd,
        done: Vec::new(),
        until,
        enough: false,
    }
}

/// When [`wait`] returns: in any case when all tasks are done.
pub enum ReturnWhen<T> {
    /// As soon as one is done. asyncio: `FIRST_COMPLETED`.
    FirstCompleted,
    /// As soon as one is done of which this is true.
    First(fn(&Result<T, JoinError>) -> bool),
    /// When all are done. asyncio: `ALL_COMPLETED`.
    All,
}

impl<T> ReturnWhen<T> {
    /// As soon as one has panicked.
    #[expect(
        non_upper_case_globals,
        reason = "reads as the variant that it is to users"
    )]
    pub const FirstPanic: Self =
        Self::First(|outcome| matches!(outcome, Err(JoinError::Panicked(_))));
}

impl<T> ReturnWhen<T> {
    fn is_met_by(&self, outcome: &Result<T, JoinError>) -> bool {
        match self {
            Self::FirstCompleted => true,
            Self::First(is_it) => is_it(outcome),
            Self::All => false,
        }
    }
}

impl<T, E> ReturnWhen<Result<T, E>> {
    /// As soon as one has failed: returned an error, or panicked. One that was cancelled has not failed. asyncio:
    /// `FIRST_EXCEPTION`.
    #[expect(
        non_upper_case_globals,
        reason = "reads as the variant that it is to users"
    )]
    pub const FirstError: Self =
        Self::First(|outcome| matches!(outcome, Ok(Err(_)) | Err(JoinError::Panicked(_))));
}

impl<T> Clone for ReturnWhen<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ReturnWhen<T> {}

impl<T> fmt::Debug for ReturnWhen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstCompleted => "FirstCompleted",
            Self::First(_) => "First(…)",
            Self::All => "All",
        })
    }
}

/// A task that is done; see [`wait`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Done<T> {
    /// Its place in the argument.
    pub place: usize,
    /// Which task it was; `None` if its outcome had been taken before.
    pub task: Option<TaskInfo>,
    /// How it ended.
    pub outcome: Result<T, JoinError>,
}

/// The future of [`wait`].
///
/// # Cancel safety
/// Dropping it detaches the tasks, and loses the outcomes of those that are done. [`split`](Wait::split) keeps both.
#[must_use = "futures do nothing unless awaited"]
pub struct Wait<T> {
    tasks: Crowd<(usize, Task<T>)>,
    done: Vec<Done<T>>,
    until: ReturnWhen<T>,
    enough: bool,
}

impl<T> Unpin for Wait<T> {}

impl<T> Wait<T> {
    /// Ends the waiting: what is done by now, and what is not. Both are empty after the future has given them.
    ///
    /// ```
    /// use rondel_executor::{Executor, ReturnWhen, select, wait};
    /// use std::future::{pending, ready};
    ///
    /// let executor = Executor::new();
    /// let tasks = [executor.spawn(ready(1)), executor.spawn(pending())];
    /// let task = executor.spawn(async {
    ///     let mut waiting = wait(tasks, ReturnWhen::All);
    ///     select(&mut waiting, ready("time is up")).await;
    ///     let (done, pending) = waiting.split();
    ///     (done.len(), pending.len())
    /// });
    /// executor.run_until_idle();
    /// assert_eq!(task.into_result().unwrap().unwrap(), (1, 1));
    /// ```
    pub fn split(mut self) -> (Vec<Done<T>>, Vec<Task<T>>) {
        self.part()
    }

    fn part(&mut self) -> (Vec<Done<T>>, Vec<Task<T>>) {
        let mut done = mem::take(&mut self.done);
        let mut pending = Vec::new();
        for member in self.tasks.clear() {
            let Some((place, mut task)) = member.member().take() else {
                continue;
            };
            // It may have ended just now, and nobody has looked since.
            match finished(
                place,
                &mut task,
                &mut Context::from_waker(std::task::Waker::noop()),
            ) {
                Some(ended) => done.push(ended),
                None => pending.push(task),
            }
        }
        (done, pending)
    }
}

/// The outcome of a task, if it is done. Otherwise `cx` is woken when it is.
fn finished<T>(place: usize, task: &mut Task<T>, cx: &mut Context<'_>) -> Option<Done<T>> {
    let info = if task.is_finished() {
        task.info()
    } else {
        None
    };
    let Poll::Ready(outcome) = Pin::new(&mut *task).poll(cx) else {
        return None;
    };
    Some(Done {
        place,
        task: info,
        outcome,
    })
}

impl<T> Future for Wait<T> {
    type Output = (Vec<Done<T>>, Vec<Task<T>>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            tasks,
            done,
            until,
            enough,
        } = &mut *self;
        let mut batch = tasks.batch(cx);
        while let Some(member) = batch.next() {
            let ended = match &mut *member.member() {
                Some((place, task)) => finished(*place, task, &mut member.context()),
                None => None,
            };
            if let Some(ended) = ended {
                tasks.release(&member);
                let taken = member.member().take();
                drop(taken);
                *enough |= until.is_met_by(&ended.outcome);
                done.push(ended);
            }
        }
        batch.end(cx);
        if *enough || tasks.is_empty() {
            return Poll::Ready(self.part());
        }
        Waits::TASK.label(0);
        Poll::Pending
    }
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("done", &self.done.len())
            .field("pending", &self.tasks.len())
            .field("until", &self.until)
            .finish()
    }
}
