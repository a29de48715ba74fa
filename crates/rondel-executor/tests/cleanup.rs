//! Whoever cancels waits: what is left behind is cleaned up before its owner is done.
#![cfg(not(rondel_loom))]

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use harness::{
    Gate, Log, Losses, executor, hold, on_drop, poll_once, running, yield_now, yield_times,
};
use hooked_waker::{On, hooked_waker};
use rondel_executor::{Cleanup, Executor, JoinError, LostKind, Scope, Spawner, Task, Waits, leave};

/// When dropped, leaves a cleanup that logs its beginning, waits at the gate and logs its end.
struct Leaving {
    name: &'static str,
    log: Log,
    gate: Option<Gate>,
}

fn leaving(name: &'static str, log: &Log, gate: Option<&Gate>) -> Leaving {
    Leaving {
        name,
        log: log.clone(),
        gate: gate.cloned(),
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        leave(cleanup(self.name, &self.log, self.gate.clone()));
    }
}

fn cleanup(name: &'static str, log: &Log, gate: Option<Gate>) -> Cleanup {
    let log = log.clone();
    Box::pin(async move {
        log.add(format!("{name} begins"));
        if let Some(gate) = gate {
            gate.wait().await;
            log.add(format!("{name} ends"));
        }
    })
}

#[track_caller]
fn cancelled<T: std::fmt::Debug>(task: Task<T>) {
    let outcome = task.into_result().expect("the task is done");
    assert!(matches!(outcome, Err(JoinError::Cancelled)), "{outcome:?}");
}

#[test]
fn a_cancelled_task_is_not_done_before_its_cleanup() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let task = executor.spawn(hold(leaving("a", &log, Some(&gate))));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins"]);
    assert!(!task.is_finished());
    assert_eq!((executor.alive(), executor.cleanups()), (2, 1));
    assert_eq!(task.info().unwrap().waits(), Waits::CLEANUP);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a ends"]);
    assert_eq!((executor.alive(), executor.cleanups()), (0, 0));
    cancelled(task);
}

#[test]
fn the_awaiter_learns_of_the_end_after_the_cleanup() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let task = executor.spawn(hold(leaving("a", &log, Some(&gate))));
    executor.run_until_idle();
    task.cancel();
    let told = log.clone();
    let parent = executor.spawn(async move {
        let outcome = task.await;
        told.add(format!("{outcome:?}"));
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a ends", "Err(Cancelled)"]);
    parent.into_result().unwrap().unwrap();
}

#[test]
fn cancelled_before_it_began_a_task_cleans_up_what_it_was_given() {
    let (executor, log) = (Executor::new(), Log::new());
    let task = executor.spawn(hold(leaving("a", &log, None)));
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins"]);
    cancelled(task);
}

#[test]
fn a_task_that_returns_waits_for_what_its_future_leaves() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let held = leaving("a", &log, Some(&gate));
    let mut task = executor.spawn(async move {
        let _held = held;
        yield_now().await;
        "output"
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins"]);
    assert!(!task.is_finished() && task.result().is_none());
    // It has a result already: cancelling changes nothing.
    task.cancel();
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a ends"]);
    assert_eq!(task.into_result().unwrap().unwrap(), "output");
}

#[test]
fn a_panicking_task_cleans_up_before_the_panic_is_told() {
    let (executor, losses) = executor();
    let log = Log::new();
    let gate = Gate::new();
    let held = leaving("a", &log, Some(&gate));
    let task: Task<()> = executor.spawn(async move {
        let _held = held;
        yield_now().await;
        panic!("on purpose");
    });
    task.detach();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins"]);
    assert!(losses.is_empty());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a ends"]);
    assert_eq!(losses.words(), ["task: on purpose"]);
}

#[test]
fn dropped_in_a_running_task_it_begins_at_the_next_turn_and_the_task_goes_on() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (held, running) = (leaving("a", &log, Some(&gate)), log.clone());
    let task = executor.spawn(async move {
        drop(held);
        running.add("goes on");
        yield_times(3).await;
        running.add("returns");
        1
    });
    let done = log.clone();
    task.on_done(move |_| done.add("done"));
    executor.run_until_idle();
    assert_eq!(log.take(), ["goes on", "a begins", "returns"]);
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a ends", "done"]);
    assert_eq!(task.into_result().unwrap().unwrap(), 1);
}

#[test]
fn a_task_waits_no_longer_for_what_is_cleaned_up_already() {
    let (executor, log) = (Executor::new(), Log::new());
    let held = [leaving("a", &log, None), leaving("b", &log, None)];
    let logged = log.clone();
    let task = executor.spawn(async move {
        for one in held {
            drop(one);
            yield_times(3).await;
            logged.add("on");
        }
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins", "on", "b begins", "on"]);
    assert!(task.is_finished());
    assert_eq!(executor.alive(), 0);
}

#[test]
fn inner_before_outer_one_after_the_other() {
    async fn frame(depth: usize, log: Log, gates: Vec<Gate>) {
        const NAMES: [&str; 3] = ["outermost", "middle", "innermost"];
        let _held = leaving(NAMES[depth], &log, Some(&gates[depth]));
        if depth == 2 {
            pending::<()>().await;
        }
        Box::pin(frame(depth + 1, log.clone(), gates)).await;
    }
    let (executor, log) = (Executor::new(), Log::new());
    let gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
    let task = executor.spawn(frame(0, log.clone(), gates.clone()));
    executor.run_until_idle();
    task.cancel();
    // None begins before the one before it has ended.
    executor.run_until_idle();
    assert_eq!(log.take(), ["innermost begins"]);
    gates[2].open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["innermost ends", "middle begins"]);
    gates[1].open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["middle ends", "outermost begins"]);
    assert!(!task.is_finished());
    gates[0].open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["outermost ends"]);
    cancelled(task);
}

