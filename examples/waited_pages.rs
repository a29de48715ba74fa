//! Ten pages by `wait`: tasks that go on by themselves, watched until the first, the first error, or all of them are done.
//!
//! `gather` (in `gathered_pages`) gives values and owns what it runs. `wait` decides nothing about its tasks: it says which are
//! done and hands back those that are not. The pages here take one to ten seconds, and one of them is missing.
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::ReturnWhen;
use rondel::prelude::*;
use std::pin::pin;

async fn get_html(seconds: u64) -> Result<String, &'static str> {
    sleep(Duration::from_secs(seconds)).await;
    match seconds {
        5 => Err("404 Not Found"),
        _ => Ok(format!("page {seconds}")),
    }
}

fn main() -> Result<(), RunError> {
    run(async {
        let clock = LocalLoop::current().expect("inside run");
        let start = clock.time();
        let say = |what: &str, done: usize, pending: usize| {
            let passed = (clock.time() - start).as_secs_f64();
            println!("{passed:.1} s: {what}: {done} done, {pending} pending");
        };

        let tasks = (1..=10).map(|seconds| spawn(get_html(seconds)));
        let (done, pending) = wait(tasks, ReturnWhen::FirstCompleted).await;
        say("the first", done.len(), pending.len());

        let (done, pending) = wait(pending, ReturnWhen::FirstError).await;
        say("the first error", done.len(), pending.len());
        for ended in &done {
            if let Ok(Err(error)) = &ended.outcome {
                println!("       {error}");
            }
        }

        // A limit: the waiting ends, the tasks do not.
        let mut waiting = wait(pending, ReturnWhen::All);
        let in_time = timeout(Duration::from_millis(2500), pin!(&mut waiting)).await;
        assert!(in_time.is_err(), "there are five seconds to go");
        let (done, pending) = waiting.split();
        say("two and a half seconds later", done.len(), pending.len());

        let (done, pending) = wait(pending, ReturnWhen::All).await;
        say("all", done.len(), pending.len());
    })
}
