//! A promise and a task: a container for a result that somebody else sets, and a coroutine on its way to its own.
//!
//! asyncio has `Future` and its subclass `Task`. Here the container comes in two halves: the `Promise` is kept, once, and the
//! `Deferred` is awaited. A task is awaited the same way. `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next
//! deadline.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel::{DeferredError, promise};
use std::fmt;
use std::time::Instant;

#[derive(Clone, Debug)]
struct OutOfPaper;

impl fmt::Display for OutOfPaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of paper")
    }
}

impl std::error::Error for OutOfPaper {}

/// Says when something happens.
#[derive(Clone)]
struct Log {
    clock: LocalLoop,
    start: Instant,
}

impl Log {
    fn say(&self, what: impl fmt::Display) {
        let passed = self.clock.time() - self.start;
        println!("{:.0} s: {what}", passed.as_secs_f64());
    }
}

/// A result that a callback sets: no coroutine runs for it.
async fn by_a_callback(log: &Log) {
    let (promise, deferred) = promise::<_, OutOfPaper>();
    let for_the_callback = log.clone();
    deferred.on_done(move |how| for_the_callback.say(format_args!("settled: {how:?}")));
    log.clock.call_later(Duration::from_secs(1), move || {
        promise.set_result("printed").expect("somebody waits");
    });
    log.say(deferred.await.expect("it is kept"));
}

/// To whoever waits a task is the same, and it runs a coroutine.
async fn by_a_task(log: &Log) {
    let task = spawn(async {
        sleep(Duration::from_secs(1)).await;
        "printed by a task"
    });
    log.say(task.await.expect("it neither panics nor is cancelled"));
}

/// Several can wait for one result.
async fn for_several(log: &Log) {
    let (promise, deferred) = promise::<_, OutOfPaper>();
    let deferred = deferred.shared();
    let waiters = [1, 2].map(|n| {
        let (deferred, log) = (deferred.clone(), log.clone());
        spawn(async move { log.say(format_args!("waiter {n} has {:?}", deferred.await)) })
    });
    sleep(Duration::from_secs(1)).await;
    promise.set_result(42).expect("both wait");
    for waiter in waiters {
        waiter.await.expect("it neither panics nor is cancelled");
    }
}

/// It can fail, and a promise that is dropped unkept says so too.
async fn in_vain(log: &Log) {
    let (broken, deferred) = promise::<(), _>();
    broken.set_error(OutOfPaper).expect("somebody waits");
    if let Err(DeferredError::Failed(error)) = deferred.await {
        log.say(error);
    }
    let (forgotten, deferred) = promise::<(), OutOfPaper>();
    drop(forgotten);
    if let Err(error) = deferred.await {
        log.say(error);
    }
}

fn main() -> Result<(), RunError> {
    run(async {
        let clock = LocalLoop::current().expect("inside run");
        let start = clock.time();
        let log = Log { clock, start };
        by_a_callback(&log).await;
        by_a_task(&log).await;
        for_several(&log).await;
        in_vain(&log).await;
    })
}