#[test]
fn cleanups_of_one_scope_run_in_the_order_of_leaving() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let task = executor.spawn(hold((
        leaving("a", &log, Some(&gate)),
        leaving("b", &log, Some(&gate)),
        leaving("c", &log, None),
    )));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a ends", "b begins"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["b ends", "c begins"]);
    cancelled(task);
}

#[test]
fn left_in_a_callback_it_belongs_to_the_executor() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let held = leaving("a", &log, Some(&gate));
    executor.call_soon(move || drop(held));
    let held = leaving("b", &log, None);
    executor.call_soon(move || drop(held));
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins"]);
    assert_eq!((executor.alive(), executor.cleanups()), (1, 1));
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a ends", "b begins"]);
    assert_eq!((executor.alive(), executor.cleanups()), (0, 0));
}

#[test]
fn a_cancelled_callback_leaves_to_whoever_cancels_it() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let held = leaving("a", &log, Some(&gate));
    let gone = Gate::new();
    let waiting = gone.clone();
    let task = executor.spawn(async move {
        waiting.wait().await;
        let handle = harness::here().call_soon(move || drop(held));
        handle.cancel();
    });
    executor.run_until_idle();
    gone.open();
    executor.run_until_idle();
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert!(task.is_finished());
    assert_eq!(log.take(), ["a begins", "a ends"]);
}

#[test]
fn a_panicking_cleanup_is_reported_and_the_next_runs() {
    let (executor, losses) = executor();
    let log = Log::new();
    let bad = on_drop(|| {
        leave(Box::pin(async {
            yield_now().await;
            panic!("first");
        }));
    });
    let worse = on_drop(|| {
        let bomb = on_drop(|| panic!("second"));
        leave(Box::pin(async move {
            let _bomb = bomb;
            yield_now().await;
        }));
    });
    let task = executor.spawn(hold((bad, worse, leaving("good", &log, None))));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["good begins"]);
    assert_eq!(losses.words(), ["cleanup: first", "cleanup: second"]);
    cancelled(task);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn what_a_cleanup_leaves_is_waited_for_too() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (inner, logged) = (leaving("inner", &log, Some(&gate)), log.clone());
    let outer = on_drop(move || {
        leave(Box::pin(async move {
            logged.add("outer begins");
            yield_now().await;
            drop(inner);
            yield_now().await;
            logged.add("outer ends");
        }));
    });
    let task = executor.spawn(hold((outer, leaving("next", &log, None))));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        ["outer begins", "outer ends", "next begins", "inner begins"]
    );
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["inner ends"]);
    cancelled(task);
}

