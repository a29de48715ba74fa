//! Waiting for tasks: until the first, the first failure, or all; nobody is cancelled.
#![cfg(not(rondel_loom))]

mod harness;

use std::future::{pending, ready};
use std::pin::Pin;
use std::task::Poll;

use harness::{Gate, executor, poll_once, yield_times};
use rondel_executor::{Done, Executor, JoinError, ReturnWhen, Spawner, Task, gather, select, wait};

fn places<T>(done: &[Done<T>]) -> Vec<usize> {
    done.iter().map(|done| done.place).collect()
}

fn after(executor: &Executor, turns: &[usize]) -> Vec<Task<usize>> {
    turns
        .iter()
        .map(|turns| {
            let turns = *turns;
            executor.spawn(async move {
                yield_times(turns).await;
                turns
            })
        })
        .collect()
}

#[test]
fn until_the_first_is_done() {
    let executor = Executor::new();
    let waiting = wait(after(&executor, &[9, 2, 5]), ReturnWhen::FirstCompleted);
    let task = executor.spawn(waiting);
    executor.run_until_idle();
    let (done, pending) = task.into_result().unwrap().unwrap();
    assert_eq!(places(&done), [1]);
    assert_eq!(done[0].outcome.as_ref().unwrap(), &2);
    assert_eq!(pending.len(), 2);
    // They ran on meanwhile; nobody cancelled them.
    let outcomes = executor.spawn(gather(pending));
    executor.run_until_idle();
    let outcomes = outcomes.into_result().unwrap().unwrap();
    assert_eq!(
        outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [9, 5]
    );
}

#[test]
fn until_all_are_done_in_the_order_of_their_ends() {
    let executor = Executor::new();
    let mut tasks = after(&executor, &[4, 0, 2]);
    tasks[2].set_name("named");
    let cancelled = executor.spawn(pending());
    cancelled.cancel();
    tasks.push(cancelled);
    let task = executor.spawn(wait(tasks, ReturnWhen::All));
    executor.run_until_idle();
    let (done, pending) = task.into_result().unwrap().unwrap();
    assert!(pending.is_empty());
    assert_eq!(places(&done).last(), Some(&0), "the slowest comes last");
    let named = done.iter().find(|done| done.place == 2).unwrap();
    assert_eq!(named.task.as_ref().unwrap().name(), "named");
    let cancelled = done.iter().find(|done| done.place == 3).unwrap();
    assert!(matches!(cancelled.outcome, Err(JoinError::Cancelled)));
}

/// asyncio F 89: there an error, here nothing to wait for.
#[test]
fn no_tasks_are_done_at_once() {
    for until in [
        ReturnWhen::FirstCompleted,
        ReturnWhen::All,
        ReturnWhen::FirstPanic,
    ] {
        let mut waiting = wait(Vec::<Task<()>>::new(), until);
        let Poll::Ready((done, pending)) = poll_once(Pin::new(&mut waiting)) else {
            panic!("it waits for nothing");
        };
        assert!(done.is_empty() && pending.is_empty());
    }
}

/// asyncio F 91.
#[test]
fn until_the_first_failure_which_a_cancellation_is_not() {
    let (executor, losses) = executor();
    let cancelled = executor.spawn(pending());
    cancelled.cancel();
    let gate = Gate::new();
    let gated = gate.wait();
    let fails = executor.spawn(async move {
        gated.await;
        Err("failed")
    });
    let well = executor.spawn(ready(Ok(())));
    let tasks = [well, cancelled, fails, executor.spawn(pending())];
    let task = executor.spawn(wait(tasks, ReturnWhen::FirstError));
    executor.run_until_idle();
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    let (done, pending) = task.into_result().unwrap().unwrap();
    assert_eq!((done.len(), pending.len()), (3, 1));
    assert!(matches!(done[2].outcome, Ok(Err("failed"))));
    pending[0].cancel();

    let panics = executor.spawn(async {
        if true {
            panic!("on purpose");
        }
        Ok::<(), ()>(())
    });
    let task = executor.spawn(wait(
        [panics, executor.spawn(std::future::pending())],
        ReturnWhen::FirstError,
    ));
    executor.run_until_idle();
    let (done, _) = task.into_result().unwrap().unwrap();
    assert!(matches!(done[0].outcome, Err(JoinError::Panicked(_))));
    assert!(losses.is_empty(), "somebody has it");
}

/// asyncio F 91.
#[test]
fn one_that_had_failed_before_ends_the_wait_at_once() {
    let executor = Executor::new();
    let failed = executor.spawn(ready(Err::<(), _>("before")));
    executor.run_until_idle();
    let mut waiting = wait([executor.spawn(pending()), failed], ReturnWhen::FirstError);
    let Poll::Ready((done, pending)) = poll_once(Pin::new(&mut waiting)) else {
        panic!("it has failed");
    };
    assert_eq!((places(&done), pending.len()), (vec![1], 1));
}

#[test]
fn until_one_that_the_program_looks_for() {
    let executor = Executor::new();
    let tasks = after(&executor, &[1, 8, 4, 100]);
    let until = ReturnWhen::First(|outcome| outcome.as_ref().is_ok_and(|n| *n > 3));
    let task = executor.spawn(wait(tasks, until));
    executor.run_until_idle();
    let (done, _) = task.into_result().unwrap().unwrap();
    assert_eq!(places(&done), [0, 2]);
}

/// asyncio F 92: the timed form is a limit around the wait, whoever keeps the time.
#[test]
fn a_wait_that_is_given_up_gives_what_is_done_and_what_is_not() {
    let executor = Executor::new();
    let gate = Gate::new();
    let (time, gated) = (gate.wait(), gate.wait());
    let task = executor.spawn(async move {
        let here = Spawner::current().unwrap();
        let at_the_deadline = here.spawn(async move {
            gated.await;
            "just in time"
        });
        let tasks = [
            here.spawn(ready("early")),
            here.spawn(pending()),
            at_the_deadline,
        ];
        // It is in line before this task is.
        yield_times(1).await;
        let mut waiting = wait(tasks, ReturnWhen::All);
        select(&mut waiting, time).await;
        waiting.split()
    });
    executor.run_until_idle();
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    let (done, pending) = task.into_result().unwrap().unwrap();
    assert_eq!(places(&done), [0, 2], "both at exactly the deadline");
    assert_eq!(pending.len(), 1);
    assert!(!pending[0].is_finished());
}

#[test]
fn a_wait_that_is_dropped_detaches() {
    let executor = Executor::new();
    let gate = Gate::new();
    let gated = gate.wait();
    let waiting = wait([executor.spawn(gated)], ReturnWhen::All);
    drop(waiting);
    executor.run_until_idle();
    assert_eq!(executor.alive(), 1);
    gate.open();
    executor.run_until_idle();
    assert_eq!(executor.alive(), 0);
}

#[test]
fn many_tasks_are_waited_for_one_poll_each() {
    let executor = Executor::new();
    let gate = Gate::new();
    let tasks: Vec<_> = (0..10_000).map(|_| executor.spawn(gate.wait())).collect();
    let task = executor.spawn(wait(tasks, ReturnWhen::All));
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    let (done, pending) = task.into_result().unwrap().unwrap();
    assert_eq!((done.len(), pending.len()), (10_000, 0));
    assert!(places(&done).is_sorted());
}
