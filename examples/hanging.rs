//! Programs that hang, each in a way of its own, and what they say about it.
//!
//! Without an argument they hang one after the other and let themselves be looked into from inside. With the name of one of them it
//! hangs until Ctrl-C, to be looked into from outside; `kill -USR1` has it say the same by itself:
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

use rondel::net::TcpStream;
use rondel::prelude::*;
use rondel::signal::Signal;
use rondel::sync::{Lock, Queue, mpsc};
use rondel::{LocalLoop, Task, TaskGraph, Watchdog};
use std::cell::RefCell;
use std::net::TcpListener;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc as threads;

/// A program that hangs: its name, what is wrong with it, and the program.
type Hanging = (&'static str, &'static str, fn());

const ALL: [Hanging; 8] = [
    (
        "embrace",
        "two tasks that hold a lock each and want the other's",
        embrace,
    ),
    (
        "siblings",
        "the same between children of one group",
        siblings,
    ),
    (
        "forgotten",
        "a task that waits for what nobody sends",
        forgotten,
    ),
    (
        "undone",
        "a queue with a job that nobody reports as done",
        undone,
    ),
    ("full", "two tasks with a full queue to each other", full),
    ("joined", "two tasks that await each other", joined),
    ("silent", "a peer that never answers", silent),
    ("hog", "a task that keeps the loop from going on", || {
        hog(|| false)
    }),
];

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

/// The same, but both are parts of one task.
fn siblings() {
    async fn transfer(from: &Lock, to: &Lock) {
        let _from = from.acquire().await;
        yield_now().await;
        let _to = to.acquire().await;
        println!("never said");
    }
    let both = async {
        let (one, other) = (Lock::new(), Lock::new());
        task_scope(async |scope| {
            scope.spawn_named("there", transfer(&one, &other));
            scope.spawn_named("back", transfer(&other, &one));
        })
        .await;
    };
    spawn(both).set_name("transfers");
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

/// A worker that passes over one of its jobs and does not say that it is done with it.
fn undone() {
    let jobs = Rc::new(Queue::new(0));
    let todo = jobs.clone();
    let boss = async move {
        for job in 0..3 {
            jobs.put(job).await.expect("nobody shuts the queue down");
        }
        jobs.join().await;
        println!("all done: never said");
    };
    spawn(boss).set_name("boss");
    let worker = async move {
        while let Ok(job) = todo.get().await {
            if job != 1 {
                todo.task_done().expect("it was got");
            }
        }
    };
    spawn(worker).set_name("worker");
}

/// Each sends more than the other one takes before it has sent everything.
fn full() {
    let (to_left, from_right) = mpsc::channel::<u32>(2);
    let (to_right, from_left) = mpsc::channel(2);
    for (name, sender, mut receiver) in [
        ("left", to_right, from_right),
        ("right", to_left, from_left),
    ] {
        let talk = async move {
            // A greeting each way goes well.
            sender.send(0).await.expect("the other one lives");
            receiver.recv().await;
            for number in 1..10 {
                sender.send(number).await.expect("the other one lives");
            }
            while let Some(number) = receiver.recv().await {
                println!("{number}: never said");
            }
        };
        spawn(talk).set_name(name);
    }
}

/// A task that awaits one that awaits it.
fn joined() {
    let handed_over = Rc::new(RefCell::new(None::<Task<()>>));
    let from = handed_over.clone();
    let parent = spawn(async move {
        yield_now().await;
        if let Some(child) = from.take() {
            // Cancelled, it has no outcome.
            let _ = child.await;
        }
    })
    .named("parent");
    let child = spawn(async move {
        let _ = parent.await;
    })
    .named("child");
    handed_over.replace(Some(child));
}

/// A request to somebody who takes the connection and says nothing.
fn silent() {
    let client = async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let stream = TcpStream::connect(listener.local_addr()?).await?;
        stream.write_all(b"anybody there?\n").await?;
        let mut answer = [0; 10];
        let length = stream.read(&mut answer).await?;
        println!("{length} bytes: never said");
        std::io::Result::Ok(())
    };
    spawn(client).named("client").detach_reported();
}

/// A task that computes where it should give way: until `enough` says so.
fn hog(enough: impl Fn() -> bool + 'static) {
    spawn(async move { while !enough() {} }).set_name("hog");
}

fn local() -> LocalLoop {
    LocalLoop::current().expect("inside a task")
}

fn graph() -> TaskGraph {
    local().task_graph()
}

async fn seen_from_inside() {
    // Who holds a lock, and how often tasks were polled, is noted from here on.
    local().set_accounts(true);
    for (name, what, begin) in ALL {
        println!("{name}: {what}");
        if name == "hog" {
            watch_hog().await;
            continue;
        }
        let before: Vec<_> = graph()
            .tasks()
            .iter()
            .map(|task| task.info().id())
            .collect();
        begin();
        sleep(Duration::from_millis(10)).await;
        let graph = graph();
        for task in graph.tasks() {
            if !before.contains(&task.info().id()) {
                println!("* {task}");
            }
        }
        for deadlock in graph.deadlocks() {
            if !before.contains(&deadlock.parties()[0].task()) {
                println!("{deadlock}");
            }
        }
    }
    println!("it goes on");
}

/// One that the loop itself cannot report, since it does not go on: a thread does.
async fn watch_hog() {
    let (seen, report) = threads::channel();
    let watchdog = Watchdog::new().limit(Duration::from_millis(50));
    local().set_watchdog(Some(watchdog.on_blocked(move |blocked| {
        println!("{blocked}");
        // Nobody listens any more if it is seen twice.
        let _ = seen.send(());
    })));
    hog(move || report.try_recv().is_ok());
    sleep(Duration::from_millis(1)).await;
}

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let outcome = match wanted.as_deref() {
        None => run(seen_from_inside()),
        Some(wanted) => {
            let Some((_, what, begin)) = ALL.iter().find(|(name, ..)| *name == wanted) else {
                let names = ALL.map(|(name, ..)| name).join(", ");
                eprintln!("there is no {wanted:?}, only {names}");
                return ExitCode::FAILURE;
            };
            run(async move {
                if let Err(error) = local().dump_on(Signal::USER1) {
                    eprintln!("without SIGUSR1: {error}");
                }
                println!("{what}");
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