#[test]
fn a_cleanup_that_leaves_as_its_own_future_is_dropped() {
    let (executor, log) = (Executor::new(), Log::new());
    let mut last = Some(leaving("last", &log, None));
    let first = on_drop(move || {
        leave(Box::pin(std::future::poll_fn(move |_| {
            last.get_or_insert_with(|| unreachable!());
            Poll::Ready(())
        })));
    });
    let task = executor.spawn(hold(first));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["last begins"]);
    cancelled(task);
}

#[test]
fn cleanups_cannot_be_cancelled() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let task = executor.spawn(hold(leaving("a", &log, Some(&gate))));
    executor.run_until_idle();
    assert_eq!(executor.cancel_all(), 1);
    executor.run_until_idle();
    assert_eq!(executor.cancel_all(), 0);
    task.cancel();
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins", "a ends"]);
    cancelled(task);
}

#[test]
fn a_cleanup_runs_as_a_task_of_its_own() {
    let (executor, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    let held = on_drop(move || {
        leave(Box::pin(async move {
            logged.add(running() == Some("owner".into()));
            logged.add(Spawner::current_task().is_some());
            harness::here()
                .spawn(async move { logged.add("spawned by a cleanup") })
                .await
                .unwrap();
        }));
    });
    let task = executor.spawn(hold(held)).named("owner");
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["false", "true", "spawned by a cleanup"]);
    cancelled(task);
}

#[test]
fn outside_any_turn_a_cleanup_is_dropped_unrun() {
    let (executor, losses) = executor();
    let log = Log::new();
    let held = log.on_drop("dropped");
    leave(Box::pin(async move {
        let _held = held;
        unreachable!("nobody runs it");
    }));
    assert_eq!(log.take(), ["dropped"]);
    // The same with a scope that belongs to nobody.
    let scope = Scope::new();
    let held = log.on_drop("dropped");
    scope.enter(|| leave(Box::pin(hold(held))));
    assert!(scope.is_done());
    assert_eq!(log.take(), ["dropped"]);
    executor.run_until_idle();
    assert!(losses.is_empty());
}

#[test]
fn a_scope_made_outside_joins_the_executor_that_first_leaves_to_it() {
    let (executor, log) = (Executor::new(), Log::new());
    let scope = Scope::new();
    let (inside, held) = (scope.clone(), leaving("a", &log, None));
    executor.call_soon(move || inside.enter(|| drop(held)));
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins"]);
    assert!(scope.is_done());
}

#[test]
fn a_scope_collects_what_is_dropped_inside_and_can_be_waited_for() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (held, logged) = (leaving("inside", &log, Some(&gate)), log.clone());
    let task = executor.spawn(async move {
        let scope = Scope::new();
        assert!(scope.is_done());
        scope.wait().await;
        scope.enter(|| drop(held));
        assert!(!scope.is_done());
        scope.wait().await;
        logged.add("waited");
        scope.done().await;
        scope.is_done()
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["inside begins"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["inside ends", "waited"]);
    assert!(task.into_result().unwrap().unwrap());
}

#[test]
fn scopes_nest() {
    let (executor, log) = (Executor::new(), Log::new());
    let gates = [Gate::new(), Gate::new()];
    let held = [
        leaving("outer", &log, Some(&gates[0])),
        leaving("inner", &log, Some(&gates[1])),
        leaving("outer again", &log, None),
    ];
    let logged = log.clone();
    let task = executor.spawn(async move {
        let (outer, inner) = (Scope::new(), Scope::new());
        let [first, second, third] = held;
        outer.enter(|| {
            drop(first);
            inner.enter(|| drop(second));
            drop(third);
        });
        inner.wait().await;
        logged.add("inner is done");
        outer.wait().await;
        logged.add("outer is done");
    });
    executor.run_until_idle();
    // Different scopes clean up side by side.
    assert_eq!(log.take(), ["outer begins", "inner begins"]);
    gates[1].open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["inner ends", "inner is done"]);
    gates[0].open();
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        ["outer ends", "outer again begins", "outer is done"]
    );
    assert!(task.is_finished());
}

