//! How task groups end: failures, panics, cancellations, and what the caller gets.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};
use std::rc::Rc;

use harness::{Gate, Log, Losses, count_polls, executor, on_drop, yield_now, yield_times};
use rondel_executor::{
    Cancellable, ErrorGroup, Executor, GroupError, JoinError, TaskGroup, task_group,
};

/// Runs a future as a task until nothing is ready; it must have ended by then.
#[track_caller]
fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let executor = Executor::new();
    let task = executor.spawn(future);
    executor.run_until_idle();
    let outcome = task
        .into_result()
        .unwrap_or_else(|task| panic!("hangs: {task:?}"));
    match outcome {
        Ok(output) => output,
        Err(JoinError::Panicked(payload)) => payload.resume(),
        Err(error) => panic!("{error}"),
    }
}

fn failed<R: std::fmt::Debug>(ended: Result<R, GroupError<&'static str>>) -> Vec<&'static str> {
    match ended {
        Err(GroupError::Failed(errors)) => errors.into_vec(),
        other => panic!("{other:?}"),
    }
}

/// asyncio H 112.
#[test]
fn a_child_that_is_cancelled_alone_does_not_disturb_the_group() {
    let log = Log::new();
    let logged = log.clone();
    let ended = run(task_group(async move |g| {
        let held = logged.on_drop("dropped");
        let first = g.spawn(async move {
            let _held = held;
            pending::<()>().await;
            Ok::<_, ()>(())
        });
        let second = g.spawn(async {
            yield_times(3).await;
            Ok("second")
        });
        yield_now().await;
        assert!(first.cancel());
        assert!(first.cancel(), "asking twice is the same as once");
        assert!(!first.is_finished());
        assert!(first.await.is_err());
        logged.add("the body goes on");
        Ok(second.await)
    }));
    assert_eq!(ended.unwrap().unwrap(), "second");
    assert_eq!(log.take(), ["dropped", "the body goes on"]);
}

#[test]
fn a_child_cancelled_before_its_first_poll_is_dropped_unpolled() {
    let (future, polls) = count_polls(pending::<Result<(), ()>>());
    run(task_group(async |g| {
        let child = g.spawn(future);
        child.cancel();
        assert!(child.await.is_err());
        Ok::<_, ()>(())
    }))
    .unwrap();
    assert_eq!(polls.get(), 0);
}

#[test]
fn a_child_that_finishes_cannot_be_cancelled_any_more() {
    run(task_group(async |g| {
        let child = g.spawn(async { Ok::<_, ()>(1) });
        yield_now().await;
        assert!(child.is_finished());
        assert!(!child.cancel());
        assert_eq!(child.await, Ok(1));
        Ok(())
    }))
    .unwrap();
}

/// asyncio H 113.
#[test]
fn the_first_failure_cancels_the_siblings_and_the_body() {
    let log = Log::new();
    let logged = log.clone();
    let errors = failed(run(async move {
        task_group(async |g| {
            for name in ["first", "second"] {
                let held = logged.on_drop(name);
                g.spawn(async move {
                    let _held = held;
                    pending::<Result<(), _>>().await
                });
            }
            g.spawn(async {
                yield_times(2).await;
                Err::<(), _>("failed")
            });
            let _body = logged.on_drop("body");
            pending::<()>().await;
            logged.add("never");
            Ok(())
        })
        .await
    }));
    assert_eq!(errors, ["failed"]);
    // The body, then the children in the order of spawning.
    assert_eq!(log.take(), ["body", "first", "second"]);
}

#[test]
fn all_failures_of_one_batch_come_back_in_the_order_in_which_they_happened() {
    let gate = Gate::new();
    let opener = gate.clone();
    let log = Log::new();
    let logged = log.clone();
    let errors = failed(run(async move {
        task_group(async |g| {
            for name in ["a", "b", "c"] {
                let (gate, log) = (gate.wait(), logged.clone());
                g.spawn(async move {
                    gate.await;
                    log.add(name);
                    if name == "b" { Ok(()) } else { Err(name) }
                });
            }
            yield_now().await;
            opener.open();
            yield_times(10).await;
            logged.add("the body is not polled after the failure");
            Ok(())
        })
        .await
    }));
    assert_eq!(errors, ["a", "c"]);
    assert_eq!(log.take(), ["a", "b", "c"]);
}

#[test]
fn what_is_ready_in_the_next_batch_is_not_polled_after_a_failure() {
    let (future, polls) = count_polls(Box::pin(async {
        yield_times(3).await;
        Ok::<(), &str>(())
    }));
    let errors = failed(run(task_group(async move |g| {
        g.spawn(async {
            yield_now().await;
            Err::<(), _>("failed")
        });
        g.spawn(future);
        Ok(())
    })));
    assert_eq!(errors, ["failed"]);
    assert_eq!(polls.get(), 2, "its first batch, and that of the failure");
}

/// asyncio H 116.
#[test]
fn the_bodys_error_cancels_the_children_and_comes_back_in_the_group() {
    let log = Log::new();
    let held = log.on_drop("dropped");
    let errors = failed(run(task_group(async move |g| {
        g.spawn(async move {
            let _held = held;
            pending::<Result<(), _>>().await
        });
        yield_now().await;
        Err::<(), _>("body")
    })));
    assert_eq!(errors, ["body"]);
    assert_eq!(log.take(), ["dropped"]);
}

/// asyncio H 116: body and child in the same batch.
#[test]
fn errors_of_body_and_children_of_one_batch_come_back_together() {
    let gate = Gate::new();
    let (for_child, opener) = (gate.wait(), gate.clone());
    let errors = failed(run(task_group(async move |g| {
        g.spawn(async move {
            for_child.await;
            Err::<(), _>("child")
        });
        yield_now().await;
        opener.open();
        Err::<(), _>("body")
    })));
    // The child was woken in the body's own batch, too late for it: it is cancelled.
    assert_eq!(errors, ["body"]);

    let gate = Gate::new();
    let (for_child, for_body) = (gate.wait(), gate.wait());
    let executor = Executor::new();
    let task = executor.spawn(task_group(async move |g| {
        g.spawn(async move {
            for_child.await;
            Err::<(), _>("child")
        });
        for_body.await;
        Err::<(), _>("body")
    }));
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    // The body waited first.
    assert_eq!(
        failed(task.into_result().unwrap().unwrap()),
        ["body", "child"]
    );
}

/// asyncio H 118: what `KeyboardInterrupt` is there, a panic is here.
#[test]
fn a_panic_cancels_the_others_and_goes_on_when_all_have_ended() {
    let (executor, losses) = executor();
    let log = Log::new();
    let logged = log.clone();
    let task = executor.spawn(async move {
        task_group(async |g| {
            let held = logged.on_drop("sibling");
            g.spawn(async move {
                let _held = held;
                pending::<Result<(), _>>().await
            });
            g.spawn(async {
                yield_now().await;
                if true {
                    panic!("on purpose");
                }
                Ok::<_, &str>(())
            });
            g.spawn(async {
                yield_now().await;
                Err::<(), _>("an error of the same batch")
            });
            let _body = logged.on_drop("body");
            pending::<()>().await;
            Ok(())
        })
        .await
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["body", "sibling"]);
    let Err(JoinError::Panicked(payload)) = task.into_result().unwrap() else {
        panic!("the panic beats the error");
    };
    assert_eq!(payload.message(), Some("on purpose"));
    assert!(losses.is_empty());
}

#[test]
fn a_second_panic_is_reported_and_not_lost() {
    let (executor, losses) = executor();
    let task = executor.spawn(task_group(async |g| {
        for message in ["first", "second"] {
            g.spawn(async move {
                if true {
                    std::panic::panic_any(message);
                }
                Ok::<_, ()>(())
            });
        }
        Ok(())
    }));
    executor.run_until_idle();
    let Err(JoinError::Panicked(payload)) = task.into_result().unwrap() else {
        panic!("it panicked");
    };
    assert_eq!(payload.message(), Some("first"));
    assert_eq!(losses.words(), ["task: second"]);
}

#[test]
fn a_panicking_body_cancels_the_children() {
    let log = Log::new();
    let held = log.on_drop("child");
    let executor = Executor::new();
    let task = executor.spawn(task_group(async move |g| {
        g.spawn(async move {
            let _held = held;
            pending::<Result<(), ()>>().await
        });
        yield_now().await;
        if true {
            panic!("on purpose");
        }
        Ok(())
    }));
    executor.run_until_idle();
    assert_eq!(log.take(), ["child"]);
    assert!(matches!(
        task.into_result().unwrap(),
        Err(JoinError::Panicked(_))
    ));
}

#[test]
fn a_panic_in_the_destructor_of_a_cancelled_child_does_not_keep_the_others_from_ending() {
    let log = Log::new();
    let logged = log.clone();
    let executor = Executor::new();
    let task = executor.spawn(async move {
        task_group(async |g| {
            g.spawn(async {
                let _held = on_drop(|| panic!("in a destructor"));
                pending::<Result<(), &str>>().await
            });
            let held = logged.on_drop("sibling");
            g.spawn(async move {
                let _held = held;
                pending::<Result<(), _>>().await
            });
            yield_now().await;
            Err::<(), _>("body")
        })
        .await
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["sibling"]);
    let Err(JoinError::Panicked(payload)) = task.into_result().unwrap() else {
        panic!("it panicked");
    };
    assert_eq!(payload.message(), Some("in a destructor"));
}

/// asyncio H 119.
#[test]
fn a_runaway_spawner_is_stopped_by_a_failure() {
    fn again<'env>(g: &TaskGroup<'env, &'static str>, spawned: &'env Cell<usize>) {
        spawned.set(spawned.get() + 1);
        let inner = g.clone();
        g.spawn(async move {
            again(&inner, spawned);
            Ok(())
        });
    }
    let (ended, spawned) = run(async {
        let spawned = Cell::new(0);
        let ended = task_group(async |g| {
            again(&g, &spawned);
            g.spawn(async {
                yield_times(50).await;
                Err::<(), _>("enough")
            });
            Ok(())
        })
        .await;
        (ended, spawned.get())
    });
    assert_eq!(failed(ended), ["enough"]);
    assert!((50..60).contains(&spawned), "{spawned}");
}

/// asyncio H 122.
#[test]
fn an_inner_failure_that_is_handled_does_not_hide_an_outer_one_of_the_same_batch() {
    let gate = Gate::new();
    let (for_inner, for_outer) = (gate.wait(), gate.wait());
    let executor = Executor::new();
    let handled = Rc::new(Cell::new(false));
    let handled_inside = Rc::clone(&handled);
    let task = executor.spawn(task_group(async move |g| {
        g.spawn(async move {
            for_outer.await;
            Err::<(), _>("outer")
        });
        let inner = task_group(async |g| {
            g.spawn(async move {
                for_inner.await;
                Err::<(), _>("inner")
            });
            Ok(())
        })
        .await;
        assert_eq!(failed(inner), ["inner"]);
        handled_inside.set(true);
        pending::<()>().await;
        Ok(())
    }));
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert_eq!(failed(task.into_result().unwrap().unwrap()), ["outer"]);
    assert!(handled.get());
}

/// asyncio H 124.
#[test]
fn a_child_that_fails_at_its_first_poll_gives_its_error_and_cancels_nobody_outside() {
    let ended = run(async {
        let inner = task_group(async |g| {
            g.spawn(async { Err::<(), _>("at once") });
            Ok(())
        })
        .await;
        yield_times(3).await;
        (inner, "goes on")
    });
    assert_eq!(failed(ended.0), ["at once"]);
    assert_eq!(ended.1, "goes on");
}

#[test]
fn a_sibling_that_spawns_after_a_failure_of_its_batch_is_refused() {
    let refused = run(async {
        let refused = Cell::new(None);
        let ended = task_group(async |g| {
            g.spawn(async { Err::<(), _>("failed") });
            let (inner, refused) = (g.clone(), &refused);
            g.spawn(async move {
                refused.set(Some(inner.spawn(ready(Ok(()))).is_finished()));
                Ok(())
            });
            Ok(())
        })
        .await;
        assert_eq!(failed(ended), ["failed"]);
        refused.get()
    });
    assert_eq!(refused, Some(true));
}

#[test]
fn cancelled_by_itself_a_group_ends_as_cancelled() {
    let log = Log::new();
    let logged = log.clone();
    let ended = run(async move {
        task_group(async |g| {
            let held = logged.on_drop("child");
            g.spawn(async move {
                let _held = held;
                pending::<Result<(), ()>>().await
            });
            let inner = g.clone();
            g.spawn(async move {
                yield_times(2).await;
                inner.cancel();
                inner.cancel();
                assert!(inner.spawn(ready(Ok(()))).is_finished(), "closed at once");
                Ok(())
            });
            let _body = logged.on_drop("body");
            pending::<()>().await;
            Ok(())
        })
        .await
    });
    assert_eq!(ended, Err(GroupError::Cancelled));
    assert_eq!(log.take(), ["body", "child"]);
}

#[test]
fn cancelling_polls_nobody_once_more() {
    let (mut body, polls) = count_polls(pending::<()>());
    let executor = Executor::new();
    let group = Rc::new(RefCell::new(None));
    let outside = Rc::clone(&group);
    let task = executor.spawn(task_group(async move |g| {
        *group.borrow_mut() = Some(g);
        (&mut body).await;
        Ok::<_, ()>(())
    }));
    executor.run_until_idle();
    outside.take().unwrap().cancel();
    executor.run_until_idle();
    assert_eq!(polls.get(), 1);
    assert_eq!(
        task.into_result().unwrap().unwrap(),
        Err(GroupError::Cancelled)
    );
}

#[test]
fn cancelling_a_group_that_has_nothing_left_to_cut_short_leaves_its_output() {
    let ended = run(task_group(async |g| {
        g.spawn(async { Ok::<_, ()>(()) }).await.unwrap();
        g.cancel();
        Ok("output")
    }));
    assert_eq!(ended, Ok("output"));
    let ended = run(task_group(async |g| {
        g.spawn(pending::<Result<(), ()>>());
        g.cancel();
        Ok("output")
    }));
    assert_eq!(ended, Err(GroupError::Cancelled), "a child was cut short");
}

#[test]
fn a_failure_of_the_batch_in_which_the_group_was_cancelled_is_not_lost() {
    let ended = run(task_group(async |g| {
        let inner = g.clone();
        g.spawn(async move {
            inner.cancel();
            Ok(())
        });
        g.spawn(async { Err::<(), _>("failed") });
        Ok(())
    }));
    assert_eq!(failed(ended), ["failed"]);
}

/// asyncio H 115, H 121: a group that is dropped from outside gives nothing, and its children are gone before whoever
/// cancelled goes on.
#[test]
fn dropped_from_outside_a_group_drops_the_body_then_the_children() {
    let log = Log::new();
    let logged = log.clone();
    let executor = Executor::new();
    let task = executor.spawn(async move {
        task_group(async |g| {
            for name in ["first", "second"] {
                let held = logged.on_drop(name);
                let circle = g.clone();
                g.spawn(async move {
                    let (_held, _circle) = (held, circle);
                    pending::<Result<(), ()>>().await
                });
            }
            let _body = logged.on_drop("body");
            pending::<()>().await;
            Ok(())
        })
        .await
    });
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["body", "first", "second"]);
    assert!(matches!(
        task.into_result().unwrap(),
        Err(JoinError::Cancelled)
    ));
}

#[test]
fn a_cancelled_group_inside_a_group_is_told_apart_by_its_caller() {
    let ended = run(task_group(async |outer| {
        let inner = task_group(async |g| {
            g.cancel();
            pending::<()>().await;
            Ok::<_, &str>(())
        })
        .await;
        assert_eq!(inner, Err(GroupError::Cancelled));
        assert!(!outer.is_closed());
        Ok::<_, &str>("outer")
    }));
    assert_eq!(ended, Ok("outer"));
}

#[test]
fn an_enclosing_canceller_wins_over_the_groups_own() {
    let executor = Executor::new();
    let task = executor.spawn(async {
        let mut group = Box::pin(Cancellable::new(task_group(async |g| {
            g.cancel();
            pending::<()>().await;
            Ok::<_, ()>(())
        })));
        group.as_mut().cancel();
        group.await
    });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), None);
}

#[test]
fn groups_report_nothing_that_somebody_took() {
    let losses = Losses::default();
    let executor = losses.builder().build();
    let task = executor.spawn(task_group(async |g| {
        g.spawn(async { Err::<(), _>("taken by the caller") });
        Ok(())
    }));
    executor.run_until_idle();
    let ended = task.into_result().unwrap().unwrap();
    assert_eq!(
        ended,
        Err(ErrorGroup::new("taken by the caller", []).into())
    );
    assert!(losses.is_empty());
}
