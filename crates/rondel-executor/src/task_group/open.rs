//! The calls that open a group, and return when all in it have ended.

use super::member::Plain;
use super::run::Running;
use super::{TaskGroup, TaskScope};
use crate::error_group::GroupError;

/// Runs `body` with a group of children, and returns when the body and every child have ended: no child outlives the call.
///
/// A child is spawned with [`TaskGroup::spawn`] and runs beside the body, as a part of the task that awaits the group. It need
/// not be `Send` or `'static`: it borrows what was declared before the group.
///
/// - The first failure (a child or the body returns `Err`) cancels the body and all children. The group still runs what was
///   ready together with it to its end, and all errors of that batch come back in one [`ErrorGroup`](crate::ErrorGroup).
/// - A body that returns early waits for the children. Those may spawn more.
/// - What a cancelled child leaves to clean up ([`defer`](crate::defer) and its like) is cleaned up before the group returns,
///   that of different children side by side.
/// - A panic of a child or the body cancels like a failure, and goes on in the caller when all have ended.
/// - [`TaskGroup::cancel`] ends the group early without a failure: [`GroupError::Cancelled`].
///
/// asyncio: `async with asyncio.TaskGroup()`. Trio: a nursery. The standard library: `thread::scope`. For tasks that are not
/// part of the caller, see [`TaskSet`](crate::TaskSet); where nothing can fail, [`task_scope`].
///
/// ```
/// use rondel_executor::{Executor, task_group};
/// use std::cell::Cell;
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let words = vec!["never", "gonna", "give"];
///     let letters = Cell::new(0);
///     let ended = task_group(async |g| {
///         for word in &words {
///             let letters = &letters;
///             g.spawn(async move {
///                 letters.set(letters.get() + word.len());
///                 Ok::<_, std::io::Error>(())
///             });
///         }
///         Ok("spawned")
///     })
///     .await;
///     assert_eq!(ended.unwrap(), "spawned");
///     letters.get()
/// });
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), 14);
/// ```
///
/// Children cannot borrow what the body declares, it might return before them:
///
/// ```compile_fail,E0373
/// # use rondel_executor::task_group;
/// # async fn example() {
/// task_group(async |g| {
///     let local = 1;
///     g.spawn(async { Ok::<_, ()>(println!("{local}")) });
///     Ok(())
/// })
/// .await
/// # .unwrap();
/// # }
/// ```
///
/// Each poll of the group runs at most the children that were ready when it began, so a busy group does not hold up the rest
/// of the program.
///
/// # Errors
/// [`GroupError::Failed`] with all errors, [`GroupError::Cancelled`] if the group was cancelled by itself.
///
/// # Panics
/// If the body or a child panicked, with that panic, after all have ended. It comes before errors, which are dropped then; a
/// second panic is reported as lost.
///
/// # Cancel safety
/// Dropped before it has ended, it drops the body, then the children in the order of spawning; what each leaves to clean up is
/// left to the scope around, so that whoever cancelled waits for it.
pub async fn task_group<'env, R, E, B>(body: B) -> Result<R, GroupError<E>>
where
    E: 'env,
    B: AsyncFnOnce(TaskGroup<'env, E>) -> Result<R, E>,
{
    let group = TaskGroup::new();
    Running::new(&group, body(group.clone())).await
}

/// Runs `body` with a scope for children that cannot fail, and returns the body's output when it and every child have ended.
///
/// [`task_group`] without an error type: children and body return plain outputs, and nothing cancels the scope but a panic, or
/// whoever drops it. Single children are cancelled by their handles.
///
/// # Panics
/// If the body or a child panicked, with that panic, after all have ended.
///
/// # Cancel safety
/// As [`task_group`].
///
/// ```
/// use rondel_executor::{Executor, task_scope};
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let text = String::from("it borrows");
///     task_scope(async |s| {
///         let text = &text;
///         let letters = s.spawn(async move { text.len() });
///         let words = s.spawn(async move { text.split(' ').count() });
///         (letters.await.unwrap(), words.await.unwrap())
///     })
///     .await
/// });
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), (10, 2));
/// ```
pub async fn task_scope<'env, R, B>(body: B) -> R
where
    B: AsyncFnOnce(TaskScope<'env>) -> R,
{
    let scope = TaskScope(TaskGroup::new());
    let running = Running::new(&scope.0, Plain::new(body(scope.clone())));
    match running.await {
        Ok(output) => output,
        Err(GroupError::Failed(errors)) => match errors.first {},
        Err(GroupError::Cancelled) => unreachable!("a scope gives nobody its group to cancel"),
    }
}
