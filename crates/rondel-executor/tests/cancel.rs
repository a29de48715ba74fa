//! Cancelling: at every moment of a task's life, and what is dropped where.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::RefCell;
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::task::Poll;

use harness::{Gate, Log, count_polls, executor, here, hold, on_drop, running, yield_now};
use rondel_executor::{Executor, JoinError, Outcome, Task};

#[track_caller]
fn cancelled<T: std::fmt::Debug>(task: Task<T>) {
    let outcome = task.into_result().expect("the task is done");
    assert!(matches!(outcome, Err(JoinError::Cancelled)), "{outcome:?}");
}

#[test]
fn before_its_first_poll_a_task_is_dropped_unpolled() {
    let (executor, log) = (Executor::new(), Log::new());
    let held = log.on_drop("dropped");
    let (future, polls) = count_polls(Box::pin(hold(held)));
    let task = executor.spawn(future);
    assert!(task.cancel());
    assert!(log.take().is_empty(), "dropped before its turn");
    assert!(!task.is_finished());
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped"]);
    assert_eq!(polls.get(), 0);
    cancelled(task);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_suspended_task_is_dropped_unpolled_at_its_turn() {
    let (executor, log) = (Executor::new(), Log::new());
    let held = log.on_drop("dropped");
    let (future, polls) = count_polls(Box::pin(hold(held)));
    let task = executor.spawn(future);
    executor.run_until_idle();
    let before = log.clone();
    executor.call_soon(move || before.add("ready before"));
    assert!(task.cancel());
    let after = log.clone();
    executor.call_soon(move || after.add("ready after"));
    executor.run_until_idle();
    assert_eq!(log.take(), ["ready before", "dropped", "ready after"]);
    assert_eq!(polls.get(), 1);
    cancelled(task);
}

#[test]
fn a_task_that_is_woken_already_is_not_polled_again() {
    let executor = Executor::new();
    let gate = Gate::new();
    let (future, polls) = count_polls(gate.wait());
    let task = executor.spawn(future);
    executor.run_until_idle();
    gate.open();
    assert!(task.cancel());
    executor.run_until_idle();
    assert_eq!(polls.get(), 1);
    cancelled(task);
}

/// A task that finds its own handle in the place returned.
type Own<T> = Rc<RefCell<Option<Task<T>>>>;

#[test]
fn cancelled_while_it_runs_a_task_ends_where_it_suspends() {
    let (executor, log) = (Executor::new(), Log::new());
    let own: Own<()> = Rc::default();
    let (inside, logged) = (Rc::clone(&own), log.clone());
    let held = log.on_drop("dropped");
    let task = executor.spawn(async move {
        let _held = held;
        let accepted = inside.borrow().as_ref().unwrap().cancel();
        logged.add(format!("cancelled itself: {accepted}"));
        yield_now().await;
        logged.add("never");
    });
    *own.borrow_mut() = Some(task);
    executor.run_until_idle();
    assert_eq!(log.take(), ["cancelled itself: true", "dropped"]);
    cancelled(own.take().unwrap());
    assert!(!executor.has_ready());
}

#[test]
fn cancelled_while_it_runs_again_after_a_suspension() {
    let (executor, log) = (Executor::new(), Log::new());
    let own: Own<()> = Rc::default();
    let (inside, logged) = (Rc::clone(&own), log.clone());
    let held = log.on_drop("dropped");
    let task = executor.spawn(async move {
        let _held = held;
        yield_now().await;
        inside.borrow().as_ref().unwrap().cancel();
        logged.add("cancelled itself");
        pending::<()>().await;
    });
    *own.borrow_mut() = Some(task);
    executor.run_until_idle();
    assert_eq!(log.take(), ["cancelled itself", "dropped"]);
    cancelled(own.take().unwrap());
    assert!(!executor.has_ready());
}

#[test]
fn a_result_wins_over_a_cancellation_in_the_same_poll() {
    let executor = Executor::new();
    let own: Own<&str> = Rc::default();
    let inside = Rc::clone(&own);
    let task = executor.spawn(async move {
        inside.borrow().as_ref().unwrap().cancel();
        "finished"
    });
    *own.borrow_mut() = Some(task);
    executor.run_until_idle();
    let task = own.take().unwrap();
    assert_eq!(task.info().unwrap().outcome(), Outcome::Finished);
    assert_eq!(task.into_result().unwrap().unwrap(), "finished");
}

#[test]
fn a_finished_task_cannot_be_cancelled() {
    let executor = Executor::new();
    let task = executor.spawn(ready(1));
    executor.run_until_idle();
    assert!(!task.cancel());
    assert!(!task.cancel());
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), 1);
}

#[test]
fn cancelling_twice_is_the_same_as_once() {
    let (executor, log) = (Executor::new(), Log::new());
    let task = executor.spawn(hold(log.on_drop("dropped")));
    executor.run_until_idle();
    assert!(task.cancel());
    assert!(task.cancel());
    assert_eq!(executor.spawner().ready_len(), 1);
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped"]);
    assert!(!task.cancel());
    cancelled(task);
}

