//! Spawning: from where, of what, and what becomes of the handle.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::Cell;
use std::future::{pending, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use harness::{Gate, Log, executor, here, poll_once, yield_now, yield_times};
use rondel_executor::{Executor, JoinError, Spawner, Task};

#[test]
fn outputs_come_back() {
    let executor = Executor::new();
    let text = Rc::new("not Send".to_owned());
    let task = executor.spawn(ready(Rc::clone(&text)));
    assert!(!task.is_finished());
    executor.run_until_idle();
    assert!(task.is_finished());
    let output = task.into_result().unwrap().unwrap();
    assert!(Rc::ptr_eq(&output, &text));
    assert_eq!(executor.alive(), 0);
}

#[test]
fn tasks_spawn_tasks_and_await_them() {
    fn tree(depth: usize) -> std::pin::Pin<Box<dyn Future<Output = usize>>> {
        Box::pin(async move {
            if depth == 0 {
                yield_now().await;
                return 1;
            }
            let children: Vec<_> = (0..5).map(|_| here().spawn(tree(depth - 1))).collect();
            let mut sum = 1;
            for child in children {
                sum += child.await.unwrap();
            }
            sum
        })
    }
    let executor = Executor::new();
    let root = executor.spawn(tree(4));
    executor.run_until_idle();
    assert_eq!(root.into_result().unwrap().unwrap(), 781);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_dropped_handle_detaches() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (waiting, logged) = (gate.clone(), log.clone());
    let before = executor.spawn(async move {
        waiting.wait().await;
        logged.add("suspended");
    });
    let logged = log.clone();
    drop(executor.spawn(async move { logged.add("not begun") }));
    executor.run_until_idle();
    assert_eq!(log.take(), ["not begun"]);
    drop(before);
    assert_eq!(executor.alive(), 1);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["suspended"]);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_task_that_nobody_could_wake_is_kept_until_it_is_cancelled() {
    let (executor, log) = (Executor::new(), Log::new());
    let held = log.on_drop("dropped");
    executor.spawn(harness::hold(held)).detach();
    executor.run_until_idle();
    assert!(log.take().is_empty());
    assert_eq!(executor.cancel_all(), 1);
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped"]);
}

#[test]
fn outputs_nobody_wants_are_dropped_when_the_task_ends_or_the_handle_goes() {
    let (executor, log) = (Executor::new(), Log::new());
    let detached = log.clone();
    executor
        .spawn(async move { detached.on_drop("detached") })
        .detach();
    let held = log.clone();
    let handle = executor.spawn(async move { held.on_drop("held") });
    executor.run_until_idle();
    assert_eq!(log.take(), ["detached"]);
    drop(handle);
    assert_eq!(log.take(), ["held"]);
}

#[test]
fn a_result_is_given_once() {
    let executor = Executor::new();
    let mut task = executor.spawn(async {
        yield_now().await;
        "result".to_owned()
    });
    assert!(task.result().is_none());
    let task_again = task.into_result().unwrap_err();
    task = task_again;
    executor.run_until_idle();
    assert_eq!(task.result().unwrap().unwrap(), "result");
    assert!(matches!(task.result(), Some(Err(JoinError::Taken))));
    assert!(matches!(
        poll_once(pin!(&mut task)),
        Poll::Ready(Err(JoinError::Taken))
    ));
    assert!(poll_once(pin!(task.done())).is_ready());
    assert!(task.is_finished() && !task.cancel() && task.info().is_none());
    assert_eq!(task.id().get(), 0);
    assert!(task.name().is_empty() && task.spawned_at().is_none());
    assert!(task.on_done(|_| ()).is_none());
    assert!(matches!(task.into_result(), Ok(Err(JoinError::Taken))));
}

#[test]
fn done_waits_and_leaves_the_result() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let waiting = gate.clone();
    let mut task = executor.spawn(async move {
        waiting.wait().await;
        5
    });
    let logged = log.clone();
    let watcher = executor.spawn(async move {
        assert!(task.result().is_none());
        task.done().await;
        logged.add(task.is_finished());
        task.done().await;
        task.result().unwrap().unwrap()
    });
    executor.run_until_idle();
    assert!(log.take().is_empty());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["true"]);
    assert_eq!(watcher.into_result().unwrap().unwrap(), 5);
}