#[test]
fn a_wait_that_is_dropped_leaves_the_rest_to_the_outer() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (held, logged) = (leaving("inner", &log, Some(&gate)), log.clone());
    let task = executor.spawn(async move {
        let scope = Scope::new();
        scope.enter(|| drop(held));
        scope.wait().await;
        logged.add("never");
    });
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["inner begins"]);
    assert!(!task.is_finished(), "the cleanup is under way");
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["inner ends"]);
    cancelled(task);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_wait_that_is_dropped_in_a_scope_leaves_the_rest_to_that() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (held, logged) = (leaving("inner", &log, Some(&gate)), log.clone());
    let task = executor.spawn(async move {
        let inner = Scope::new();
        inner.enter(|| drop(held));
        let mut wait = Box::pin(async move { inner.wait().await });
        assert!(poll_once(wait.as_mut()).is_pending());
        let outer = Scope::new();
        outer.enter(|| drop(wait));
        outer.wait().await;
        logged.add("outer is done");
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["inner begins"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["inner ends", "outer is done"]);
    assert!(task.is_finished());
}

#[test]
fn many_may_wait_for_one_scope() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let scope: Rc<RefCell<Option<Scope>>> = Rc::default();
    let (place, held) = (Rc::clone(&scope), leaving("a", &log, Some(&gate)));
    executor.call_soon(move || {
        let scope = Scope::new();
        scope.enter(|| drop(held));
        *place.borrow_mut() = Some(scope);
    });
    executor.run_until_idle();
    let scope = scope.take().unwrap();
    for index in 0..3 {
        let (scope, log) = (scope.clone(), log.clone());
        executor
            .spawn(async move {
                scope.wait().await;
                log.add(index);
            })
            .detach();
    }
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["a begins", "a ends", "0", "1", "2"]);
}

