//! Sets of tasks: outcomes as they end, cancelled and waited for when the set goes.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::Cell;
use std::future::{pending, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use harness::{Gate, Log, executor, hold, poll_once, yield_now, yield_times};
use proptest::prelude::*;
use rondel_executor::{Executor, JoinError, Outcome, Scope, TaskSet, defer};

#[test]
fn outcomes_come_in_the_order_of_the_ends() {
    let executor = Executor::new();
    let task = executor.spawn(async {
        let mut set = TaskSet::new();
        for turns in [5, 0, 3] {
            set.spawn(async move {
                yield_times(turns).await;
                turns
            });
        }
        assert_eq!(set.len(), 3);
        let mut order = Vec::new();
        while let Some(outcome) = set.join_next().await {
            order.push(outcome.unwrap());
        }
        assert!(set.is_empty());
        assert!(set.join_next().await.is_none());
        order
    });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), [0, 3, 5]);
}

#[test]
fn panics_and_cancellations_are_outcomes_with_the_task_they_are_of() {
    let (executor, losses) = executor();
    let task = executor.spawn(async {
        let mut set = TaskSet::new();
        set.spawn_named("panics", async { panic!("on purpose") });
        set.spawn_named("hangs", pending::<()>());
        let (info, outcome) = set.join_next_with_info().await.unwrap();
        assert_eq!(
            (info.name().as_str(), info.outcome()),
            ("panics", Outcome::Panicked)
        );
        assert!(matches!(outcome, Err(JoinError::Panicked(_))));
        assert_eq!(set.tasks()[0].name(), "hangs");
        set.cancel_all();
        let (info, outcome) = set.join_next_with_info().await.unwrap();
        assert_eq!(info.name(), "hangs");
        assert!(matches!(outcome, Err(JoinError::Cancelled)));
        assert!(set.join_next_with_info().await.is_none());
    });
    executor.run_until_idle();
    task.into_result().unwrap().unwrap();
    assert!(losses.is_empty());
}

#[test]
fn what_has_ended_can_be_taken_without_waiting() {
    let executor = Executor::new();
    let mut set = TaskSet::on(executor.spawner());
    set.spawn(ready(1));
    set.spawn(pending());
    assert!(set.try_join_next().is_none());
    executor.run_until_idle();
    assert_eq!(set.try_join_next().unwrap().unwrap(), 1);
    assert!(set.try_join_next().is_none());
    assert_eq!(set.len(), 1);
    set.cancel_all();
    executor.run_until_idle();
    assert!(matches!(
        set.try_join_next(),
        Some(Err(JoinError::Cancelled))
    ));
}

#[test]
fn tasks_are_added_while_others_are_joined() {
    let executor = Executor::new();
    let task = executor.spawn(async {
        let mut set = TaskSet::new();
        set.spawn(ready(10));
        let mut joined = 0;
        while let Some(outcome) = set.join_next().await {
            joined += 1;
            for _ in 0..outcome.unwrap() / 2 {
                set.spawn(async {
                    yield_now().await;
                    1
                });
            }
        }
        joined
    });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), 6);
}