#[test]
fn many_may_wait_for_the_end_of_a_task() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let task = Rc::new(executor.spawn(gate.wait()));
    let done = log.clone();
    task.on_done(move |_| done.add("done-callback"));
    for index in 0..3 {
        let (task, log) = (Rc::clone(&task), log.clone());
        executor
            .spawn(async move {
                task.done().await;
                log.add(index);
            })
            .detach();
    }
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["done-callback", "0", "1", "2"]);
    Rc::into_inner(task)
        .unwrap()
        .into_result()
        .unwrap()
        .unwrap();
}

#[test]
fn waiting_for_the_end_takes_no_panic_away() {
    let (executor, losses) = executor();
    let task: Task<()> = executor.spawn(async { panic!("seen by nobody") });
    let watcher = executor.spawn(async move { task.done().await });
    executor.run_until_idle();
    watcher.into_result().unwrap().unwrap();
    assert_eq!(losses.words(), ["task: seen by nobody"]);
}

#[test]
fn giving_up_the_wait_loses_nothing() {
    let executor = Executor::new();
    let gate = Gate::new();
    let waiting = gate.clone();
    let mut task = executor.spawn(async move {
        waiting.wait().await;
        9
    });
    {
        assert!(poll_once(pin!(&mut task)).is_pending());
        assert!(poll_once(pin!(task.done())).is_pending());
    }
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), 9);
}

#[test]
fn large_and_aligned_futures_are_as_good_as_any() {
    #[repr(align(128))]
    struct Aligned([u8; 256]);

    let executor = Executor::new();
    let large = executor.spawn(async {
        let bytes = [7_u8; 100_000];
        yield_now().await;
        bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>()
    });
    let aligned = executor.spawn(async {
        let aligned = Aligned([3; 256]);
        yield_now().await;
        assert_eq!((&raw const aligned).addr() % 128, 0);
        aligned.0.len()
    });
    let output = executor.spawn(async {
        yield_now().await;
        [9_u8; 10_000]
    });
    let nothing = executor.spawn(ready(()));
    executor.run_until_idle();
    assert_eq!(large.into_result().unwrap().unwrap(), 700_000);
    assert_eq!(aligned.into_result().unwrap().unwrap(), 256);
    assert_eq!(output.into_result().unwrap().unwrap(), [9; 10_000]);
    nothing.into_result().unwrap().unwrap();

    // Cancelled and closed, they are dropped where they are.
    let large = executor.spawn(async {
        let bytes = [7_u8; 100_000];
        pending::<()>().await;
        bytes.len()
    });
    executor.run_until_idle();
    assert_eq!(executor.tasks().len(), 1);
    large.cancel();
    executor.run_until_idle();
    assert!(large.into_result().unwrap().unwrap_err().is_cancelled());
}

#[test]
fn a_hundred_thousand_tasks_come_and_go() {
    const MANY: usize = 100_000;
    let executor = Executor::new();
    let (gate, sum) = (Gate::new(), Rc::new(Cell::new(0)));
    for index in 0..MANY {
        let (gate, sum) = (gate.clone(), Rc::clone(&sum));
        executor
            .spawn(async move {
                gate.wait().await;
                sum.set(sum.get() + index);
            })
            .detach();
    }
    executor.run_until_idle();
    assert_eq!(executor.alive(), MANY);
    assert_eq!(executor.tasks().len(), MANY);
    gate.open();
    executor.run_until_idle();
    assert_eq!(executor.alive(), 0);
    assert!(executor.tasks().is_empty());
    assert_eq!(sum.get(), MANY * (MANY - 1) / 2);
}

#[test]
fn nobody_is_current_outside_a_turn() {
    let executor = Executor::new();
    assert!(Spawner::current().is_none());
    assert!(Spawner::current_task().is_none());
    executor.call_soon(|| {
        assert!(Spawner::current().is_some());
        assert!(Spawner::current_task().is_none());
    });
    executor
        .spawn(async { assert!(Spawner::current_task().is_some()) })
        .detach();
    executor.run_until_idle();
    assert!(Spawner::current().is_none());
    assert!(Spawner::current_task().is_none());
}

#[test]
fn an_iterator_that_panics_while_spawning_loses_no_task() {
    let (executor, losses) = executor();
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    executor.call_soon(move || {
        for index in 0..10 {
            assert!(index < 5, "the sixth");
            let counted = Rc::clone(&counted);
            here()
                .spawn(async move {
                    yield_times(2).await;
                    counted.set(counted.get() + 1);
                })
                .detach();
        }
    });
    executor.run_until_idle();
    assert_eq!(count.get(), 5);
    assert_eq!(losses.words(), ["callback: the sixth"]);
}
