//! Panics: who gets them, that they are told once, and that nobody else is hurt.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;

use harness::{Gate, Log, Losses, executor, here, hold, on_drop, running, yield_now, yield_times};
use rondel_executor::{Executor, JoinError, LostKind, Outcome, Task};

/// Work that must come to its end whatever else happens.
fn bystanders(executor: &Executor, log: &Log) -> impl FnOnce() + use<> {
    let (task, callback) = (log.clone(), log.clone());
    executor
        .spawn(async move {
            yield_times(3).await;
            task.add("task");
        })
        .detach();
    executor.call_soon(move || callback.add("callback"));
    let log = log.clone();
    move || assert_eq!(log.take(), ["callback", "task"])
}

#[track_caller]
fn message<T: fmt::Debug>(task: Task<T>) -> String {
    match task.into_result().expect("the task is done") {
        Err(JoinError::Panicked(payload)) => payload.message().unwrap().to_owned(),
        other => panic!("did not panic: {other:?}"),
    }
}

#[test]
fn a_panic_reaches_whoever_awaits() {
    let (executor, losses) = executor();
    let log = Log::new();
    let task = executor.spawn(async {
        yield_now().await;
        panic!("in {}", "words");
    });
    let unhurt = bystanders(&executor, &log);
    let parent = executor.spawn(async move {
        let error: JoinError = task.await.map(|(): ()| ()).unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(error.to_string(), "the task panicked: in words");
        assert_eq!(
            format!("{error:?}"),
            "Panicked(PanicPayload(Some(\"in words\")))"
        );
    });
    executor.run_until_idle();
    parent.into_result().unwrap().unwrap();
    unhurt();
    assert!(losses.is_empty());
    assert_eq!(executor.alive(), 0);
}

#[test]
fn the_payload_comes_unharmed() {
    let executor = Executor::new();
    let task: Task<()> = executor.spawn(async { panic_any(42_u64) });
    executor.run_until_idle();
    assert_eq!(task.info().unwrap().outcome(), Outcome::Panicked);
    let Err(JoinError::Panicked(payload)) = task.into_result().unwrap() else {
        panic!("it panicked");
    };
    assert_eq!(payload.message(), None);
    assert_eq!(payload.to_string(), "(no message)");
    let caught = catch_unwind(AssertUnwindSafe(|| payload.resume())).unwrap_err();
    assert_eq!(*caught.downcast::<u64>().unwrap(), 42);
}

