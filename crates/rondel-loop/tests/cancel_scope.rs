//! Cancel scopes, `move_on_after`, and shields under every timed form.

mod trace;

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rondel_executor::{Waits, defer, finally, shielded};
use rondel_loop::{
    CancelScope, EventLoop, JoinError, LocalLoop, RunOptions, Runner, ScopeCancelled,
    move_on_after, move_on_at, sleep, spawn, timeout, yield_now,
};
use rondel_poll::Virtual;
use trace::Trace;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn virtual_loop() -> EventLoop {
    EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap()
}

fn on_virtual_time<F: Future>(main: F) -> F::Output {
    virtual_loop().run_until_complete(main).unwrap()
}

fn now() -> Instant {
    LocalLoop::current().unwrap().time()
}

#[test]
fn what_finishes_inside_gives_its_output() {
    on_virtual_time(async {
        let scope = CancelScope::after(HOUR);
        assert_eq!(scope.run(async { 7 }).await, Ok(7));
        assert_eq!(scope.cancelled(), None);
        let bare = CancelScope::new();
        assert_eq!(bare.run(sleep(SECOND)).await, Ok(()));
    });
}

#[test]
fn it_expires_at_its_deadline_and_says_so() {
    on_virtual_time(async {
        let start = now();
        let scope = CancelScope::after(SECOND);
        assert_eq!(scope.deadline(), Some(start + SECOND));
        let outcome = scope.run(pending::<()>()).await;
        assert_eq!(outcome, Err(ScopeCancelled::Expired));
        assert_eq!(now() - start, SECOND);
        assert_eq!(scope.cancelled(), Some(ScopeCancelled::Expired));
        assert!(!scope.cancel(), "the first cause stands");
        assert_eq!(scope.cancelled(), Some(ScopeCancelled::Expired));
    });
}

#[test]
fn a_handle_cancels_from_outside_at_once() {
    on_virtual_time(async {
        let start = now();
        let scope = CancelScope::after(HOUR);
        let handle = scope.clone();
        spawn(async move {
            sleep(SECOND).await;
            assert!(handle.cancel());
        })
        .detach();
        let outcome = scope.run(pending::<()>()).await;
        assert_eq!(outcome, Err(ScopeCancelled::Requested));
        assert_eq!(now() - start, SECOND);
    });
}

#[test]
fn cancelled_before_the_run_it_begins_nothing() {
    on_virtual_time(async {
        let begun = Cell::new(false);
        let scope = CancelScope::new();
        scope.cancel();
        let outcome = scope.run(async { begun.set(true) }).await;
        assert_eq!(outcome, Err(ScopeCancelled::Requested));
        assert!(!begun.get());
    });
}

#[test]
fn cancelled_from_inside_it_ends_at_the_next_point_of_suspension() {
    on_virtual_time(async {
        let trace = Trace::new();
        let scope = CancelScope::new();
        let outcome = scope
            .run(async {
                scope.cancel();
                trace.note("goes on");
                yield_now().await;
                trace.note("unreachable");
            })
            .await;
        assert_eq!(outcome, Err(ScopeCancelled::Requested));
        assert_eq!(trace.take(), ["goes on"]);
        assert_eq!(
            CancelScope::new().run(async { 1 }).await,
            Ok(1),
            "other scopes are not concerned"
        );
    });
}

#[test]
fn what_ends_without_a_point_of_suspension_after_a_cancel_wins() {
    on_virtual_time(async {
        let scope = CancelScope::new();
        let outcome = scope
            .run(async {
                scope.cancel();
                "result"
            })
            .await;
        assert_eq!(outcome, Ok("result"));
    });
}

#[test]
fn it_waits_for_what_was_left_to_clean_up() {
    on_virtual_time(async {
        let start = now();
        let scope = CancelScope::after(SECOND);
        let slow = async { sleep(3 * SECOND).await };
        let outcome = scope.run(finally(pending::<()>(), slow)).await;
        assert_eq!(outcome, Err(ScopeCancelled::Expired));
        assert_eq!(now() - start, 4 * SECOND);
    });
}

