//! What cancelled children leave to clean up: the group waits for it, and whoever cancels the group.
#![cfg(not(rondel_loom))]

mod harness;

use std::future::pending;
use std::pin::pin;

use harness::{Gate, Log, executor, yield_now, yield_times};
use rondel_executor::{
    Cancellable, Executor, GroupError, JoinError, bracket, defer, gather, race, select, shielded,
    task_group, task_scope, try_gather,
};

/// Never ends; when it is dropped, leaves a cleanup that logs its beginning, waits at the gate and logs its end.
async fn held_up<T>(name: &'static str, log: Log, gate: Option<Gate>) -> T {
    let _cleanup = defer(async move {
        log.add(format!("{name} begins"));
        if let Some(gate) = gate {
            gate.wait().await;
        } else {
            yield_now().await;
        }
        log.add(format!("{name} ends"));
    });
    pending().await
}

#[test]
fn a_failed_group_returns_after_the_cleanup_and_siblings_clean_up_side_by_side() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(async move {
        let ended = task_group(async |g| {
            g.spawn(held_up::<Result<(), _>>(
                "first",
                logged.clone(),
                Some(gates.clone()),
            ));
            g.spawn(held_up::<Result<(), _>>(
                "second",
                logged.clone(),
                Some(gates.clone()),
            ));
            yield_now().await;
            Err::<(), _>("failed")
        })
        .await;
        logged.add("returned");
        ended
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["first begins", "second begins"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["first ends", "second ends", "returned"]);
    let ended = task.into_result().unwrap().unwrap();
    assert_eq!(ended.unwrap_err().into_errors().unwrap().first, "failed");
    assert_eq!(executor.cleanups(), 0);
}

#[test]
fn the_bodys_cleanup_is_waited_for_as_well() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(task_group(async move |g| {
        g.spawn(async {
            yield_now().await;
            Err::<(), _>("failed")
        });
        held_up::<Result<(), _>>("body", logged, Some(gates)).await
    }));
    executor.run_until_idle();
    assert_eq!(log.take(), ["body begins"]);
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert!(task.is_finished());
}

#[test]
fn after_a_panic_the_cleanup_comes_before_the_panic_goes_on() {
    let (executor, losses) = executor();
    let (log, gate) = (Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(task_scope(async move |s| {
        s.spawn(held_up::<()>(
            "sibling",
            logged.clone(),
            Some(gates.clone()),
        ));
        s.spawn(async move {
            let own = defer(async move {
                logged.add("own begins");
                gates.wait().await;
                logged.add("own ends");
            });
            yield_now().await;
            if true {
                panic!("on purpose");
            }
            drop(own);
        });
    }));
    executor.run_until_idle();
    let mut begun = log.take();
    begun.sort();
    assert_eq!(begun, ["own begins", "sibling begins"]);
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take().len(), 2);
    assert!(matches!(
        task.into_result().unwrap(),
        Err(JoinError::Panicked(_))
    ));
    assert!(losses.is_empty());
}

#[test]
fn cancelled_from_outside_the_task_is_done_after_the_childrens_cleanup_side_by_side() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(task_scope(async move |s| {
        s.spawn(held_up::<()>("first", logged.clone(), Some(gates.clone())));
        s.spawn(held_up::<()>("second", logged.clone(), Some(gates.clone())));
    }));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["first begins", "second begins"]);
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["first ends", "second ends"]);
    assert!(matches!(
        task.into_result().unwrap(),
        Err(JoinError::Cancelled)
    ));
}

#[test]
fn dropped_while_it_waits_for_cleanup_the_wait_is_left_to_the_canceller() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(task_group(async move |g| {
        g.spawn(held_up::<Result<(), _>>("child", logged, Some(gates)));
        yield_now().await;
        Err::<(), _>("failed")
    }));
    executor.run_until_idle();
    assert_eq!(log.take(), ["child begins"]);
    task.cancel();
    executor.run_until_idle();
    assert!(!task.is_finished(), "the cleanup is still to end");
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["child ends"]);
    assert!(matches!(
        task.into_result().unwrap(),
        Err(JoinError::Cancelled)
    ));
}

/// asyncio H 125.
#[test]
fn an_enclosing_cancellation_during_the_groups_own_gets_through() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(async move {
        let ended = task_group(async |g| {
            g.spawn(held_up::<Result<(), ()>>(
                "child",
                logged.clone(),
                Some(gates),
            ));
            yield_now().await;
            g.cancel();
            pending().await
        })
        .await;
        logged.add("never: the task is cancelled");
        ended as Result<(), GroupError<()>>
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["child begins"]);
    task.cancel();
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["child ends"]);
    assert!(matches!(
        task.into_result().unwrap(),
        Err(JoinError::Cancelled)
    ));
}