#[test]
fn a_panic_in_a_detached_task_is_reported_once_with_its_task() {
    let (executor, losses) = executor();
    let log = Log::new();
    let unhurt = bystanders(&executor, &log);
    let line = line!() + 1;
    let task: Task<()> = executor.spawn(async { panic!("detached") });
    task.named("careless").detach();
    executor.run_until_idle();
    unhurt();
    let lost = losses.one();
    assert!(matches!(lost.kind, LostKind::TaskPanicked(_)));
    let task = lost.task.as_ref().unwrap();
    assert_eq!(
        (task.name().as_str(), task.spawned_at().line()),
        ("careless", line)
    );
    assert_eq!(
        lost.to_string(),
        format!(
            "a task panicked, and nobody awaits it: detached (\"careless\" spawned at {})",
            task.spawned_at()
        )
    );
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_panic_is_reported_when_its_handle_goes_unread() {
    let (executor, losses) = executor();
    let task: Task<()> = executor.spawn(async { panic!("unread") });
    executor.run_until_idle();
    assert!(losses.is_empty());
    drop(task);
    assert_eq!(losses.words(), ["task: unread"]);
}

#[test]
fn a_panic_that_was_asked_for_is_not_reported() {
    let (executor, losses) = executor();
    let mut looked: Task<()> = executor.spawn(async { panic!("looked at") });
    let taken: Task<()> = executor.spawn(async { panic!("taken") });
    let awaited: Task<()> = executor.spawn(async { panic!("awaited") });
    executor.spawn(async move { drop(awaited.await) }).detach();
    executor.run_until_idle();
    assert!(looked.result().unwrap().is_err());
    drop(looked);
    assert_eq!(message(taken), "taken");
    assert!(losses.is_empty());
}

#[test]
fn a_cancelled_task_is_no_failure() {
    let (executor, losses) = executor();
    let task = executor.spawn(pending::<()>());
    executor.run_until_idle();
    task.cancel();
    task.detach();
    executor.run_until_idle();
    assert!(losses.is_empty());
}

#[test]
fn panicking_and_cancelled_in_one_poll_is_a_panic() {
    let (executor, losses) = executor();
    let own: Rc<RefCell<Option<Task<()>>>> = Rc::default();
    let inside = Rc::clone(&own);
    *own.borrow_mut() = Some(executor.spawn(async move {
        inside.borrow().as_ref().unwrap().cancel();
        panic!("after cancel");
    }));
    executor.run_until_idle();
    assert_eq!(message(own.take().unwrap()), "after cancel");
    assert!(losses.is_empty());
}

#[test]
fn a_panic_drops_the_future_inside_its_task() {
    let (executor, losses) = executor();
    let log = Log::new();
    let logged = log.clone();
    // Held by the future itself and not by its frame, so that unwinding does not reach it.
    let held = on_drop(move || logged.add(running().unwrap_or_default()));
    let mut held = Some(held);
    let task: Task<()> = executor
        .spawn(std::future::poll_fn(move |_| {
            held.get_or_insert_with(|| unreachable!());
            panic!("in poll")
        }))
        .named("panicking");
    executor.run_until_idle();
    assert_eq!(log.take(), ["panicking"]);
    assert_eq!(message(task), "in poll");
    assert!(losses.is_empty());
}

#[test]
fn a_panicking_destructor_of_a_future_is_reported_and_the_outcome_stands() {
    let (executor, losses) = executor();
    let log = Log::new();
    let bomb = |what: &'static str| on_drop(move || panic!("{what}"));

    let unhurt = bystanders(&executor, &log);
    let cancelled = executor
        .spawn(hold(bomb("of a cancelled future")))
        .named("cancelled");
    executor.run_until_idle();
    unhurt();
    cancelled.cancel();
    let unhurt = bystanders(&executor, &log);
    executor.run_until_idle();
    unhurt();
    let lost = losses.one();
    assert!(
        matches!(&lost.kind, LostKind::DropPanicked(payload) if payload.message() == Some("of a cancelled future"))
    );
    assert_eq!(lost.task.unwrap().name(), "cancelled");
    assert!(cancelled.into_result().unwrap().unwrap_err().is_cancelled());

    let not_begun = executor.spawn(hold(bomb("of one not begun")));
    not_begun.cancel();
    executor.run_until_idle();
    assert_eq!(losses.words(), ["drop: of one not begun"]);
    drop(not_begun);

    let mut held = Some(bomb("of one that returned"));
    let returned = executor.spawn(std::future::poll_fn(move |_| {
        held.get_or_insert_with(|| unreachable!());
        std::task::Poll::Ready(8)
    }));
    executor.run_until_idle();
    assert_eq!(losses.words(), ["drop: of one that returned"]);
    assert_eq!(returned.into_result().unwrap().unwrap(), 8);

    let mut held = Some(bomb("of one that panicked"));
    let panicked: Task<()> = executor.spawn(std::future::poll_fn(move |_| {
        held.get_or_insert_with(|| unreachable!());
        panic!("in poll")
    }));
    executor.run_until_idle();
    assert_eq!(losses.words(), ["drop: of one that panicked"]);
    assert_eq!(message(panicked), "in poll");

    let _handle = executor.spawn(hold(bomb("of one closed")));
    let unhurt = log.on_drop("the other was dropped as well");
    executor.spawn(hold(unhurt)).detach();
    executor.close();
    assert_eq!(losses.words(), ["drop: of one closed"]);
    assert_eq!(log.take(), ["the other was dropped as well"]);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_panicking_destructor_of_an_output_is_reported_if_nobody_took_it() {
    let (executor, losses) = executor();
    let log = Log::new();
    let bomb = || on_drop(|| panic!("of an output"));
    let unhurt = bystanders(&executor, &log);
    executor
        .spawn(async move { bomb() })
        .named("detached")
        .detach();
    executor.run_until_idle();
    unhurt();
    let lost = losses.one();
    assert!(matches!(lost.kind, LostKind::DropPanicked(_)));
    assert_eq!(lost.task.unwrap().name(), "detached");

    // With its handle it is dropped by whoever drops that, as any value is.
    let handle = executor.spawn(async move { bomb() });
    executor.run_until_idle();
    let unhurt = bystanders(&executor, &log);
    let dropper = executor.spawn(async move { drop(handle) });
    executor.run_until_idle();
    unhurt();
    assert_eq!(message(dropper), "of an output");
    assert!(losses.is_empty());
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_panicking_callback_is_reported_with_its_place() {
    let (executor, losses) = executor();
    let log = Log::new();
    let held = log.on_drop("what it held");
    let line = line!() + 1;
    executor.call_soon(move || {
        let _held = held;
        panic!("in a callback");
    });
    let unhurt = log.clone();
    executor.call_soon(move || unhurt.add("the next"));
    let unhurt_task = log.clone();
    executor
        .spawn(async move { unhurt_task.add("a task") })
        .detach();
    executor.run_until_idle();
    assert_eq!(log.take(), ["what it held", "the next", "a task"]);
    let lost = losses.one();
    assert!(matches!(&lost.kind, LostKind::CallbackPanicked(_)) && lost.task.is_none());
    assert_eq!(lost.callback.unwrap().line(), line);
    assert_eq!(
        lost.to_string(),
        format!(
            "a callback panicked: in a callback (scheduled at {})",
            lost.callback.unwrap()
        )
    );
}

#[test]
fn a_callback_that_panics_as_it_is_dropped_is_reported() {
    let (executor, losses) = executor();
    let log = Log::new();
    let bomb = on_drop(|| panic!("closed"));
    executor.call_soon(move || drop(bomb));
    let held = log.on_drop("the next");
    executor.call_soon(move || drop(held));
    executor.close();
    assert_eq!(losses.words(), ["callback: closed"]);
    assert_eq!(log.take(), ["the next"]);
}

#[test]
fn a_panicking_done_callback_spares_the_next_and_the_awaiter() {
    let (executor, losses) = executor();
    let log = Log::new();
    let line = line!() + 1;
    let task = executor.spawn(async { 4 });
    task.on_done(|_| panic!("in a done-callback"));
    let next = log.clone();
    task.on_done(move |_| next.add("next"));
    let parent = executor.spawn(task);
    executor.run_until_idle();
    assert_eq!(log.take(), ["next"]);
    assert_eq!(parent.into_result().unwrap().unwrap().unwrap(), 4);
    let lost = losses.one();
    assert!(matches!(&lost.kind, LostKind::CallbackPanicked(_)));
    assert_eq!(lost.callback.unwrap().line(), line);
}

#[test]
fn a_done_callback_registered_late_is_reported_with_the_same_place() {
    let (executor, losses) = executor();
    let line = line!() + 1;
    let task = executor.spawn(async {});
    executor.run_until_idle();
    task.on_done(|_| panic!("late"));
    executor.run_until_idle();
    let site = losses.one().callback.unwrap();
    assert_eq!((site.file(), site.line()), (file!(), line));
}

#[test]
fn a_panicking_sink_does_not_stop_the_executor() {
    let log = Log::new();
    let told = log.clone();
    let executor = Executor::builder()
        .lost(move |lost| {
            told.add(&lost);
            panic!("in the sink");
        })
        .build();
    executor.spawn(async { panic!("one") }).named("a").detach();
    executor.call_soon(|| panic!("two"));
    executor.spawn(hold(on_drop(|| panic!("three")))).detach();
    let end = log.clone();
    executor
        .spawn(async move {
            yield_now().await;
            end.add("end");
        })
        .detach();
    executor.run_until_idle();
    assert_eq!(executor.cancel_all(), 1);
    executor.run_until_idle();
    let told = log.take();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("a task panicked, and nobody awaits it: one"));
    assert!(told[1].starts_with("a callback panicked: two"));
    assert_eq!(told[2], "end");
    assert!(told[3].starts_with("dropping what a task held panicked: three"));
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_payload_that_panics_when_dropped_takes_nobody_along() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a payload's destructor");
        }
    }
    // Drops what it is told.
    let count = Rc::new(std::cell::Cell::new(0));
    let counted = Rc::clone(&count);
    let executor = Executor::builder()
        .lost(move |lost| {
            counted.set(counted.get() + 1);
            drop(lost);
        })
        .build();
    let log = Log::new();
    executor.spawn(async { panic_any(Bomb) }).detach();
    executor.call_soon(|| panic_any(Bomb));
    let unhurt = bystanders(&executor, &log);
    executor.run_until_idle();
    unhurt();
    assert_eq!(count.get(), 2);
    assert_eq!(executor.alive(), 0);
}

