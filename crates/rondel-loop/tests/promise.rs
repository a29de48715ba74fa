//! Promises: keeping them, awaiting them, and what happens when one side goes away.

mod trace;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::future::{Either, select};
use rondel_executor::Waits;
use rondel_loop::{
    Deferred, DeferredError, EventLoop, Promise, Settled, all_tasks, promise, spawn, yield_now,
};
use trace::Trace;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Broken(&'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Broken {}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// What the exception handler is told of promises: the error, and whether the place is in this file.
fn reporting_loop() -> (EventLoop, Trace<(String, bool)>) {
    let lp = EventLoop::new().unwrap();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        assert_eq!(
            context.message,
            "a promise failed, and nobody retrieved its error"
        );
        let here = context.promise.map(Location::file);
        assert!(context.to_string().contains("promise made at"));
        noted.note((
            context.error.as_ref().unwrap().to_string(),
            here.is_some_and(|file| file.ends_with("promise.rs") && !file.contains("src")),
        ));
    })));
    (lp, trace)
}

fn reported(error: &str) -> Vec<(String, bool)> {
    vec![(error.to_owned(), true)]
}

/// asyncio's test_result, test_exception: reading a pending future is an error of its own.
#[test]
fn while_it_is_pending_there_is_no_result_and_it_says_so() {
    let (promise, mut deferred) = promise::<u32, Broken>();
    assert_eq!(deferred.try_result(), None);
    assert_eq!(deferred.settled(), None);
    promise.set_result(1).unwrap();
    assert_eq!(deferred.settled(), Some(Settled::Finished));
    assert_eq!(deferred.try_result(), Some(Ok(1)));
    assert_eq!(deferred.try_result(), Some(Err(DeferredError::Taken)));
    assert_eq!(poll(&mut deferred), Poll::Ready(Err(DeferredError::Taken)));
}

#[test]
fn an_error_comes_as_what_it_was() {
    let (promise, mut deferred) = promise::<u32, Broken>();
    promise.set_error(Broken("cup")).unwrap();
    assert_eq!(deferred.settled(), Some(Settled::Failed));
    let error = deferred.try_result().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the promise failed");
    assert_eq!(error.source().unwrap().to_string(), "cup");
    assert_eq!(error.into_failed(), Some(Broken("cup")));
}

#[test]
fn cancel_is_true_the_first_time_and_false_when_it_is_settled() {
    let (promise, deferred) = promise::<u32, Broken>();
    assert!(!promise.is_cancelled());
    assert!(deferred.cancel());
    assert!(!deferred.cancel());
    assert!(promise.is_cancelled());
    assert_eq!(deferred.settled(), Some(Settled::Cancelled));

    let (promise, mut deferred) = rondel_loop::promise::<u32, Broken>();
    promise.set_result(1).unwrap();
    assert!(!deferred.cancel());
    assert_eq!(deferred.try_result(), Some(Ok(1)), "the result stands");
}

#[test]
fn what_comes_too_late_is_given_back() {
    let (promise, mut deferred) = promise::<u32, Broken>();
    deferred.cancel();
    assert_eq!(promise.set_result(1), Err(1));
    assert_eq!(deferred.try_result(), Some(Err(DeferredError::Cancelled)));
    let (promise, deferred) = rondel_loop::promise::<u32, Broken>();
    drop(deferred);
    assert_eq!(promise.set_error(Broken("late")), Err(Broken("late")));
    let (promise, deferred) = rondel_loop::promise::<u32, Broken>();
    drop(deferred);
    assert_eq!(promise.set(Ok(3)), Err(Ok(3)));
}

#[test]
fn a_dropped_promise_is_an_error_of_its_own() {
    let (promise, mut deferred) = promise::<u32, Infallible>();
    assert!(poll(&mut deferred).is_pending());
    drop(promise);
    assert_eq!(deferred.settled(), Some(Settled::Dropped));
    assert!(!deferred.cancel(), "it is settled");
    let Poll::Ready(Err(error)) = poll(&mut deferred) else {
        panic!("settled");
    };
    assert_eq!(error, DeferredError::Dropped);
    assert_eq!(
        error.to_string(),
        "the promise was dropped before it was kept"
    );
}

/// asyncio: awaiting a future that is done does not yield.
#[test]
fn awaiting_one_that_is_kept_does_not_yield() {
    let (promise, mut deferred) = promise::<u32, Infallible>();
    promise.set_result(1).unwrap();
    assert_eq!(poll(&mut deferred), Poll::Ready(Ok(1)));
}

