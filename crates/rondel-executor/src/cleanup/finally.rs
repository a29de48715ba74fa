//! A cleanup after a body, in whatever way the body ends.

use std::future::Future;

use crate::cleanup::defer::defer;

/// Runs `body`, then `cleanup`, and gives the body's output. If the body panics, or is dropped because somebody cancelled
/// around it, the cleanup is left to the scope around, whose owner waits for it; see [`leave`](crate::leave).
///
/// asyncio: `try: … finally: await …`. When body and cleanup need the same thing, take [`bracket`](crate::bracket).
///
/// ```
/// use rondel_executor::{Executor, finally};
///
/// let executor = Executor::new();
/// let task = executor.spawn(finally(async { 42 }, async { println!("done") }));
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), 42);
/// ```
pub async fn finally<T, B, C>(body: B, cleanup: C) -> T
where
    B: Future<Output = T>,
    C: Future<Output = ()> + 'static,
{
    let cleanup = defer(cleanup);
    let output = body.await;
    cleanup.run().await;
    output
}