#[test]
fn a_waker_of_a_waiter_may_come_back_and_may_panic() {
    let (executor, losses) = executor();
    let log = Log::new();
    let gate = Gate::new();
    let place: Rc<RefCell<Option<Scope>>> = Rc::default();
    let (made, held) = (Rc::clone(&place), leaving("a", &log, Some(&gate)));
    executor.call_soon(move || {
        let scope = Scope::new();
        scope.enter(|| drop(held));
        *made.borrow_mut() = Some(scope);
    });
    executor.run_until_idle();
    let scope = place.take().unwrap();

    let (again, seen) = (scope.clone(), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&seen);
    let waker = hooked_waker(move |on| {
        counted.set(counted.get() + 1);
        // Comes back to the same scope, with a waker of its own.
        let _ = poll_once(pin!(again.done()));
        if on == On::Wake {
            panic!("in a waker");
        }
    });
    let mut waiting = pin!(scope.done());
    assert!(
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let after = executor.spawn(scope.done());
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert!(seen.get() >= 2, "cloned and woken");
    assert!(after.is_finished(), "the next in line was woken");
    assert!(scope.is_done());
    assert_eq!(losses.words().len(), 1);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_limit_is_put_around_each_cleanup() {
    let log = Log::new();
    let wrapped = log.clone();
    let executor = Executor::builder()
        .cleanup_limit(Rc::new(move |cleanup: Cleanup| {
            let log = wrapped.clone();
            Box::pin(async move {
                log.add("limited");
                cleanup.await;
                log.add("in time");
            }) as Cleanup
        }))
        .build();
    let task = executor.spawn(hold((leaving("a", &log, None), leaving("b", &log, None))));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        [
            "limited", "a begins", "in time", "limited", "b begins", "in time"
        ]
    );
    cancelled(task);
}

#[test]
fn a_limit_that_gives_up_ends_the_wait() {
    let log = Log::new();
    let executor = Executor::builder()
        .cleanup_limit(Rc::new(|cleanup: Cleanup| {
            Box::pin(async move {
                // Out of patience after one turn.
                let mut cleanup = cleanup;
                assert!(poll_once(cleanup.as_mut()).is_pending());
                yield_now().await;
            }) as Cleanup
        }))
        .build();
    let held = log.on_drop("dropped");
    let hanging = on_drop(move || leave(Box::pin(hold(held))));
    let task = executor.spawn(hold(hanging));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped"]);
    cancelled(task);
}

#[test]
fn a_limit_that_panics_leaves_nobody_waiting() {
    let losses = Losses::default();
    let log = Log::new();
    let first = Cell::new(true);
    let executor = losses
        .builder()
        .cleanup_limit(Rc::new(move |cleanup: Cleanup| {
            if first.replace(false) {
                panic!("in the limit");
            }
            cleanup
        }))
        .build();
    let task = executor.spawn(hold((leaving("a", &log, None), leaving("b", &log, None))));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(losses.words(), ["cleanup: in the limit"]);
    assert_eq!(log.take(), ["b begins"]);
    cancelled(task);
    assert_eq!((executor.alive(), executor.cleanups()), (0, 0));
}

#[test]
fn what_a_close_cuts_off_is_reported() {
    let (executor, losses) = executor();
    let log = Log::new();
    let gate = Gate::new();
    let task = executor.spawn(hold((
        leaving("under way", &log, Some(&gate)),
        leaving("not begun", &log, None),
    )));
    let closed = executor.spawn(hold(leaving("left by the close", &log, None)));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["under way begins"]);
    let ended = executor.close();
    assert_eq!((ended.cancelled, ended.leaked), (3, 0));
    assert_eq!(losses.words(), ["cleanup dropped"; 3]);
    assert!(log.take().is_empty());
    assert_eq!((executor.alive(), executor.cleanups()), (0, 0));
    cancelled(task);
    cancelled(closed);
}

#[test]
fn a_result_that_waits_for_cleanup_survives_a_close() {
    let (executor, losses) = executor();
    let log = Log::new();
    let held = leaving("a", &log, Some(&Gate::new()));
    let task = executor.spawn(async move {
        drop(held);
        6
    });
    executor.run_until_idle();
    executor.close();
    assert_eq!(losses.words(), ["cleanup dropped"]);
    assert_eq!(task.into_result().unwrap().unwrap(), 6);
}

#[test]
fn a_cleanup_dropped_by_a_close_may_leave_again() {
    let (executor, losses) = executor();
    let log = Log::new();
    let held = leaving("again", &log, None);
    let first = on_drop(move || leave(Box::pin(hold(held))));
    let task = executor.spawn(hold(first));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    executor.close();
    assert_eq!(losses.words(), ["cleanup dropped"; 2]);
    assert!(log.take().is_empty());
}

#[test]
fn a_lost_cleanup_says_so() {
    let (executor, losses) = executor();
    let held = on_drop(|| leave(Box::pin(pending())));
    executor.spawn(hold(held)).detach();
    executor.run_until_idle();
    executor.close();
    let lost = losses.one();
    assert!(matches!(lost.kind, LostKind::CleanupDropped));
    assert!(
        lost.to_string()
            .starts_with("a cleanup was dropped before it had ended")
    );
}

#[test]
fn an_executor_inside_a_task_keeps_its_cleanups() {
    let (outer, log) = (Executor::new(), Log::new());
    let (inner_held, outer_held) = (leaving("inner", &log, None), leaving("outer", &log, None));
    let logged = log.clone();
    let task = outer.spawn(async move {
        let inner = Executor::new();
        inner.call_soon(move || drop(inner_held));
        inner.run_until_idle();
        logged.add("inner is idle");
        drop(outer_held);
        assert_eq!(inner.alive(), 0);
    });
    outer.run_until_idle();
    assert_eq!(
        log.take(),
        ["inner begins", "inner is idle", "outer begins"]
    );
    assert!(task.is_finished());
}
