//! `Cancellable`: what a combinator cancels with.

mod harness;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use harness::{Gate, Log, count_polls, executor, hold, on_drop, poll_once, yield_now};
use rondel_executor::{Cancellable, Executor, JoinError, defer, leave, shielded};

/// Says when it is dropped, and cleans up once the gate is opened.
async fn careful(log: Log, gate: Gate) {
    let _dropped = log.on_drop("dropped");
    let cleaned = log.clone();
    let _cleanup = defer(async move {
        gate.wait().await;
        cleaned.add("cleaned up");
    });
    pending::<()>().await;
}

#[test]
fn what_is_not_cancelled_gives_its_output() {
    let mut inner = pin!(Cancellable::new(ready(7)));
    assert!(!inner.is_cancelled());
    assert_eq!(poll_once(inner.as_mut()), Poll::Ready(Some(7)));
    inner.as_mut().cancel();
    assert!(!inner.is_cancelled(), "it had finished before");
}

#[test]
fn cancelled_before_it_began_it_is_dropped_unpolled() {
    let log = Log::new();
    let (polls, count) = count_polls(Box::pin(hold(log.on_drop("dropped"))));
    let mut inner = pin!(Cancellable::new(polls));
    inner.as_mut().cancel();
    assert!(
        log.take().is_empty(),
        "nothing is dropped before the next poll"
    );
    assert_eq!(poll_once(inner.as_mut()), Poll::Ready(None));
    assert_eq!(log.take(), ["dropped"]);
    assert_eq!(count.get(), 0);
    assert!(inner.is_cancelled());
}

#[test]
fn a_future_without_a_destructor_is_cancelled_too() {
    let mut inner = pin!(Cancellable::new(pending::<u8>()));
    assert!(poll_once(inner.as_mut()).is_pending());
    inner.as_mut().cancel();
    assert_eq!(poll_once(inner.as_mut()), Poll::Ready(None));
}

