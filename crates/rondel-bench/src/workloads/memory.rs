//! Memory: what an idle task keeps resident.

use std::cell::{Cell, RefCell};
use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Lengths;
use super::runtime::{Tasks, Timers};
use crate::figure::{Figure, MEM};

/// Spawned before the first reading, so that the runtime's own growth is not counted as the tasks'.
const WARM_UP: usize = 1000;
/// Tasks start in batches, so that the ready queue stays as short as it is in a program.
const BATCH: usize = 1000;

/// Tasks that wait for something that never comes.
pub(crate) fn pending_tasks<R: Tasks>(lengths: &Lengths) -> Vec<Figure> {
    let tasks = lengths.pending_tasks;
    // Resident before the first reading.
    WAITING.set(vec![Waker::noop().clone(); WARM_UP + tasks]);
    idle::<R, _>(tasks, || NeverComes)
}

/// Tasks that sleep for an hour.
pub(crate) fn sleeping_tasks<R: Timers>(lengths: &Lengths) -> Vec<Figure> {
    idle::<R, _>(lengths.sleeping_tasks, || {
        R::sleep(Duration::from_secs(3600))
    })
}

thread_local! {
    // Both outside the tasks, so that these hold nothing but what they wait for.
    static STARTED: Cell<usize> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Keeps its task's waker where whoever could complete it would find it: a task that nobody can wake
/// any more is dropped by some executors.
struct NeverComes;

impl Future for NeverComes {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // `STARTED` counts this task already.
        WAITING.with_borrow_mut(|waiting| waiting[STARTED.get() - 1] = cx.waker().clone());
        Poll::Pending
    }
}

/// The growth of resident memory per detached task that is blocked in `wait`.
fn idle<R, F>(tasks: usize, wait: impl Fn() -> F + Copy + 'static) -> Vec<Figure>
where
    R: Tasks,
    F: Future<Output = ()> + 'static,
{
    R::run(async move {
        start::<R, F>(WARM_UP, wait).await;
        let before = resident_bytes();
        start::<R, F>(tasks, wait).await;
        let grown = resident_bytes().saturating_sub(before);
        vec![MEM.of(grown as f64 / tasks as f64)]
    })
}

/// Spawns them and returns when each has been polled, and so has armed what it waits for.
async fn start<R: Tasks, F: Future<Output = ()> + 'static>(
    tasks: usize,
    wait: impl Fn() -> F + Copy + 'static,
) {
    for spawned in (0..tasks).step_by(BATCH) {
        let batch = BATCH.min(tasks - spawned);
        let all_started = STARTED.get() + batch;
        for _ in 0..batch {
            R::detach(R::spawn(async move {
                STARTED.set(STARTED.get() + 1);
                wait().await;
            }));
        }
        // A task that runs after them.
        R::joined(R::spawn(async {}).await);
        assert_eq!(
            STARTED.get(),
            all_started,
            "tasks run in the order in which they were spawned"
        );
    }
}

/// The second field of `/proc/self/statm` (proc(5)), in bytes.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|field| field.parse::<usize>().ok());
    pages.expect("statm has the resident pages in its second field") * rustix::param::page_size()
}
