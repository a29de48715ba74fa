//! A part that runs on when whoever awaits it is gone.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::spawner::Spawner;
use crate::task::handle::Task;
use crate::task::join_error::JoinError;

/// Makes a task of `future` and awaits it: if the awaiting side is dropped, the task runs on.
///
/// Not to be confused with [`shielded`](crate::shielded): there the canceller waits, and nothing need be `'static`; here it does
/// not wait, and the work goes on as a task of its own, until the executor closes.
///
/// An await of a [`Task`] is shielded as it is; [`Shield::from`] a task only adds [`reporting`](Shield::reporting). asyncio:
/// `shield`.
///
/// # Panics
/// If no executor's turn is under way on this thread: then there is nobody to run it.
///
/// ```
/// use rondel_executor::{Executor, race, shield};
/// use std::{cell::Cell, future::ready, rc::Rc};
///
/// # async fn yield_once() {
/// #     let mut yielded = false;
/// #     std::future::poll_fn(|cx| {
/// #         if std::mem::replace(&mut yielded, true) { return std::task::Poll::Ready(()) }
/// #         cx.waker().wake_by_ref();
/// #         std::task::Poll::Pending
/// #     }).await
/// # }
/// let executor = Executor::new();
/// let saved = Rc::new(Cell::new(false));
/// let flag = Rc::clone(&saved);
/// executor.spawn(async move {
///     let save = async move {
///         yield_once().await;
///         flag.set(true);
///         Ok::<_, std::io::Error>(())
///     };
///     let impatient = async { "too late" };
///     let saving = shield(save).reporting();
///     race((async { saving.await.map_or("cancelled", |_| "saved") }, impatient)).await
/// });
/// executor.run_until_idle();
/// assert!(saved.get(), "the race was lost, the work was not");
/// ```
#[track_caller]
pub fn shield<F>(future: F) -> Shield<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    match Spawner::spawn_current(future) {
        Ok(task) => Shield::from(task),
        Err(_) => outside_a_turn(),
    }
}

#[cold]
#[track_caller]
fn outside_a_turn() -> ! {
    panic!(
        "shield: no executor's turn is under way on this thread; call it from a task or a callback"
    )
}

/// The future of [`shield`]: the outcome of the task, for as long as somebody awaits it.
///
/// # Cancel safety
/// Dropping it loses the outcome and nothing else: the task runs on. A panic of it is then reported as lost; see
/// [`reporting`](Shield::reporting) for errors.
#[must_use = "dropped, it lets the task run on unobserved; say `detach` on a task for that"]
pub struct Shield<T> {
    /// `None` when the outcome has been given.
    task: Option<Task<T>>,
    let_go: fn(Task<T>),
}

impl<T> From<Task<T>> for Shield<T> {
    fn from(task: Task<T>) -> Self {
        Self {
            task: Some(task),
            let_go: Task::detach,
        }
    }
}

impl<T> Shield<T> {
    /// Cancels the task inside: the only way to. `false` if it is done.
    pub fn cancel(&self) -> bool {
        self.task.as_ref().is_some_and(Task::cancel)
    }

    /// The task, to be awaited, or kept, by hand. `None` if the outcome was given.
    pub fn into_task(mut self) -> Option<Task<T>> {
        self.task.take()
    }
}

impl<T, E> Shield<Result<T, E>>
where
    T: 'static,
    E: Into<Box<dyn Error>> + 'static,
{
    /// If the awaiting side goes before the task is done, has an error of the task reported as a panic is: once, to where
    /// the executor sends what nobody awaits.
    pub fn reporting(mut self) -> Self {
        self.let_go = Task::detach_reported;
        self
    }
}

impl<T> Future for Shield<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = &mut self.task else {
            return Poll::Ready(Err(JoinError::Taken));
        };
        let polled = Pin::new(task).poll(cx);
        if polled.is_ready() {
            self.task = None;
        }
        polled
    }
}

impl<T> Drop for Shield<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            (self.let_go)(task);
        }
    }
}

impl<T> fmt::Debug for Shield<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield")
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}
