//! rondel: one loop, default features, default settings.

use std::future::Future;
use std::time::Duration;

use ::rondel::{JoinError, Task};

use super::{Contender, Pool, Tasks, Timers, all_jobs};

pub(super) const CONTENDER: Contender = Contender {
    name: "rondel",
    what: "rondel's event loop as it comes",
    micro: all_jobs::<Rondel>,
    serve: None,
};

struct Rondel;

impl Tasks for Rondel {
    type Task<T: 'static> = Task<T>;

    fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
        ::rondel::run(main).expect("the loop runs")
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
        ::rondel::spawn(future)
    }

    fn joined<T: 'static>(output: Result<T, JoinError>) -> T {
        output.expect("no task of a workload panics")
    }

    fn detach<T: 'static>(task: Task<T>) {
        drop(task);
    }

    fn yield_now() -> impl Future<Output = ()> {
        ::rondel::yield_now()
    }

    fn call_soon(callback: impl FnOnce() + 'static) {
        ::rondel::call_soon(callback);
    }
}

impl Timers for Rondel {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        ::rondel::sleep(duration)
    }
}

impl Pool for Rondel {
    async fn unblock(work: impl FnOnce() + Send + 'static) {
        ::rondel::to_thread(work)
            .await
            .expect("a thread can be started");
    }
}
