//! The threads that workers run on, and the one that waits for them.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use rondel_executor::{CancelToken, Cancellable, PanicPayload};
use rondel_loop::{Deferred, EventLoop, LocalLoop, RunError, RunOptions, Runner, promise, sleep};

use crate::workers::error::{WorkerFailure, WorkerFailureKind, WorkersError};
use crate::workers::{Worker, Workers, affinity};

/// How each worker ended.
type Outcomes<T, E> = Mutex<Vec<Outcome<T, E>>>;

struct Outcome<T, E> {
    index: usize,
    /// When its main function had ended.
    ended: Instant,
    result: Result<T, WorkerFailureKind<E>>,
}

/// Kept when a worker's thread is about to end.
type Ended = Deferred<(), std::convert::Infallible>;

/// Starts a thread for each of `workers`, and waits until all have ended.
pub(super) fn run_all<F, T, E>(
    options: &Workers,
    workers: Vec<Worker>,
    main: &F,
) -> Result<Vec<T>, WorkersError<E>>
where
    F: AsyncFn(Worker) -> Result<T, E> + Send + Sync,
    T: Send,
    E: Send,
{
    let event_loop = EventLoop::new().map_err(WorkersError::Loop)?;
    let local = event_loop.local();
    let mut runner = Runner::with(event_loop, RunOptions::new().ctrl_c(options.ctrl_c));
    let shutdown = CancelToken::clone(match workers.first() {
        Some(first) => first.shutdown(),
        None => return Ok(Vec::new()),
    });
    let outcomes: Outcomes<T, E> = Mutex::default();
    let waited = thread::scope(|scope| {
        // A failure of this thread must not leave the workers to themselves, for whom the scope waits.
        let ends_all = shutdown.drop_guard();
        // Inside, so that Ctrl-C is listened to before the first thread begins.
        let all = async {
            for ended in start_all(scope, options, workers, main, &outcomes, &local) {
                // Kept or dropped: the thread does nothing more.
                let _ = ended.await;
            }
        };
        match runner.run(all) {
            Ok(()) => ends_all.disarm(),
            Err(RunError::Interrupted) => {}
            Err(error) => return Err(WorkersError::Loop(error)),
        }
        Ok(())
    });
    runner.close();
    waited?;
    sort_out(outcomes)
}

fn start_all<'s, 'o: 's, F, T, E>(
    scope: &'s thread::Scope<'s, '_>,
    options: &'o Workers,
    workers: Vec<Worker>,
    main: &'o F,
    outcomes: &'o Outcomes<T, E>,
    local: &LocalLoop,
) -> Vec<Ended>
where
    F: AsyncFn(Worker) -> Result<T, E> + Send + Sync,
    T: Send,
    E: Send,
{
    let mut ends = Vec::with_capacity(workers.len());
    for worker in workers {
        let index = worker.index;
        let shutdown = worker.shutdown.clone();
        let (ending, ended) = promise();
        let ending = ending.remote(local);
        let run = {
            let shutdown = shutdown.clone();
            move || {
                note(outcomes, &shutdown, run_one(options, worker, main));
                // Fails only if the waiting was interrupted.
                let _ = ending.set_result(());
            }
        };
        let name = format!("{}-{index}", options.name);
        let started = if name.contains('\0') {
            // The standard library would panic.
            Err(io::ErrorKind::InvalidInput.into())
        } else {
            thread::Builder::new().name(name).spawn_scoped(scope, run)
        };
        match started {
            Ok(_) => ends.push(ended),
            Err(error) => {
                let failed = Outcome {
                    index,
                    ended: Instant::now(),
                    result: Err(WorkerFailureKind::Thread(error)),
                };
                note(outcomes, &shutdown, failed);
                break;
            }
        }
    }
    ends
}

fn note<T, E>(outcomes: &Outcomes<T, E>, shutdown: &CancelToken, outcome: Outcome<T, E>) {
    let failed = outcome.result.is_err();
    outcomes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(outcome);
    if failed {
        shutdown.cancel();
    }
}

fn sort_out<T, E>(outcomes: Outcomes<T, E>) -> Result<Vec<T>, WorkersError<E>> {
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|outcome| outcome.ended);
    let mut outputs = Vec::with_capacity(outcomes.len());
    let mut failures = Vec::new();
    for Outcome { index, result, .. } in outcomes {
        match result {
            Ok(output) => outputs.push((index, output)),
            Err(kind) => failures.push(WorkerFailure { index, kind }),
        }
    }
    if !failures.is_empty() {
        return Err(WorkersError::Failed(failures));
    }
    outputs.sort_by_key(|&(index, _)| index);
    Ok(outputs.into_iter().map(|(_, output)| output).collect())
}

/// A worker from its beginning to its end, on its thread.
fn run_one<F, T, E>(options: &Workers, worker: Worker, main: &F) -> Outcome<T, E>
where
    F: AsyncFn(Worker) -> Result<T, E>,
{
    let index = worker.index;
    let mut ended = None;
    // What is raised beside the main future: in closing, by what a task was dropped with.
    let result = catch_unwind(AssertUnwindSafe(|| {
        run_main(options, worker, main, &mut ended)
    }))
    .unwrap_or_else(|payload| Err(WorkerFailureKind::Panicked(PanicPayload::new(payload))));
    Outcome {
        index,
        ended: ended.unwrap_or_else(Instant::now),
        result,
    }
}

fn run_main<F, T, E>(
    options: &Workers,
    worker: Worker,
    main: &F,
    ended: &mut Option<Instant>,
) -> Result<T, WorkerFailureKind<E>>
where
    F: AsyncFn(Worker) -> Result<T, E>,
{
    if options.pinned {
        affinity::keep_to(worker.index).map_err(WorkerFailureKind::Thread)?;
    }
    let shutdown = worker.shutdown.clone();
    let event_loop = EventLoop::new().map_err(WorkerFailureKind::Loop)?;
    let mut runner = Runner::with(event_loop, RunOptions::new().ctrl_c(false));
    // Called inside, so that it may use the loop before its first await.
    let main = async move { main(worker).await };
    let outcome = match runner.run(within_grace(main, &shutdown, options.grace)) {
        Ok(Some(outcome)) => outcome.map_err(WorkerFailureKind::Error),
        Ok(None) => Err(WorkerFailureKind::Cancelled),
        Err(RunError::Panicked(payload)) => Err(WorkerFailureKind::Panicked(payload)),
        Err(error) => Err(WorkerFailureKind::Loop(error)),
    };
    *ended = Some(Instant::now());
    if outcome.is_err() {
        // The others need not wait until this one is tidied up.
        shutdown.cancel();
    }
    runner.close();
    outcome
}

/// Runs `main`, and cancels it when `grace` has gone by since `shutdown` was cancelled: `None` then.
async fn within_grace<F: Future>(
    main: F,
    shutdown: &CancelToken,
    grace: Duration,
) -> Option<F::Output> {
    let mut main = pin!(Cancellable::new(main));
    let mut limit = pin!(async {
        shutdown.cancelled().await;
        sleep(grace).await;
    });
    let mut over = false;
    poll_fn(|cx| {
        // First, so that what ends at the last moment has ended.
        if let Poll::Ready(output) = main.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if !over && limit.as_mut().poll(cx).is_ready() {
            over = true;
            main.as_mut().cancel();
            return main.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await
}