#[test]
fn setting_wakes_the_task_that_awaits() {
    let mut lp = EventLoop::new().unwrap();
    let (promise, deferred) = promise::<_, Infallible>();
    let waiting = lp.create_task(deferred);
    lp.call_soon(move || promise.set_result("kept").unwrap());
    let outcome = lp.run_until_complete(waiting).unwrap();
    assert_eq!(outcome.unwrap(), Ok("kept"));
}

#[test]
fn it_works_without_any_loop() {
    let (promise, mut deferred) = promise::<_, Broken>();
    assert!(poll(&mut deferred).is_pending());
    promise.set_result(1).unwrap();
    assert_eq!(poll(&mut deferred), Poll::Ready(Ok(1)));
}

/// asyncio's test_other_loop_future: there an error; here wakers know their loop, so it just works.
#[test]
fn a_task_of_one_loop_awaits_a_promise_made_in_another() {
    let mut first = EventLoop::new().unwrap();
    let mut second = EventLoop::new().unwrap();
    let (promise, deferred) = first
        .run_until_complete(async { promise::<_, Infallible>() })
        .unwrap();
    let mut waiting = second.create_task(deferred);
    second.run_until_complete(yield_now()).unwrap();
    assert!(!waiting.is_finished());
    first
        .run_until_complete(async { promise.set_result(7).unwrap() })
        .unwrap();
    second.run_until_complete(waiting.done()).unwrap();
    assert_eq!(waiting.result().unwrap().unwrap(), Ok(7));
}

/// asyncio's test_tb_logger_*: reported exactly once, with where it came from.
#[test]
fn an_error_dropped_unread_is_reported_once() {
    let (mut lp, reports) = reporting_loop();
    lp.run_until_complete(async {
        let (promise, deferred) = promise::<u32, Broken>();
        promise.set_error(Broken("unread")).unwrap();
        drop(deferred);
    })
    .unwrap();
    assert_eq!(reports.take(), reported("unread"));
}

#[test]
fn an_error_somebody_took_notice_of_is_not_reported() {
    let (mut lp, reports) = reporting_loop();
    lp.run_until_complete(async {
        let failed = || {
            let (promise, deferred) = promise::<u32, Broken>();
            promise.set_error(Broken("seen")).unwrap();
            deferred
        };
        let _ = failed().try_result();
        let _ = failed().await;
        failed().cancel();
        let shared = failed().shared();
        let _ = shared.clone().await;
        let other = failed().shared();
        let _ = other.try_result();
        failed().shared().cancel();
    })
    .unwrap();
    assert_eq!(reports.take(), []);
}

#[test]
fn results_cancellations_and_pending_ones_are_not_reported() {
    let (mut lp, reports) = reporting_loop();
    lp.run_until_complete(async {
        let (kept, deferred) = promise::<u32, Broken>();
        kept.set_result(1).unwrap();
        drop(deferred);
        let (pending, deferred) = promise::<u32, Broken>();
        drop(deferred);
        drop(pending);
        let (dropped, deferred) = promise::<u32, Broken>();
        drop(dropped);
        drop(deferred);
        let (late, deferred) = promise::<u32, Broken>();
        deferred.cancel();
        assert!(late.set_error(Broken("given back")).is_err());
    })
    .unwrap();
    assert_eq!(reports.take(), []);
}

#[test]
fn the_last_of_several_handles_reports() {
    let (mut lp, reports) = reporting_loop();
    lp.run_until_complete(async {
        let (promise, deferred) = promise::<u32, Broken>();
        let first = deferred.shared();
        let second = first.clone();
        promise.set_error(Broken("unread by both")).unwrap();
        drop(first);
        spawn(async move { drop(second) }).await.unwrap();
    })
    .unwrap();
    assert_eq!(reports.take(), reported("unread by both"));
}

#[test]
fn it_is_reported_to_the_loop_it_was_made_in_also_after_that_ran() {
    let (mut lp, reports) = reporting_loop();
    let (promise, deferred) = lp
        .run_until_complete(async { promise::<u32, Broken>() })
        .unwrap();
    promise.set_error(Broken("between runs")).unwrap();
    drop(deferred);
    assert_eq!(reports.take(), reported("between runs"));
}

#[test]
fn once_its_loop_is_closed_it_is_reported_to_the_one_that_runs() {
    let (mut first, unheard) = reporting_loop();
    let (promise, deferred) = first
        .run_until_complete(async { promise::<u32, Broken>() })
        .unwrap();
    first.close();
    first.set_exception_handler(Some(Rc::new(move |_, _| unheard.note(("?".into(), false)))));
    promise.set_error(Broken("an orphan")).unwrap();
    let (mut second, reports) = reporting_loop();
    second
        .run_until_complete(async move { drop(deferred) })
        .unwrap();
    assert_eq!(reports.take(), reported("an orphan"));
}