#[test]
fn in_nested_groups_the_inner_cleanup_ends_before_the_outer_group_returns() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(async move {
        let ended = task_group(async |outer| {
            let (log, gate) = (logged.clone(), gates.clone());
            outer.spawn(async move {
                task_group(async |inner| {
                    inner.spawn(held_up::<Result<(), &str>>("inner", log, Some(gate)));
                    Ok(())
                })
                .await
                .map_err(|_| "inner")
            });
            yield_times(2).await;
            Err::<(), _>("outer")
        })
        .await;
        logged.add("returned");
        ended
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["inner begins"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["inner ends", "returned"]);
    let errors = task.into_result().unwrap().unwrap().unwrap_err();
    assert_eq!(errors.into_errors().unwrap().into_vec(), ["outer"]);
}

#[test]
fn one_child_cancelled_by_its_handle_has_ended_when_its_cleanup_has() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(task_scope(async move |s| {
        let child = s.spawn(held_up::<()>("child", logged.clone(), Some(gates)));
        yield_now().await;
        child.cancel();
        yield_times(3).await;
        logged.add(format!("finished: {}", child.is_finished()));
        assert!(child.await.is_err());
        logged.add("told");
    }));
    executor.run_until_idle();
    assert_eq!(log.take(), ["child begins", "finished: false"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["child ends", "told"]);
    assert!(task.is_finished());
}

#[test]
fn what_a_child_drops_on_its_own_the_group_waits_for() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(async move {
        task_scope(async |s| {
            let (log, gate) = (logged.clone(), gates);
            s.spawn(async move {
                let guard = defer(async move {
                    gate.wait().await;
                    log.add("cleaned up");
                });
                drop(guard);
            });
        })
        .await;
        logged.add("returned");
    });
    executor.run_until_idle();
    assert!(log.take().is_empty());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned up", "returned"]);
    assert!(task.is_finished());
}

#[test]
fn a_shielded_part_of_a_child_postpones_its_end_and_its_error_counts() {
    let (executor, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    let task = executor.spawn(task_group(async move |g| {
        g.spawn(async move {
            shielded(async {
                yield_times(5).await;
                logged.add("finished what must be");
            })
            .await;
            Err::<(), _>("late")
        });
        yield_now().await;
        Err::<(), _>("early")
    }));
    executor.run_until_idle();
    assert_eq!(log.take(), ["finished what must be"]);
    let errors = task.into_result().unwrap().unwrap().unwrap_err();
    assert_eq!(errors.into_errors().unwrap().into_vec(), ["early", "late"]);
}

#[test]
fn a_bracket_in_a_child_gets_its_state_back() {
    let (executor, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    let task = executor.spawn(task_group(async move |g| {
        g.spawn(bracket(
            String::from("connection"),
            async |connection| {
                connection.push_str(", used");
                pending::<Result<(), _>>().await
            },
            async move |connection| logged.add(connection),
        ));
        yield_times(2).await;
        Err::<(), _>("failed")
    }));
    executor.run_until_idle();
    assert_eq!(log.take(), ["connection, used"]);
    assert!(task.is_finished());
}

/// Each of the combinators that drop what they were given waits for it, and in the order of asking.
#[test]
fn whoever_cancels_the_rest_waits_for_it() {
    for kind in 0..5 {
        let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
        let (logged, gates) = (log.clone(), gate.clone());
        let task = executor.spawn(async move {
            let rest = |name| held_up::<Result<(), _>>(name, logged.clone(), Some(gates.clone()));
            let wins = async {
                yield_now().await;
                Err::<(), _>("wins")
            };
            let ended = match kind {
                0 => race((rest("loser"), wins)).await,
                1 => {
                    let boxed: [std::pin::Pin<Box<dyn Future<Output = _>>>; 2] =
                        [Box::pin(wins), Box::pin(rest("loser"))];
                    race(boxed).await.unwrap().1
                }
                2 => try_gather((rest("loser"), wins)).await.map(|_| ()),
                3 => {
                    let boxed: [std::pin::Pin<Box<dyn Future<Output = _>>>; 2] =
                        [Box::pin(wins), Box::pin(rest("loser"))];
                    try_gather(boxed).await.map(|_| ())
                }
                _ => match select(rest("loser"), wins).await {
                    rondel_executor::Either::Right(won) => won,
                    rondel_executor::Either::Left(lost) => lost,
                },
            };
            assert_eq!(ended, Err("wins"));
            logged.add("returned");
        });
        executor.run_until_idle();
        assert_eq!(log.take(), ["loser begins"], "{kind}");
        gate.open();
        executor.run_until_idle();
        assert_eq!(log.take(), ["loser ends", "returned"], "{kind}");
        task.into_result().unwrap().unwrap();
    }
}

#[test]
fn those_that_have_not_begun_when_a_race_is_over_are_dropped_with_what_they_hold() {
    let (executor, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    let task = executor.spawn(async move {
        let futures: Vec<_> = (0..20)
            .map(|n| {
                let held = logged.on_drop(format!("dropped {n}"));
                async move {
                    let _held = held;
                    n
                }
            })
            .collect();
        let (place, output) = race(futures).await.unwrap();
        logged.add("over");
        place == output
    });
    executor.run_until_idle();
    let mut entries = log.take();
    assert_eq!(entries.pop().as_deref(), Some("over"));
    assert_eq!(entries.len(), 20);
    assert!(task.into_result().unwrap().unwrap());
}

#[test]
fn a_gather_that_is_cancelled_leaves_its_cleanup_to_the_canceller() {
    let (executor, log, gate) = (Executor::new(), Log::new(), Gate::new());
    let (logged, gates) = (log.clone(), gate.clone());
    let task = executor.spawn(async move {
        let mut gathered = pin!(Cancellable::new(gather((
            held_up::<()>("a", logged.clone(), Some(gates.clone())),
            gather([held_up::<()>("b", logged.clone(), Some(gates))]),
        ))));
        std::future::poll_fn(|cx| {
            let _ = gathered.as_mut().poll(cx);
            std::task::Poll::Ready(())
        })
        .await;
        gathered.as_mut().cancel();
        assert!(gathered.await.is_none());
        logged.add("goes on");
    });
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        ["a begins"],
        "inner before outer, one after the other"
    );
    gate.open();
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a ends", "b begins", "b ends", "goes on"]);
    assert!(task.is_finished());
}