#[test]
fn one_scope_cancels_all_that_run_inside() {
    on_virtual_time(async {
        let scope = CancelScope::new();
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let scope = scope.clone();
                spawn(async move { scope.run(pending::<()>()).await })
            })
            .collect();
        yield_now().await;
        scope.cancel();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Err(ScopeCancelled::Requested));
        }
    });
}

#[test]
fn a_scope_that_lives_long_does_not_grow_with_what_ran_inside() {
    on_virtual_time(async {
        let scope = CancelScope::after(HOUR);
        for _ in 0..1000 {
            assert!(scope.run(yield_now()).await.is_ok());
        }
        let mut abandoned = Box::pin(scope.run(pending::<()>()));
        assert!(timeout(SECOND, abandoned.as_mut()).await.is_err());
        drop(abandoned);
        assert!(scope.cancel());
    });
}

#[test]
fn its_deadline_can_be_moved_from_outside_both_ways_and_taken_away() {
    on_virtual_time(async {
        let start = now();
        let scope = CancelScope::after(HOUR);
        let handle = scope.clone();
        spawn(async move {
            assert!(handle.set_deadline(Some(now() + 2 * SECOND)));
            sleep(SECOND).await;
            assert!(handle.set_deadline(Some(now() + 5 * SECOND)));
            sleep(4 * SECOND).await;
            assert!(handle.set_deadline(None));
            sleep(4 * SECOND).await;
            assert!(handle.set_deadline(Some(now())));
        })
        .detach();
        assert!(scope.run(pending::<()>()).await.is_err());
        assert_eq!(now() - start, 9 * SECOND);
        assert!(!scope.set_deadline(None), "it is too late");
    });
}

#[test]
fn of_nested_scopes_the_one_that_was_cancelled_says_so() {
    on_virtual_time(async {
        let (outer, inner) = (CancelScope::after(2 * SECOND), CancelScope::after(SECOND));
        let outcome = outer
            .run(async {
                let inner = inner.run(pending::<()>()).await;
                assert_eq!(inner, Err(ScopeCancelled::Expired));
                "went on"
            })
            .await;
        assert_eq!(outcome, Ok("went on"));

        let (outer, inner) = (CancelScope::after(SECOND), CancelScope::after(2 * SECOND));
        let outcome = outer.run(inner.run(pending::<()>())).await;
        assert_eq!(outcome, Err(ScopeCancelled::Expired));
        assert_eq!(inner.cancelled(), None);
    });
}

#[test]
fn a_shielded_scope_holds_off_the_outer_ones_and_keeps_its_own_deadline() {
    on_virtual_time(async {
        let start = now();
        let outer = CancelScope::after(SECOND);
        let outcome = outer
            .run(async {
                let inner = CancelScope::after(3 * SECOND).shielded();
                assert_eq!(
                    inner.run(pending::<()>()).await,
                    Err(ScopeCancelled::Expired)
                );
                assert_eq!(now() - start, 3 * SECOND);
                yield_now().await;
                unreachable!("the outer scope has expired meanwhile");
            })
            .await;
        assert_eq!(outcome, Err(ScopeCancelled::Expired));
        assert_eq!(now() - start, 3 * SECOND);
    });
}

#[test]
fn a_task_cancelled_during_a_shielded_scope_ends_after_it() {
    on_virtual_time(async {
        let start = now();
        let task = spawn(async {
            let scope = CancelScope::new().shielded();
            scope.run(sleep(2 * SECOND)).await.unwrap();
            sleep(HOUR).await;
        });
        yield_now().await;
        task.cancel();
        assert!(matches!(task.await, Err(JoinError::Cancelled)));
        assert_eq!(now() - start, 2 * SECOND);
    });
}

#[test]
fn a_timeout_waits_for_a_shielded_part_and_no_longer() {
    on_virtual_time(async {
        let start = now();
        let late = timeout(SECOND, async {
            shielded(sleep(3 * SECOND)).await;
            sleep(HOUR).await;
        });
        assert!(late.await.is_err());
        assert_eq!(now() - start, 3 * SECOND);
        let wins = timeout(SECOND, shielded(sleep(2 * SECOND)));
        assert_eq!(wins.await, Ok(()));
    });
}