#[test]
fn one_that_cleans_up_is_joined_when_it_has_and_does_not_hold_up_the_others() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(async move {
        let mut set = TaskSet::new();
        let (log, gate) = (logged.clone(), gates);
        set.spawn(async move {
            drop(defer(async move {
                gate.wait().await;
                log.add("cleaned up");
            }));
            "first"
        });
        set.spawn(async {
            yield_times(3).await;
            "second"
        });
        while let Some(outcome) = set.join_next().await {
            logged.add(outcome.unwrap());
        }
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["second"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned up", "first"]);
    assert!(task.is_finished());
}

#[test]
fn shutdown_cancels_and_waits_for_the_cleanup_and_reports_panics() {
    let (executor, losses) = executor();
    let (log, gate) = (Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(async move {
        let mut set = TaskSet::new();
        let (log, gate) = (logged.clone(), gates);
        set.spawn(async move {
            let _cleanup = defer(async move {
                log.add("begins");
                gate.wait().await;
                log.add("ends");
            });
            pending::<()>().await
        });
        set.spawn(async { panic!("on purpose") });
        yield_times(2).await;
        set.shutdown().await;
        logged.add(format!("{} left", set.len()));
        set.spawn(ready(()));
        set.join_next().await.unwrap().unwrap();
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["begins"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["ends", "0 left"]);
    assert_eq!(losses.words(), ["task: on purpose"]);
    task.into_result().unwrap().unwrap();
}

#[test]
fn dropped_a_set_cancels_its_tasks_and_whoever_drops_it_waits() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(async move {
        let scope = Scope::new();
        let mut set = TaskSet::new();
        let (log, gate) = (logged.clone(), gates);
        set.spawn(async move {
            let _cleanup = defer(async move {
                gate.wait().await;
                log.add("cleaned up");
            });
            pending::<()>().await
        });
        set.spawn(ready(()));
        yield_times(2).await;
        scope.enter(|| drop(set));
        scope.wait().await;
        logged.add("goes on");
    });
    executor.run_until_idle();
    assert!(log.take().is_empty());
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned up", "goes on"]);
    assert_eq!((executor.alive(), executor.cleanups()), (0, 0));
    assert!(task.is_finished());
}

#[test]
fn a_task_that_owns_a_set_takes_it_along_when_it_is_cancelled() {
    let (executor, log) = (Executor::new(), Log::new());
    let held = log.on_drop("dropped");
    let task = executor.spawn(async move {
        let mut set = TaskSet::new();
        set.spawn(hold(held));
        while set.join_next().await.is_some() {}
    });
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped"]);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn dropped_outside_a_turn_it_cancels() {
    let (executor, losses) = executor();
    let log = Log::new();
    let mut set = TaskSet::on(executor.spawner());
    set.spawn(hold(log.on_drop("dropped")));
    executor.run_until_idle();
    drop(set);
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped"]);
    assert!(losses.is_empty());
}

#[test]
fn detached_tasks_run_on() {
    let (executor, losses) = executor();
    let gate = Gate::new();
    let mut set = TaskSet::on(executor.spawner());
    for _ in 0..3 {
        let gate = gate.wait();
        set.spawn(async move {
            gate.await;
            panic!("on its own");
        });
    }
    executor.run_until_idle();
    set.detach_all();
    assert!(set.is_empty());
    set.spawn(ready(()));
    gate.open();
    executor.run_until_idle();
    assert_eq!(losses.words().len(), 3);
    assert_eq!(set.len(), 1, "those detached do not come back");
    assert!(set.try_join_next().unwrap().is_ok());
    assert!(set.try_join_next().is_none());
}

#[test]
fn spawned_after_the_executor_was_closed_tasks_are_cancelled() {
    let executor = Executor::new();
    let mut set = TaskSet::on(executor.spawner());
    set.spawn(pending());
    executor.close();
    set.spawn(ready(()));
    for _ in 0..2 {
        assert!(matches!(
            set.try_join_next(),
            Some(Err(JoinError::Cancelled))
        ));
    }
    assert!(poll_once(pin!(set.join_next())).is_ready());
}

#[test]
fn outside_a_turn_spawning_says_so_and_leaves_the_set_as_it_was() {
    let mut set = TaskSet::new();
    let spawned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| set.spawn(ready(()))));
    let message = *spawned.unwrap_err().downcast::<&str>().unwrap();
    assert!(
        message.starts_with("TaskSet::spawn: no executor's turn"),
        "{message}"
    );
    assert!(set.try_join_next().is_none());
    assert!(set.is_empty());
}

#[test]
fn join_all_gives_every_outcome() {
    let executor = Executor::new();
    let task = executor.spawn(async {
        let mut set = TaskSet::new();
        for n in 0..100 {
            set.spawn(async move {
                yield_times(100 - n).await;
                n
            });
        }
        set.join_all()
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
    });
    executor.run_until_idle();
    let outcomes = task.into_result().unwrap().unwrap();
    assert!(outcomes.into_iter().rev().eq(0..100));
}

#[test]
fn join_next_wakes_whoever_asked_last_and_can_be_dropped() {
    let executor = Executor::new();
    let gate = Gate::new();
    let mut set = TaskSet::on(executor.spawner());
    set.spawn(gate.wait());
    assert!(poll_once(pin!(set.join_next())).is_pending());
    let joined = executor.spawn(async move { set.join_next().await.is_some() });
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert!(joined.into_result().unwrap().unwrap());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Spawn(usize),
    Run,
    Join,
    CancelAll,
    DetachAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..4).prop_map(Step::Spawn),
        2 => Just(Step::Run),
        4 => Just(Step::Join),
        1 => Just(Step::CancelAll),
        1 => Just(Step::DetachAll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    /// Whatever happens in between, every task is joined once or detached, and ends.
    #[test]
    fn every_task_is_accounted_for(steps in prop::collection::vec(step(), 1..60)) {
        let (executor, _losses) = executor();
        let ended = Rc::new(Cell::new(0));
        let mut set = TaskSet::on(executor.spawner());
        let (mut spawned, mut joined, mut detached) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Spawn(turns) => {
                    spawned += 1;
                    let guard = harness::on_drop({
                        let ended = Rc::clone(&ended);
                        move || ended.set(ended.get() + 1)
                    });
                    set.spawn(async move {
                        let _guard = guard;
                        yield_times(turns).await;
                        if turns == 3 {
                            // Without the panic hook, which would print it.
                            std::panic::resume_unwind(Box::new("every fourth panics"));
                        }
                    });
                }
                Step::Run => executor.run_until_idle(),
                Step::Join => joined += usize::from(set.try_join_next().is_some()),
                Step::CancelAll => set.cancel_all(),
                Step::DetachAll => {
                    detached += set.len();
                    set.detach_all();
                }
            }
            prop_assert_eq!(set.len(), spawned - joined - detached);
        }
        executor.run_until_idle();
        prop_assert_eq!(ended.get(), spawned);
        while set.try_join_next().is_some() {
            joined += 1;
        }
        prop_assert_eq!(joined + detached, spawned);
        let last = poll_once(pin!(set.join_next()));
        prop_assert!(matches!(last, Poll::Ready(None)));
    }
}
