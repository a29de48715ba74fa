//! What the in-process workloads ask of a runtime.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// An executor on the current thread, used as its own users use it.
pub(crate) trait Tasks: 'static {
    /// The handle of a spawned task; awaiting it joins.
    type Task<T: 'static>: Future;

    /// Sets the runtime up, runs `main` to its end, tears it down.
    fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T;
    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Self::Task<T>;
    /// What a joined task returned.
    fn joined<T: 'static>(output: <Self::Task<T> as Future>::Output) -> T;
    /// Lets go of the handle; the task goes on.
    fn detach<T: 'static>(task: Self::Task<T>);
    fn yield_now() -> impl Future<Output = ()>;

    /// Schedules a callback. Where there is no such thing, users spawn a task and forget it.
    fn call_soon(callback: impl FnOnce() + 'static) {
        Self::detach(Self::spawn(async move { callback() }));
    }
}

/// An executor whose tasks can sleep.
pub(crate) trait Timers: Tasks {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;

    /// Lifts the limit, where there is one, on what a task may do in one poll.
    fn unbudgeted<T>(main: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        main
    }
}

/// An executor with threads beside it for what blocks.
pub(crate) trait Pool: Tasks {
    fn unblock(work: impl FnOnce() + Send + 'static) -> impl Future<Output = ()>;
}

/// A runtime that starts programs; monoio has nothing for it.
pub(crate) trait Processes: Tasks {
    /// Starts [`PROGRAM`](super::procs::PROGRAM) and waits for its success.
    fn run_program() -> impl Future<Output = ()>;
}

/// A lock and a semaphore between tasks of one thread: the runtime's own, or what its users take beside it.
pub(crate) trait Locks: Tasks {
    type Mutex: 'static;
    type Semaphore: 'static;

    fn mutex() -> Self::Mutex;
    /// Locked until what this gives is dropped.
    fn lock(mutex: &Self::Mutex) -> impl Future<Output = impl Sized>;
    fn semaphore(permits: usize) -> Self::Semaphore;
    /// One permit, until what this gives is dropped.
    fn acquire(semaphore: &Self::Semaphore) -> impl Future<Output = impl Sized>;
}

/// A bounded channel.
pub(crate) trait Channels: Tasks {
    type Sender: 'static;
    type Receiver: 'static;

    fn channel(bound: usize) -> (Self::Sender, Self::Receiver);
    fn send(sender: &mut Self::Sender, message: u64) -> impl Future<Output = ()>;
    /// `None` when the sender is gone.
    fn recv(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>>;
}

/// A channel in which every receiver gets every value.
pub(crate) trait Broadcasts: Tasks {
    type Announcer: 'static;
    type Listener: 'static;

    fn broadcast(capacity: usize, receivers: usize) -> (Self::Announcer, Vec<Self::Listener>);
    fn send_to_all(sender: &mut Self::Announcer, value: u64) -> impl Future<Output = ()>;
    /// The next value; the sender is there and none has been missed.
    fn receive(receiver: &mut Self::Listener) -> impl Future<Output = u64>;
}

/// Many futures run by one.
pub(crate) trait Composes: Tasks {
    type Set: 'static;

    /// Runs them beside one another, and adds up all their outputs.
    fn gather<F>(futures: Vec<F>) -> impl Future<Output = usize>
    where
        F: Future<Output = usize> + 'static;

    fn set() -> Self::Set;
    fn spawn_into(set: &mut Self::Set, future: impl Future<Output = usize> + 'static);
    /// What the next task to end has returned; `None` if there is none.
    fn join_next(set: &mut Self::Set) -> impl Future<Output = Option<usize>>;

    /// Runs them as parts of the caller until all have ended.
    fn group<F>(children: Vec<F>) -> impl Future<Output = ()> + 'static
    where
        F: Future<Output = ()> + 'static,
    {
        unordered(children)
    }
}

/// Runs them by futures' `FuturesUnordered` until all have ended.
pub(crate) async fn unordered<F: Future<Output = ()>>(children: Vec<F>) {
    let mut children: FuturesUnordered<F> = children.into_iter().collect();
    while children.next().await.is_some() {}
}