#[test]
fn moving_on_is_no_error() {
    on_virtual_time(async {
        let start = now();
        assert_eq!(move_on_after(SECOND, async { 1 }).await, Some(1));
        assert_eq!(move_on_after(SECOND, pending::<()>()).await, None);
        assert_eq!(now() - start, SECOND);
        assert_eq!(
            move_on_at(start, sleep(HOUR)).await,
            None,
            "a deadline that has passed"
        );
        let cleaned = Rc::new(Cell::new(false));
        let seen = Rc::clone(&cleaned);
        let body = finally(pending::<()>(), async move {
            sleep(SECOND).await;
            seen.set(true);
        });
        assert_eq!(move_on_after(SECOND, body).await, None);
        assert!(cleaned.get());
        assert_eq!(now() - start, 3 * SECOND);
    });
}

#[test]
fn the_label_of_a_limited_task_is_that_of_what_it_waits_for() {
    on_virtual_time(async {
        let other = spawn(pending::<()>());
        let id = other.id();
        let task = spawn(async move { timeout(HOUR, other).await });
        let bare = spawn(timeout(HOUR, sleep(SECOND)));
        yield_now().await;
        let info = task.info().unwrap();
        assert_eq!(info.waits(), Waits::TASK);
        assert_eq!(u64::from(info.waits_on()), id.get());
        assert_eq!(bare.info().unwrap().waits(), Waits::TIME);
        task.cancel();
        bare.cancel();
    });
}

#[test]
fn a_cleanup_cut_by_its_limit_is_cut_though_it_is_shielded() {
    let mut lp = EventLoop::builder()
        .selector(Virtual::new())
        .cleanup_limit(SECOND)
        .build()
        .unwrap();
    let told = Trace::new();
    let note = told.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        note.note(context.to_string());
    })));
    let start = lp.time();
    lp.run_until_complete(async {
        let task = spawn(async {
            let _cleanup = defer(shielded(pending::<()>()));
            pending::<()>().await;
        });
        yield_now().await;
        task.cancel();
        let _ = task.await;
    })
    .unwrap();
    assert_eq!(lp.time() - start, SECOND);
    assert_eq!(told.take().len(), 1);
}

#[test]
fn at_the_end_of_a_run_shielded_parts_and_cleanups_are_waited_for() {
    let trace = Trace::new();
    let mut runner = Runner::with(virtual_loop(), RunOptions::default());
    let start = runner.event_loop().time();
    runner
        .run(async {
            let note = trace.clone();
            spawn(async move {
                let cleaned = note.clone();
                let _cleanup = defer(async move {
                    sleep(SECOND).await;
                    cleaned.note("cleaned up");
                });
                shielded(sleep(SECOND)).await;
                note.note("shielded part done");
                pending::<()>().await;
            })
            .detach();
            yield_now().await;
        })
        .unwrap();
    runner.close();
    assert_eq!(trace.take(), ["shielded part done", "cleaned up"]);
    assert_eq!(runner.event_loop().time() - start, 2 * SECOND);
}

#[test]
fn a_shield_without_end_holds_up_the_end_of_a_run_for_its_grace_only() {
    let mut runner = Runner::with(virtual_loop(), RunOptions::default().task_grace(5 * SECOND));
    let told = Trace::new();
    let note = told.clone();
    runner
        .event_loop()
        .set_exception_handler(Some(Rc::new(move |_, context| {
            note.note(context.to_string());
        })));
    let start = runner.event_loop().time();
    runner
        .run(async {
            spawn(shielded(pending::<()>())).detach();
            yield_now().await;
        })
        .unwrap();
    runner.close();
    assert_eq!(runner.event_loop().time() - start, 5 * SECOND);
    assert_eq!(told.take().len(), 1);
}

#[test]
fn without_a_deadline_no_loop_is_needed() {
    let scope = CancelScope::new();
    let mut run = pin!(scope.run(async { 3 }));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(run.as_mut().poll(&mut cx).is_ready());
}