#[derive(Debug)]
struct Outer(Inner);

#[derive(Debug)]
struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("could not begin")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing there")
    }
}

impl Error for Inner {}

#[test]
fn detached_and_reported_an_error_comes_with_its_sources() {
    let (executor, losses) = executor();
    let gate = Gate::new();
    let waiting = gate.clone();
    let line = line!() + 1;
    let task = executor.spawn(async move {
        waiting.wait().await;
        Err::<(), _>(Outer(Inner))
    });
    task.named("failing").detach_reported();
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    let lost = losses.one();
    assert!(
        matches!(&lost.kind, LostKind::TaskFailed(error) if error.downcast_ref::<Outer>().is_some())
    );
    let words = lost.to_string();
    assert!(words.starts_with(
        "a detached task failed: could not begin: nothing there (\"failing\" spawned at "
    ));
    let info = lost.task.unwrap();
    assert_eq!(
        (info.name().as_str(), info.spawned_at().line()),
        ("failing", line)
    );
    assert_eq!(executor.alive(), 0);
}

#[test]
fn detached_and_reported_says_only_what_went_wrong() {
    let (executor, losses) = executor();
    let fine = executor.spawn(ready(Ok::<_, Outer>(1)));
    let finished = executor.spawn(async { Err::<(), _>("finished before") });
    let panicking = executor.spawn(async {
        yield_now().await;
        if running().is_some() {
            panic!("panicked");
        }
        Ok::<_, Outer>(())
    });
    let cancelled = executor.spawn(pending::<Result<(), Outer>>());
    fine.detach_reported();
    panicking.detach_reported();
    let first = executor.spawner();
    executor.run_until_idle();
    finished.detach_reported();
    cancelled.cancel();
    cancelled.detach_reported();
    executor.run_until_idle();
    assert_eq!(
        losses.words(),
        ["task: panicked", "failed: finished before"]
    );
    assert_eq!(first.tasks().len(), 0);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn without_a_sink_failures_go_to_standard_error_and_work_goes_on() {
    let executor = Executor::new();
    let log = Log::new();
    executor
        .spawn(async { panic!("to standard error") })
        .detach();
    executor.call_soon(|| panic!("to standard error"));
    let unhurt = bystanders(&executor, &log);
    executor.run_until_idle();
    unhurt();
}

#[test]
fn a_spawner_reports_what_others_lost() {
    let losses = Losses::default();
    let executor = losses.builder().build();
    executor.spawn(async { panic!("lost elsewhere") }).detach();
    executor.run_until_idle();
    let lost = losses.one();
    executor.call_soon(move || here().report(lost));
    executor.run_until_idle();
    assert_eq!(losses.words(), ["task: lost elsewhere"]);
}

#[test]
fn a_panic_of_the_owners_check_ends_no_batch_early() {
    let (executor, losses) = executor();
    let log = Log::new();
    executor.call_soon(|| panic!("in a callback"));
    executor.run_until_idle();
    assert!(losses.one().callback.is_some());
    let unhurt = bystanders(&executor, &log);
    let mut first = true;
    let turn = executor.enter().unwrap();
    let end = turn.run_batch(|| {
        if std::mem::replace(&mut first, false) {
            panic!("in the check");
        }
        true
    });
    assert_eq!(end, rondel_executor::BatchEnd::Dry);
    unhurt();
    let lost = losses.one();
    assert!(lost.to_string().contains("in the check"));
    assert!(lost.callback.is_none(), "no callback did it: {lost}");
}