#[test]
fn it_is_not_done_before_what_it_left_is_cleaned_up() {
    let (executor, losses) = executor();
    let (log, gate) = (Log::new(), Gate::new());
    let task = executor.spawn({
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            let mut inner = pin!(Cancellable::new(careful(log.clone(), gate)));
            poll_fn(|cx| {
                assert!(inner.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            inner.as_mut().cancel();
            assert_eq!(inner.await, None);
            log.add("waited");
        }
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned up", "waited"]);
    assert!(task.is_finished() && losses.is_empty());
}

#[test]
fn dropped_while_it_waits_it_leaves_the_wait_to_the_task() {
    let (executor, losses) = executor();
    let (log, gate) = (Log::new(), Gate::new());
    let task = executor.spawn({
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            let mut inner = Box::pin(Cancellable::new(careful(log, gate)));
            poll_fn(|cx| {
                assert!(inner.as_mut().poll(cx).is_pending());
                inner.as_mut().cancel();
                assert!(inner.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            drop(inner);
        }
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped"]);
    assert!(!task.is_finished(), "the task waits in its place");
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned up"]);
    assert!(task.is_finished() && losses.is_empty());
}

#[test]
fn dropped_uncancelled_it_drops_what_is_inside() {
    let log = Log::new();
    let mut inner = Box::pin(Cancellable::new(hold(log.on_drop("dropped"))));
    assert!(poll_once(inner.as_mut()).is_pending());
    drop(inner);
    assert_eq!(log.take(), ["dropped"]);
}

#[test]
fn nested_ones_each_wait_for_their_own() {
    let (executor, losses) = executor();
    let (log, gate) = (Log::new(), Gate::new());
    let task = executor.spawn({
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            let inner = Cancellable::new(careful(log.clone(), gate));
            let mut outer = pin!(Cancellable::new(inner));
            poll_fn(|cx| {
                assert!(outer.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            outer.as_mut().cancel();
            assert_eq!(outer.await, None);
            log.add("waited");
        }
    });
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped", "cleaned up", "waited"]);
    assert!(task.is_finished() && losses.is_empty());
}

#[test]
fn a_panicking_destructor_goes_to_whoever_polls_and_leaves_nothing_half_done() {
    let mut inner = pin!(Cancellable::new(hold(on_drop(|| panic!(
        "in the destructor"
    )))));
    assert!(poll_once(inner.as_mut()).is_pending());
    inner.as_mut().cancel();
    let panicked = catch_unwind(AssertUnwindSafe(|| poll_once(inner.as_mut())));
    assert!(panicked.is_err());
    assert_eq!(poll_once(inner.as_mut()), Poll::Ready(None));
}

#[test]
#[should_panic(expected = "polled after it had given its output")]
fn it_is_not_to_be_polled_after_its_output() {
    let mut inner = pin!(Cancellable::new(poll_fn(|_| Poll::Ready(()))));
    assert!(poll_once(inner.as_mut()).is_ready());
    let _ = poll_once(inner.as_mut());
}

#[test]
fn an_open_shield_puts_the_drop_off_until_it_closes() {
    let gate = Gate::new();
    let log = Log::new();
    let body = {
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            let _dropped = log.on_drop("dropped");
            shielded(gate.wait()).await;
            log.add("the shielded part is done");
            pending::<()>().await;
        }
    };
    let mut inner = pin!(Cancellable::new(body));
    assert!(poll_once(inner.as_mut()).is_pending());
    inner.as_mut().cancel();
    assert!(poll_once(inner.as_mut()).is_pending());
    assert!(log.take().is_empty());
    gate.open();
    assert_eq!(poll_once(inner.as_mut()), Poll::Ready(None));
    assert_eq!(log.take(), ["the shielded part is done", "dropped"]);
}

#[test]
fn what_finishes_behind_a_shield_gives_its_output() {
    let gate = Gate::new();
    let mut inner = pin!(Cancellable::new(shielded(gate.wait())));
    assert!(poll_once(inner.as_mut()).is_pending());
    inner.as_mut().cancel();
    assert!(poll_once(inner.as_mut()).is_pending());
    gate.open();
    assert_eq!(poll_once(inner.as_mut()), Poll::Ready(Some(())));
}

#[test]
fn a_shield_that_has_not_been_polled_holds_nothing_off() {
    let mut inner = pin!(Cancellable::new(shielded(pending::<()>())));
    inner.as_mut().cancel();
    assert_eq!(poll_once(inner.as_mut()), Poll::Ready(None));
}

#[test]
fn a_shield_holds_off_every_canceller_around_and_none_within() {
    let gate = Gate::new();
    let within = Cancellable::new(pending::<()>());
    let body = {
        let gate = gate.clone();
        async move {
            let mut within = pin!(within);
            within.as_mut().cancel();
            assert_eq!(within.await, None, "a canceller within the shield works");
            gate.wait().await;
            pending::<()>().await;
        }
    };
    let middle = Cancellable::new(async move {
        shielded(body).await;
    });
    let mut outer = pin!(Cancellable::new(middle));
    assert!(poll_once(outer.as_mut()).is_pending());
    outer.as_mut().cancel();
    assert!(poll_once(outer.as_mut()).is_pending());
    gate.open();
    assert!(
        poll_once(outer.as_mut()).is_pending(),
        "the shielded part is not at its end"
    );
}

#[test]
fn a_cancelled_task_is_dropped_when_its_shield_closes() {
    let (executor, losses) = executor();
    let (log, gate) = (Log::new(), Gate::new());
    let task = executor.spawn({
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            let _dropped = log.on_drop("dropped");
            shielded(gate.wait()).await;
            log.add("shielded");
            yield_now().await;
            unreachable!("the task ends at its next point of suspension");
        }
    });
    executor.run_until_idle();
    assert!(task.cancel());
    executor.run_until_idle();
    assert!(log.take().is_empty() && !task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["shielded", "dropped"]);
    assert!(matches!(task.into_result(), Ok(Err(JoinError::Cancelled))));
    assert!(losses.is_empty());
}

#[test]
fn a_cancelled_task_that_ends_with_its_shield_has_a_result() {
    let (executor, _) = executor();
    let gate = Gate::new();
    let task = executor.spawn({
        let gate = gate.clone();
        async move {
            shielded(gate.wait()).await;
            "done"
        }
    });
    executor.run_until_idle();
    task.cancel();
    gate.open();
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), "done");
}

#[test]
fn a_task_may_cancel_itself_behind_a_shield() {
    let (executor, _) = executor();
    let handle: Rc<Cell<Option<rondel_executor::Task<()>>>> = Rc::default();
    let log = Log::new();
    let task = executor.spawn({
        let (handle, log) = (Rc::clone(&handle), log.clone());
        async move {
            let own = handle.take().expect("put there below");
            shielded(async {
                own.cancel();
                yield_now().await;
                log.add("went on");
            })
            .await;
            pending::<()>().await;
        }
    });
    handle.set(Some(task));
    executor.run_until_idle();
    assert_eq!(log.take(), ["went on"]);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_shield_dropped_by_hand_lets_the_canceller_go_on() {
    let (executor, _) = executor();
    let gate = Gate::new();
    let task = executor.spawn({
        let gate = gate.clone();
        async move {
            let mut shield = Box::pin(shielded(pending::<()>()));
            poll_fn(|cx| {
                assert!(shield.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            gate.wait().await;
            drop(shield);
            pending::<()>().await;
        }
    });
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert!(task.is_finished());
}

#[test]
fn a_shield_that_moves_to_another_task_wakes_the_one_it_held_off() {
    let (executor, _) = executor();
    let gate = Gate::new();
    let task = executor.spawn({
        let gate = gate.clone();
        async move {
            let mut shield = Box::pin(shielded(gate.wait()));
            poll_fn(|cx| {
                assert!(shield.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            harness::here().spawn(shield).detach();
            pending::<()>().await;
        }
    });
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert!(!task.is_finished());
    gate.open();
    executor.run_until_idle();
    assert!(task.is_finished());
}

#[test]
fn closing_the_executor_does_not_wait_for_a_shield() {
    let (executor, _) = executor();
    let log = Log::new();
    let held = log.on_drop("dropped");
    executor.spawn(shielded(hold(held))).detach();
    executor.run_until_idle();
    executor.cancel_all();
    executor.run_until_idle();
    assert!(log.take().is_empty());
    assert_eq!(executor.close().cancelled, 1);
    assert_eq!(log.take(), ["dropped"]);
}

#[test]
fn a_shield_outside_any_executor_is_a_plain_future() {
    let mut shield = pin!(shielded(ready(3)));
    assert_eq!(poll_once(shield.as_mut()), Poll::Ready(3));
}

#[test]
fn frames_are_taken_down_by_a_panic() {
    let mut inner = pin!(Cancellable::new(async { panic!("inside") }));
    assert!(catch_unwind(AssertUnwindSafe(|| poll_once(inner.as_mut()))).is_err());
    // A frame left behind would be counted in here, and dangle.
    let mut shield = Box::pin(shielded(pending::<()>()));
    assert!(poll_once(shield.as_mut()).is_pending());
}

#[test]
fn a_turn_inside_a_frame_does_not_see_it() {
    let nested = async {
        let inner = Executor::new();
        let gate = Gate::new();
        let wait = gate.clone();
        let task = inner.spawn(async move { shielded(wait.wait()).await });
        inner.run_until_idle();
        gate.open();
        pending::<()>().await;
        drop((inner, task));
    };
    let mut outer = pin!(Cancellable::new(nested));
    assert!(poll_once(outer.as_mut()).is_pending());
    outer.as_mut().cancel();
    assert_eq!(poll_once(outer.as_mut()), Poll::Ready(None));
}

#[test]
fn the_future_inside_may_leave_more_from_what_it_left() {
    let (executor, losses) = executor();
    let log = Log::new();
    let task = executor.spawn({
        let log = log.clone();
        async move {
            let (first, second) = (log.clone(), log.clone());
            let held = on_drop(move || {
                leave(Box::pin(async move {
                    first.add("first");
                    leave(Box::pin(async move { second.add("second") }));
                }));
            });
            let mut inner = pin!(Cancellable::new(hold(held)));
            poll_fn(|cx| {
                assert!(inner.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            inner.as_mut().cancel();
            inner.await;
            log.add("waited");
        }
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["first", "second", "waited"]);
    assert!(task.is_finished() && losses.is_empty());
}