#[test]
fn one_made_outside_is_reported_to_the_loop_that_runs() {
    let (mut lp, reports) = reporting_loop();
    let (promise, deferred) = promise::<u32, Broken>();
    promise.set_error(Broken("from outside")).unwrap();
    lp.run_until_complete(async move { drop(deferred) })
        .unwrap();
    assert_eq!(reports.take(), reported("from outside"));
}

#[test]
fn a_task_that_is_cancelled_while_it_awaits_cancels_the_promise() {
    let mut lp = EventLoop::new().unwrap();
    let (mut promise, deferred) = promise::<u32, Infallible>();
    let waiting = lp.create_task(deferred);
    lp.run_until_complete(async move {
        yield_now().await;
        assert!(!promise.is_cancelled());
        waiting.cancel();
        promise.cancelled().await;
        assert!(promise.is_cancelled());
        assert!(waiting.await.unwrap_err().is_cancelled());
        promise.cancelled().await;
    })
    .unwrap();
}

/// asyncio's test_cancel_inner_future: a third party cancels what a task awaits.
#[test]
fn whoever_awaits_learns_that_a_third_party_cancelled_it() {
    let mut lp = EventLoop::new().unwrap();
    let outcome = lp
        .run_until_complete(async {
            let (_promise, deferred) = promise::<u32, Infallible>();
            let deferred = deferred.shared();
            let waiting = spawn(deferred.clone());
            yield_now().await;
            assert!(deferred.cancel());
            waiting.await.unwrap()
        })
        .unwrap();
    assert_eq!(outcome, Err(DeferredError::Cancelled));
}

/// asyncio's test_cancel_both_task_and_inner_future.
#[test]
fn task_and_promise_cancelled_together_are_one_cancellation() {
    let (mut lp, reports) = reporting_loop();
    let ended = lp
        .run_until_complete(async {
            let (promise, deferred) = promise::<u32, Broken>();
            let deferred = deferred.shared();
            let waiting = spawn(deferred.clone());
            yield_now().await;
            assert!(waiting.cancel());
            assert!(deferred.cancel());
            assert!(promise.set_result(1).is_err());
            waiting.await
        })
        .unwrap();
    assert!(ended.unwrap_err().is_cancelled());
    assert_eq!(reports.take(), []);
}

/// asyncio's test_copy_state: results, errors and cancellation go from one to the other, and back.
#[test]
fn a_promise_passed_through_a_task_chains_to_another() {
    fn chain(from: Deferred<u32, Broken>, mut to: Promise<u32, Broken>) {
        spawn(async move {
            let outcome = match select(from, to.cancelled()).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => return,
            };
            match outcome {
                Ok(value) => drop(to.set_result(value)),
                Err(DeferredError::Failed(error)) => drop(to.set_error(error)),
                Err(_) => {}
            }
        })
        .detach();
    }
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let (source, from) = promise::<u32, Broken>();
        let (to, result) = promise::<u32, Broken>();
        chain(from, to);
        source.set_result(3).unwrap();
        assert_eq!(result.await, Ok(3));

        let (source, from) = promise::<u32, Broken>();
        let (to, result) = promise::<u32, Broken>();
        chain(from, to);
        source.set_error(Broken("chained")).unwrap();
        assert_eq!(result.await, Err(DeferredError::Failed(Broken("chained"))));

        let (mut source, from) = promise::<u32, Broken>();
        let (to, result) = promise::<u32, Broken>();
        chain(from, to);
        yield_now().await;
        drop(result);
        source.cancelled().await;

        let (source, from) = promise::<u32, Broken>();
        let (to, result) = promise::<u32, Broken>();
        result.cancel();
        source.set_result(1).unwrap();
        chain(from, to);
        assert_eq!(result.await, Err(DeferredError::Cancelled), "left as it is");
    })
    .unwrap();
}

