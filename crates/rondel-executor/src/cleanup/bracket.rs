//! Acquire, use, release, where releasing has to be awaited.

use crate::cleanup::inline::Inline;
use crate::cleanup::leave;

/// Lends `state` to `body`, and gives it to `cleanup` when the body has ended, in whatever way: it returned, it panicked, or
/// it was dropped because somebody cancelled around it.
///
/// Gives the body's output, after the cleanup. If the body is dropped or panics, the cleanup is left to the scope around,
/// whose owner waits for it ([`leave`](crate::leave) says who that is). A cleanup that is cancelled itself while it runs here
/// goes on there, from where it was: it is neither lost nor begun again.
///
/// This is the first choice among the forms of cleanup, since the cleanup has what it needs; see also
/// [`defer`](crate::defer) and [`finally`](crate::finally). asyncio: `async with`, and `try: … finally: await …`.
///
/// ```
/// use rondel_executor::{Executor, bracket};
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let connection = vec!["hello"];
///     bracket(
///         connection,
///         async |connection| connection.push("how are you"),
///         async |mut connection| connection.push("goodbye"),
///     )
///     .await
/// });
/// executor.run_until_idle();
/// assert!(task.is_finished());
/// ```
///
/// The state, not a borrow of it, is what the cleanup gets: dropping a future ends every borrow of its frame.
///
/// ```compile_fail,E0373
/// # use rondel_executor::bracket;
/// # async fn example() {
/// let mut log = Vec::new();
/// bracket(1, async |_| {}, async |number| log.push(number)).await
/// # }
/// ```
pub async fn bracket<S, T, B, C>(state: S, body: B, cleanup: C) -> T
where
    S: 'static,
    B: AsyncFnOnce(&mut S) -> T,
    C: AsyncFnOnce(S) + 'static,
{
    let mut guard = Guard {
        parts: Some((state, cleanup)),
    };
    let output = match &mut guard.parts {
        Some((state, _)) => body(state).await,
        None => unreachable!("taken below"),
    };
    if let Some((state, cleanup)) = guard.parts.take() {
        Inline::new(async move { cleanup(state).await }).await;
    }
    output
}

struct Guard<S, C>
where
    S: 'static,
    C: AsyncFnOnce(S) + 'static,
{
    parts: Option<(S, C)>,
}

impl<S, C> Drop for Guard<S, C>
where
    S: 'static,
    C: AsyncFnOnce(S) + 'static,
{
    fn drop(&mut self) {
        if let Some((state, cleanup)) = self.parts.take() {
            leave(Box::pin(async move { cleanup(state).await }));
        }
    }
}
