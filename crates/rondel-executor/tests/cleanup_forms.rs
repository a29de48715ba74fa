//! `bracket`, `defer`, `finally`: in whatever way a body ends, its cleanup runs once, and whoever ended it waits.

mod harness;

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use harness::{Gate, Log, executor, yield_now};
use rondel_executor::{
    Cancellable, Executor, JoinError, Task, bracket, cancel_and_wait, defer, finally,
};

/// Each form around the same body, with a cleanup that says when it begins, waits at the gate, and says when it ends.
type Form = fn(Log, Gate, Body) -> Work;
type Work = std::pin::Pin<Box<dyn Future<Output = &'static str>>>;
type Body = std::pin::Pin<Box<dyn Future<Output = &'static str>>>;

async fn clean(log: Log, gate: Gate) {
    log.add("begin");
    gate.wait().await;
    log.add("end");
}

fn by_bracket(log: Log, gate: Gate, body: Body) -> Work {
    Box::pin(bracket(
        (log, gate),
        async |_| body.await,
        async |(log, gate)| clean(log, gate).await,
    ))
}

fn by_defer(log: Log, gate: Gate, body: Body) -> Work {
    Box::pin(async move {
        let cleanup = defer(clean(log, gate));
        let output = body.await;
        cleanup.run().await;
        output
    })
}

fn by_dropping_a_defer(log: Log, gate: Gate, body: Body) -> Work {
    Box::pin(async move {
        let _cleanup = defer(clean(log, gate));
        body.await
    })
}

fn by_finally(log: Log, gate: Gate, body: Body) -> Work {
    Box::pin(finally(body, clean(log, gate)))
}

const FORMS: [Form; 4] = [by_bracket, by_defer, by_dropping_a_defer, by_finally];

/// Says that it was dropped, so that the order can be seen.
fn body(log: &Log, gate: &Gate) -> Body {
    let (log, gate) = (log.clone(), gate.clone());
    Box::pin(async move {
        let _gone = log.on_drop("body gone");
        gate.wait().await;
        "output"
    })
}

fn start(
    form: Form,
) -> (
    Executor,
    harness::Losses,
    Log,
    [Gate; 2],
    Task<&'static str>,
) {
    let (executor, losses) = executor();
    let (log, gates) = (Log::new(), [Gate::new(), Gate::new()]);
    let body = body(&log, &gates[0]);
    let task = executor.spawn(form(log.clone(), gates[1].clone(), body));
    executor.run_until_idle();
    assert!(log.take().is_empty());
    (executor, losses, log, gates, task)
}

#[test]
fn after_a_body_that_returns_it_runs_before_the_output_is_given() {
    for form in FORMS {
        let (executor, losses, log, gates, task) = start(form);
        gates[0].open();
        executor.run_until_idle();
        assert_eq!(log.take(), ["body gone", "begin"]);
        assert!(!task.is_finished());
        gates[1].open();
        executor.run_until_idle();
        assert_eq!(log.take(), ["end"]);
        assert_eq!(task.into_result().unwrap().unwrap(), "output");
        assert!(losses.is_empty());
    }
}

#[test]
fn after_a_body_that_is_cancelled_the_task_is_not_done_before_it() {
    for form in FORMS {
        let (executor, losses, log, gates, task) = start(form);
        task.cancel();
        executor.run_until_idle();
        assert_eq!(log.take(), ["body gone", "begin"]);
        assert!(!task.is_finished());
        gates[1].open();
        executor.run_until_idle();
        assert_eq!(log.take(), ["end"]);
        assert!(matches!(task.into_result(), Ok(Err(JoinError::Cancelled))));
        assert!(losses.is_empty());
    }
}

#[test]
fn interrupted_itself_it_goes_on_where_it_was() {
    for form in FORMS {
        let (executor, losses, log, gates, task) = start(form);
        gates[0].open();
        executor.run_until_idle();
        assert_eq!(log.take(), ["body gone", "begin"]);
        task.cancel();
        executor.run_until_idle();
        assert!(log.take().is_empty(), "neither begun again nor lost");
        gates[1].open();
        executor.run_until_idle();
        assert_eq!(log.take(), ["end"]);
        assert!(task.is_finished() && losses.is_empty());
    }
}

#[test]
fn after_a_body_that_panics_it_runs_before_the_panic_is_told() {
    for form in FORMS {
        let (executor, losses) = executor();
        let (log, gate) = (Log::new(), Gate::new());
        let body = Box::pin(async { panic!("in the body") });
        let task = executor.spawn(form(log.clone(), gate.clone(), body));
        executor.run_until_idle();
        assert_eq!(log.take(), ["begin"]);
        assert!(!task.is_finished());
        gate.open();
        executor.run_until_idle();
        assert_eq!(log.take(), ["end"]);
        assert!(matches!(
            task.into_result(),
            Ok(Err(JoinError::Panicked(_)))
        ));
        assert!(losses.is_empty());
    }
}

