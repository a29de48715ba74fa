//! The limit for the executor's rows: the smallest executor over async-task. No clock, no I/O, no
//! list of its tasks, no isolation of panics, and no wake-ups from other threads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::pin::pin;
use std::process::abort;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use async_task::{Runnable, Task};

use super::contender::Contender;
use crate::workloads::jobs::task_jobs;
use crate::workloads::runtime::Tasks;

pub(super) const CONTENDER: Contender = Contender {
    name: "limit-task",
    what: "the smallest executor over async-task; neither clock nor I/O nor other threads",
    needs: None,
    micro: task_jobs::<Smallest>,
    serve: None,
    serve_datagrams: None,
    serve_tls: None,
    serve_http: None,
    serve_http_by_workers: None,
};

enum Entry {
    Task(Runnable),
    Callback(Box<dyn FnOnce()>),
}

/// There is one executor in a process, so that a task can be at home on one thread only.
static TAKEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    static HOME: Cell<bool> = const { Cell::new(false) };
    // Never dropped: a thread-local with a destructor costs a check at each access.
    static READY: RefCell<ManuallyDrop<VecDeque<Entry>>> =
        const { RefCell::new(ManuallyDrop::new(VecDeque::new())) };
}

fn push(entry: Entry) {
    READY.with_borrow_mut(|ready| ready.push_back(entry));
}

/// async-task's schedule function. It captures nothing, which spares two atomic operations a run.
fn schedule(task: Runnable) {
    if !HOME.get() {
        // The task may be neither run nor dropped here.
        abort();
    }
    push(Entry::Task(task));
}

struct Smallest;

impl Tasks for Smallest {
    type Task<T: 'static> = Task<T>;

    fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
        assert!(
            !TAKEN.swap(true, Ordering::Relaxed),
            "one executor a process"
        );
        HOME.set(true);
        // The main future is polled again whenever the queue has run dry: nothing else wakes it.
        let mut main = pin!(main);
        loop {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(output) = main.as_mut().poll(&mut cx) {
                return output;
            }
            while let Some(entry) = READY.with_borrow_mut(|ready| ready.pop_front()) {
                match entry {
                    Entry::Task(task) => {
                        task.run();
                    }
                    Entry::Callback(callback) => callback(),
                }
            }
        }
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
        assert!(HOME.get(), "spawned outside the executor");
        // SAFETY: `schedule` is Send, Sync and 'static, the future is 'static. The runnable of a
        // future that is not Send stays on this thread: `schedule` lets nothing be queued elsewhere,
        // and no other thread is home, since one executor runs in a process.
        let (runnable, task) = unsafe { async_task::spawn_unchecked(future, schedule) };
        runnable.schedule();
        task
    }

    fn joined<T: 'static>(output: T) -> T {
        output
    }

    fn detach<T: 'static>(task: Task<T>) {
        task.detach();
    }

    fn yield_now() -> impl Future<Output = ()> {
        let mut yielded = false;
        poll_fn(move |cx| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn call_soon(callback: impl FnOnce() + 'static) {
        push(Entry::Callback(Box::new(callback)));
    }
}