#[test]
fn the_future_is_dropped_inside_its_task() {
    let (executor, log) = (Executor::new(), Log::new());
    let dropper = |log: &Log| {
        let log = log.clone();
        on_drop(move || {
            assert!(rondel_executor::Spawner::current().is_some());
            log.add(running().unwrap_or_default());
        })
    };
    let held = dropper(&log);
    let finishing = executor
        .spawn(async move {
            let _held = held;
            yield_now().await;
        })
        .named("finishing");
    let suspended = executor.spawn(hold(dropper(&log))).named("suspended");
    executor.run_until_idle();
    let not_begun = executor.spawn(hold(dropper(&log))).named("not begun");
    suspended.cancel();
    not_begun.cancel();
    executor.run_until_idle();
    assert!(finishing.is_finished());
    let _closed = executor.spawn(hold(dropper(&log))).named("closed");
    executor.close();
    // In the order in which they were made ready: woken by `cancel`, spawned before.
    assert_eq!(
        log.take(),
        ["finishing", "not begun", "suspended", "closed"]
    );
}

#[test]
fn the_awaiter_learns_of_it_and_is_not_cancelled_itself() {
    let executor = Executor::new();
    let child = Rc::new(RefCell::new(None));
    let (inside, polls) = count_polls(Box::pin(pending::<u8>()));
    let slot = Rc::clone(&child);
    let parent = executor.spawn(async move {
        let mut task = here().spawn(inside);
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(outcome) = std::pin::Pin::new(&mut task).poll(cx) {
                return Poll::Ready(outcome);
            }
            // A second way to reach the child, for the test.
            if slot.borrow().is_none() {
                *slot.borrow_mut() = Some(here());
            }
            Poll::Pending
        })
        .await;
        matches!(outcome, Err(JoinError::Cancelled))
    });
    executor.run_until_idle();
    let child_id = executor.tasks().iter().map(|task| task.id()).max().unwrap();
    assert_eq!(executor.tasks().len(), 2);
    assert!(child_id > parent.id());
    parent.cancel();
    executor.run_until_idle();
    // The child was detached by its parent's end, not cancelled.
    assert_eq!(executor.tasks()[0].id(), child_id);
    assert_eq!(executor.cancel_all(), 1);
    executor.run_until_idle();
    assert_eq!(polls.get(), 1);
    cancelled(parent);

    let child = executor.spawn(pending::<()>());
    let cancel = Rc::new(child);
    let canceller = Rc::clone(&cancel);
    executor.call_soon(move || {
        canceller.cancel();
    });
    executor.run_until_idle();
    let awaited = executor.spawn(Rc::into_inner(cancel).unwrap());
    executor.run_until_idle();
    assert!(matches!(
        awaited.into_result().unwrap(),
        Ok(Err(JoinError::Cancelled))
    ));
}

#[test]
fn cancel_all_reaches_every_state() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let suspended = executor.spawn(hold(log.on_drop("suspended")));
    let held = log.on_drop("woken");
    let waiting = gate.wait();
    let woken = executor.spawn(async move {
        let _held = held;
        waiting.await;
        pending::<()>().await;
    });
    let finished = executor.spawn(ready(()));
    executor.run_until_idle();
    gate.open();
    let not_begun = executor.spawn(hold(log.on_drop("not begun")));
    let asked = executor.spawn(hold(log.on_drop("asked already")));
    asked.cancel();
    // What was asked already is not counted if it has not begun; counting it twice does no harm otherwise.
    assert_eq!(executor.cancel_all(), 3);
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        ["woken", "not begun", "asked already", "suspended"]
    );
    assert_eq!(executor.alive(), 0);
    assert_eq!(executor.cancel_all(), 0);
    for task in [suspended, woken, not_begun, asked] {
        cancelled(task);
    }
    finished.into_result().unwrap().unwrap();
}

#[test]
fn cancel_all_reaches_the_task_that_calls_it() {
    let executor = Rc::new(Executor::new());
    for begun_before in [false, true] {
        let inside = Rc::clone(&executor);
        let task = executor.spawn(async move {
            if begun_before {
                yield_now().await;
            }
            let cancelled = inside.cancel_all();
            pending::<()>().await;
            cancelled
        });
        executor.run_until_idle();
        assert!(task.is_finished(), "begun before: {begun_before}");
        cancelled(task);
        assert_eq!(executor.alive(), 0);
    }
}

#[test]
fn the_output_of_a_finished_task_survives_a_close() {
    let executor = Executor::new();
    let task = executor.spawn(ready(3));
    executor.run_until_idle();
    executor.close();
    assert!(!task.cancel());
    assert_eq!(task.into_result().unwrap().unwrap(), 3);
}

#[test]
fn a_future_that_cancels_its_own_task_as_it_is_dropped_ends_once() {
    let (executor, losses) = executor();
    let log = Log::new();
    let own: Own<()> = Rc::default();
    let (inside, logged) = (Rc::clone(&own), log.clone());
    let held = on_drop(move || {
        let accepted = inside.borrow().as_ref().unwrap().cancel();
        logged.add(format!("dropped, {accepted}"));
    });
    *own.borrow_mut() = Some(executor.spawn(hold(held)));
    executor.run_until_idle();
    own.borrow().as_ref().unwrap().cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped, true"]);
    assert!(losses.is_empty());
    assert!(!executor.has_ready());
    cancelled(own.take().unwrap());
}