#[test]
fn dropped_by_other_peoples_combinators_it_is_left_to_the_task() {
    for form in FORMS {
        let (executor, losses) = executor();
        let (log, gates) = (Log::new(), [Gate::new(), Gate::new()]);
        let task = executor.spawn({
            let work = form(log.clone(), gates[1].clone(), body(&log, &gates[0]));
            let log = log.clone();
            async move {
                let quick = pin!(async { yield_now().await });
                let chosen = futures_util::future::select(work, quick).await;
                drop(chosen);
                log.add("chosen");
            }
        });
        executor.run_until_idle();
        assert_eq!(log.take(), ["body gone", "chosen", "begin"]);
        assert!(!task.is_finished());
        gates[1].open();
        executor.run_until_idle();
        assert!(task.is_finished() && losses.is_empty());
    }
}

#[test]
fn a_canceller_of_ours_waits_for_it_itself() {
    for form in FORMS {
        let (executor, losses) = executor();
        let (log, gates) = (Log::new(), [Gate::new(), Gate::new()]);
        let task = executor.spawn({
            let work = form(log.clone(), gates[1].clone(), body(&log, &gates[0]));
            let log = log.clone();
            async move {
                let mut work = pin!(Cancellable::new(work));
                poll_fn(|cx| {
                    assert!(work.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                work.as_mut().cancel();
                assert_eq!(work.await, None);
                log.add("waited");
            }
        });
        executor.run_until_idle();
        gates[1].open();
        executor.run_until_idle();
        assert_eq!(log.take(), ["body gone", "begin", "end", "waited"]);
        assert!(task.is_finished() && losses.is_empty());
    }
}

#[test]
fn closed_over_it_is_reported_and_dropped() {
    for form in FORMS {
        let (executor, losses, log, _gates, task) = start(form);
        executor.close();
        assert_eq!(log.take(), ["body gone"]);
        assert_eq!(losses.words(), ["cleanup dropped"]);
        assert!(task.is_finished());
    }
}

#[test]
fn one_that_panics_inline_panics_the_task_and_is_not_run_again() {
    let (executor, losses) = executor();
    let log = Log::new();
    let task = executor.spawn({
        let log = log.clone();
        async move {
            let outer = log.clone();
            finally(
                finally(async {}, async { panic!("in the cleanup") }),
                async move { outer.add("the outer one runs") },
            )
            .await;
        }
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["the outer one runs"]);
    assert!(matches!(
        task.into_result(),
        Ok(Err(JoinError::Panicked(_)))
    ));
    assert!(losses.is_empty());
}

#[test]
fn nested_ones_run_inner_before_outer() {
    for form in FORMS {
        let (executor, losses) = executor();
        let log = Log::new();
        let (inner_log, outer_log, open) = (Log::new(), Log::new(), Gate::new());
        let task = executor.spawn({
            let waits = Box::pin(async {
                pending::<()>().await;
                ""
            });
            let inner = form(inner_log.clone(), open.clone(), waits);
            let noted = log.clone();
            let inner = Box::pin(finally(inner, async move { noted.add("middle") }));
            form(outer_log.clone(), open.clone(), inner)
        });
        executor.run_until_idle();
        task.cancel();
        executor.run_until_idle();
        assert_eq!(inner_log.take(), ["begin"]);
        assert!(log.take().is_empty() && outer_log.take().is_empty());
        open.open();
        executor.run_until_idle();
        assert_eq!(inner_log.take(), ["end"]);
        assert_eq!(log.take(), ["middle"]);
        assert_eq!(outer_log.take(), ["begin"]);
        open.open();
        executor.run_until_idle();
        assert!(task.is_finished() && losses.is_empty());
    }
}

#[test]
fn the_state_of_a_bracket_is_lent_to_the_body_and_given_to_the_cleanup() {
    let (executor, _) = executor();
    let log = Log::new();
    let cleaned = log.clone();
    let words = vec!["one"];
    let task = executor.spawn(bracket(
        words,
        async |words| {
            words.push("two");
            yield_now().await;
            words.len()
        },
        async move |words| cleaned.add(words.join(" ")),
    ));
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), 2);
    assert_eq!(log.take(), ["one two"]);
}

#[test]
fn a_body_may_borrow_from_the_frame_around() {
    let (executor, _) = executor();
    let task = executor.spawn(async {
        let mut seen = Vec::new();
        bracket(3, async |n| seen.push(*n), async |_| {}).await;
        finally(async { seen.push(4) }, async {}).await;
        seen
    });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), [3, 4]);
}

#[test]
fn disarmed_it_does_not_run() {
    let (executor, losses) = executor();
    let log = Log::new();
    let task = executor.spawn({
        let log = log.clone();
        async move {
            let cleanup = defer(async move { log.add("ran") });
            drop(cleanup.disarm());
        }
    });
    executor.run_until_idle();
    assert!(task.is_finished() && losses.is_empty());
    assert!(log.take().is_empty());
}

#[test]
fn cancel_and_wait_waits_for_what_the_drop_left() {
    let (executor, losses) = executor();
    let (log, gate) = (Log::new(), Gate::new());
    let task = executor.spawn({
        let (log, gate) = (log.clone(), gate.clone());
        async move {
            let cleanup = defer(clean(log.clone(), gate));
            cancel_and_wait(|| drop(cleanup)).await;
            log.add("waited");
        }
    });
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["begin", "end", "waited"]);
    assert!(task.is_finished() && losses.is_empty());
}