#[test]
fn several_await_one_and_are_woken_in_the_order_in_which_they_began_to() {
    let mut lp = EventLoop::new().unwrap();
    let order = Trace::new();
    lp.run_until_complete(async {
        let (promise, deferred) = promise::<_, Infallible>();
        let deferred = deferred.shared();
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let (deferred, order) = (deferred.clone(), order.clone());
                spawn(async move {
                    let value = deferred.await.unwrap();
                    order.note(number);
                    value
                })
            })
            .collect();
        yield_now().await;
        tasks[3].cancel();
        yield_now().await;
        promise.set_result(String::from("for all")).unwrap();
        for (number, task) in tasks.into_iter().enumerate() {
            match task.await {
                Ok(value) => assert_eq!(value, "for all"),
                Err(error) => assert!(error.is_cancelled() && number == 3),
            }
        }
        assert_eq!(deferred.await.as_deref(), Ok("for all"), "again and again");
    })
    .unwrap();
    let expected: Vec<_> = (0..20).filter(|number| *number != 3).collect();
    assert_eq!(order.take(), expected);
}

#[test]
fn dropping_one_of_several_cancels_nothing_dropping_the_last_does() {
    let (promise, deferred) = promise::<u32, Infallible>();
    let first = deferred.shared();
    let second = first.clone();
    drop(first);
    assert!(!promise.is_cancelled());
    drop(second);
    assert!(promise.is_cancelled());
}

#[test]
fn a_shared_one_may_be_polled_by_one_task_after_another() {
    let (promise, deferred) = promise::<u32, Infallible>();
    let mut deferred = deferred.shared();
    let woken = Rc::new(RefCell::new(Vec::new()));
    let _ = poll(&mut deferred);
    let mut lp = EventLoop::new().unwrap();
    let noted = Rc::clone(&woken);
    let waiting = lp.create_task(async move {
        let value = deferred.await;
        noted.borrow_mut().push(value);
    });
    lp.run_until_complete(yield_now()).unwrap();
    promise.set_result(1).unwrap();
    lp.run_until_complete(waiting).unwrap().unwrap();
    assert_eq!(woken.take(), [Ok(1)]);
}

#[test]
fn the_value_moves_to_the_one_who_awaits_and_need_not_be_clone() {
    struct Once(Rc<Cell<u32>>);
    impl Drop for Once {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let drops = Rc::new(Cell::new(0));
    let (promise, mut deferred) = promise::<_, Infallible>();
    assert!(promise.set_result(Once(Rc::clone(&drops))).is_ok());
    let Poll::Ready(Ok(value)) = poll(&mut deferred) else {
        panic!("kept");
    };
    drop(deferred);
    assert_eq!(drops.get(), 0);
    drop(value);
    assert_eq!(drops.get(), 1);
    let (promise, deferred) = rondel_loop::promise::<_, Infallible>();
    assert!(promise.set_result(Once(Rc::clone(&drops))).is_ok());
    drop(deferred);
    assert_eq!(drops.get(), 2, "unwanted, it is dropped with the handle");
}

#[test]
fn values_may_borrow() {
    let word = String::from("borrowed");
    let (promise, mut deferred) = promise::<&str, Infallible>();
    promise.set_result(&word).unwrap();
    assert_eq!(deferred.try_result(), Some(Ok("borrowed")));
}

#[test]
fn a_task_that_waits_for_a_promise_says_so() {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let (_one, deferred) = promise::<u32, Infallible>();
        let (_two, shared) = promise::<u32, Infallible>();
        let tasks = [
            spawn(async { deferred.await.is_ok() }),
            spawn(async { shared.shared().await.is_ok() }),
        ];
        yield_now().await;
        let waits: Vec<_> = all_tasks()
            .iter()
            .filter(|task| task.waits() == Waits::PROMISE)
            .map(|task| task.waits().to_string())
            .collect();
        assert_eq!(waits, ["a promise", "a promise"]);
        for task in tasks {
            task.cancel();
        }
    })
    .unwrap();
}

#[test]
fn a_loop_that_closes_drops_promises_and_ends_those_who_wait_elsewhere() {
    let mut lp = EventLoop::new().unwrap();
    let (promise, mut deferred) = promise::<u32, Infallible>();
    lp.create_task(async move {
        std::future::pending::<()>().await;
        drop(promise);
    })
    .detach();
    lp.run_until_complete(yield_now()).unwrap();
    lp.close();
    assert_eq!(deferred.try_result(), Some(Err(DeferredError::Dropped)));
}

#[test]
fn both_ends_say_where_they_were_made() {
    let (promise, deferred) = promise::<u32, Infallible>();
    let line = line!() - 1;
    assert_eq!(promise.made_at().line(), line);
    assert_eq!(deferred.made_at().line(), line);
    assert!(format!("{promise:?}").contains("promise.rs"));
    assert!(format!("{deferred:?}").contains("settled: None"));
    let shared = deferred.shared();
    assert_eq!(shared.made_at().line(), line);
    assert!(format!("{shared:?}").starts_with("SharedDeferred"));
}
