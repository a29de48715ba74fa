//! [`host`] and [`run`]: rondel inside of tokio.

use std::future::{Future, poll_fn};

use rondel_loop::{JoinError, RunError};
use tokio::task::unconstrained;

use crate::error::HostError;
use crate::guest::Guest;

/// Runs `main` as the main task of a rondel loop, inside of the tokio runtime that is running on this thread. What demands tokio works
/// in it, and in every other task of the loop: reqwest, sqlx, tonic, `tokio::spawn`, and in a `LocalRuntime` or a `LocalSet`
/// `tokio::task::spawn_local`; beside rondel's own sockets, timers and tasks, all on one thread. tokio's own tasks have their turns
/// in between.
///
/// The thread must be the runtime's only one that polls this future: a current-thread runtime, or a `LocalSet`. The future is
/// `!Send`, so `tokio::spawn` does not take it.
///
/// When `main` has ended, the tasks that are left are cancelled, and their cleanups waited for, as by `rondel::run`. Unlike
/// there, Ctrl-C is left to whoever wants it, jobs in the loop's thread pool are not waited for, and timers are as coarse as tokio's:
/// a millisecond.
///
/// # Cancel safety
/// Dropped, it closes the loop: tasks are dropped, cleanups reported and not run.
///
/// # Errors
/// [`HostError`]; among others [`RunError::Panicked`] and [`RunError::Cancelled`]: how `main` ended.
///
/// # Panics
/// Outside a tokio runtime, or if it has no I/O or no timers (`enable_all`).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// let answer = rondel_tokio::host(async {
///     let shared = Rc::new(40); // rondel's tasks need not be `Send`
///     let ours = rondel_loop::spawn({
///         let shared = Rc::clone(&shared);
///         async move {
///             rondel_loop::sleep(Duration::from_millis(1)).await;
///             *shared + 1
///         }
///     });
///     // tokio's are here, too.
///     let theirs = tokio::spawn(async {
///         tokio::time::sleep(Duration::from_millis(1)).await;
///         1
///     });
///     ours.await.unwrap() + theirs.await.unwrap()
/// })
/// .await?;
/// assert_eq!(answer, 42);
/// # Ok(())
/// # }
/// ```
pub async fn host<F>(main: F) -> Result<F::Output, HostError>
where
    F: Future + 'static,
{
    let mut guest = Guest::new()?;
    let task = guest.event_loop().local().create_task(main);
    // tokio counts what its sockets do in a task, and stops them in the middle of it; here that would be one count for all of rondel's
    // tasks, which are fair by themselves.
    unconstrained(poll_fn(|cx| guest.poll_turns(cx, |_| task.is_finished()))).await?;
    let outcome = task.into_result();
    guest.event_loop().cancel_all_tasks();
    unconstrained(poll_fn(|cx| {
        guest.poll_turns(cx, |event_loop| event_loop.local().tasks().is_empty())
    }))
    .await?;
    guest.event_loop().close();
    match outcome {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(JoinError::Panicked(payload))) => Err(RunError::Panicked(payload).into()),
        _ => Err(RunError::Cancelled.into()),
    }
}

/// Starts a tokio runtime on this thread, with I/O and timers, and [`host`]s `main` in it, until it has ended.
///
/// tokio's tasks that are left then are dropped.
///
/// # Errors
/// As [`host`]; [`HostError::Runtime`].
///
/// # Panics
/// Inside of a tokio runtime: [`host`] is the one to call there.
///
/// ```
/// let port = rondel_tokio::run(async {
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
///     Ok::<_, std::io::Error>(listener.local_addr()?.port())
/// })??;
/// assert_ne!(port, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run<F>(main: F) -> Result<F::Output, HostError>
where
    F: Future + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(HostError::Runtime)?;
    runtime.block_on(host(main))
}
