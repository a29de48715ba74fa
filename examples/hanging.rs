//! Programs that hang, and what they say about it.
//!
//! Without an argument it lets itself be looked into from inside: two tasks that hold a lock each and want the other's, a task that
//! waits for what nobody sends, one that keeps the loop from going on; then it ends. With the name of one of them (`embrace`,
//! `forgotten`, `hog`) it hangs until Ctrl-C, to be looked into from outside:
//!
//! ```text
//! RONDEL_INSPECT=1 cargo run --example hanging embrace &
//! cargo run -p rondel-cli -- pstree $(pgrep hanging)
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use rondel::prelude::*;
use rondel::sync::{Lock, mpsc};
use rondel::{LocalLoop, TaskGraph, Watchdog};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc as threads;

/// Two tasks, two locks, in opposite order.
fn embrace() {
    let accounts = [Rc::new(Lock::new()), Rc::new(Lock::new())];
    for (name, from, to) in [("there", 0, 1), ("back", 1, 0)] {
        let (from, to) = (accounts[from].clone(), accounts[to].clone());
        let transfer = async move {
            let _from = from.acquire().await;
            yield_now().await;
            let _to = to.acquire().await;
            println!("{name}: never said");
        };
        spawn(transfer).set_name(format!("transfer {name}"));
    }
}

/// A consumer whose producer lives on, and sends nothing.
fn forgotten() {
    let (sender, mut receiver) = mpsc::channel::<u32>(1);
    let consumer = async move {
        while let Some(number) = receiver.recv().await {
            println!("{number}: never said");
        }
    };
    spawn(consumer).set_name("consumer");
    let producer = async move {
        let _kept = sender;
        std::future::pending::<()>().await;
    };
    spawn(producer).set_name("producer");
}

/// A task that computes where it should give way: until `enough` says so.
fn hog(enough: impl Fn() -> bool + 'static) {
    spawn(async move { while !enough() {} }).set_name("hog");
}

fn graph() -> TaskGraph {
    LocalLoop::current().expect("inside a task").task_graph()
}

async fn seen_from_inside() {
    let local = LocalLoop::current().expect("inside a task");
    // Who holds a lock, and how often tasks were polled, is noted from here on.
    local.set_accounts(true);
    println!("an embrace:");
    embrace();
    sleep(Duration::from_millis(10)).await;
    print!("{}", graph());
    println!("waiting for what nobody sends:");
    forgotten();
    sleep(Duration::from_millis(10)).await;
    for task in graph().tasks().iter().rev().take(2) {
        println!("* {task}");
    }
    println!("keeping the loop from going on:");
    let (seen, report) = threads::channel();
    let watchdog = Watchdog::new().limit(Duration::from_millis(50));
    local.set_watchdog(Some(watchdog.on_blocked(move |blocked| {
        println!("{blocked}");
        // Nobody listens any more if it is seen twice.
        let _ = seen.send(());
    })));
    hog(move || report.try_recv().is_ok());
    sleep(Duration::from_millis(1)).await;
    println!("it goes on");
}

fn main() -> ExitCode {
    let case = std::env::args().nth(1);
    let outcome = match case.as_deref() {
        None => run(seen_from_inside()),
        Some(case) => {
            let begin: fn() = match case {
                "embrace" => embrace,
                "forgotten" => forgotten,
                "hog" => || hog(|| false),
                other => {
                    eprintln!("there is no {other:?}, only embrace, forgotten and hog");
                    return ExitCode::FAILURE;
                }
            };
            run(async move {
                begin();
                std::future::pending().await
            })
        }
    };
    match outcome {
        Ok(()) | Err(RunError::Interrupted) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
