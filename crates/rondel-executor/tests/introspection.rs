//! What can be seen of tasks: numbers, names, places, what they wait for.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::RefCell;
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::thread;

use futures_util::future::{join, select};
use harness::{Gate, executor, here, hold, on_drop, running, yield_now};
use rondel_executor::{Executor, Outcome, Remote, RemoteTask, Scope, Spawner, Waits, leave};

#[test]
fn numbers_are_unique_and_increase() {
    let executor = Executor::new();
    let first = executor.spawn(async { here().spawn(ready(())).id() });
    assert_eq!(first.id().get(), 1);
    let mut ids: Vec<_> = (0..100).map(|_| executor.spawn(yield_now()).id()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    executor.run_until_idle();
    ids.push(first.into_result().unwrap().unwrap());
    ids.push(executor.spawn(ready(())).id());
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    // Each executor counts for itself.
    assert_eq!(Executor::new().spawn(ready(())).id().to_string(), "1");
}

#[test]
fn names_are_given_or_made_of_numbers() {
    let executor = Executor::new();
    let plain = executor.spawn(pending::<()>());
    let named = executor.spawn(pending::<()>()).named("one");
    assert_eq!(plain.name(), format!("Task-{}", plain.id()));
    assert_eq!(named.name(), "one");
    named.set_name("another");
    assert_eq!(named.name(), "another");
    let same = executor.spawn(async { running() }).named("another");
    executor.run_until_idle();
    assert_eq!(same.into_result().unwrap().unwrap().unwrap(), "another");
    named.set_name(String::from("yet another"));
    assert_eq!(executor.tasks()[1].name(), "yet another");
    assert!(format!("{named:?}").contains("yet another"));
}

#[test]
fn places_are_those_of_the_callers() {
    let executor = Executor::new();
    let line = line!() + 1;
    let task = executor.spawn(pending::<()>());
    let site = task.spawned_at().unwrap();
    assert_eq!((site.file(), site.line()), (file!(), line));
    let words = format!("Task-1 spawned at {site}");
    assert_eq!(task.info().unwrap().to_string(), words);
}

fn spawn_there(remote: &Remote) -> (u32, RemoteTask<()>) {
    let line = line!() + 1;
    (line, remote.spawn(pending()).unwrap())
}

#[test]
fn what_other_threads_spawn_has_its_place_there() {
    let executor = Executor::new();
    let remote = executor.remote();
    let (line, _task) = thread::spawn(move || spawn_there(&remote)).join().unwrap();
    executor.run_until_idle();
    let tasks = executor.tasks();
    assert!(!tasks.is_empty());
    for task in tasks {
        let site = task.spawned_at();
        assert_eq!((site.file(), site.line()), (file!(), line));
    }
}

#[test]
fn every_task_alive_is_listed_whatever_it_does() {
    let (executor, losses) = executor();
    let seen: Rc<RefCell<Vec<Vec<String>>>> = Rc::default();
    let names = || {
        let mut names: Vec<_> = here().tasks().iter().map(|task| task.name()).collect();
        names.sort();
        names
    };
    let looking = Rc::clone(&seen);
    let _running = executor
        .spawn(async move {
            looking.borrow_mut().push(names());
            yield_now().await;
            looking.borrow_mut().push(names());
        })
        .named("looking");
    let _waiting = executor.spawn(pending::<()>()).named("waiting");
    let looking = Rc::clone(&seen);
    executor.call_soon(move || looking.borrow_mut().push(names()));
    let finished = executor.spawn(ready(())).named("finished");
    executor.run_until_idle();
    assert!(finished.is_finished());
    assert_eq!(
        *seen.borrow(),
        [
            // From its first poll, from a callback, from its second poll.
            vec!["finished", "looking", "waiting"],
            vec!["finished", "looking", "waiting"],
            vec!["looking", "waiting"],
        ]
    );
    assert_eq!(executor.tasks().len(), executor.alive());
    assert!(losses.is_empty());
}

#[test]
fn a_task_is_not_listed_while_its_output_is_dropped() {
    let executor = Executor::new();
    let seen = Rc::new(RefCell::new(None));
    let looking = Rc::clone(&seen);
    executor
        .spawn(async move { on_drop(move || *looking.borrow_mut() = Some(here().tasks().len())) })
        .detach();
    executor.run_until_idle();
    assert_eq!(*seen.borrow(), Some(0));
}

#[test]
fn labels_say_what_a_task_waits_for() {
    let executor = Executor::new();
    let gate = Gate::new();
    let mut wait = gate.wait();
    let task = executor.spawn(poll_fn(move |cx| {
        let polled = std::pin::Pin::new(&mut wait).poll(cx);
        if polled.is_pending() {
            Waits::label(Waits::SIGNAL, 15);
        }
        polled
    }));
    let info = task.info().unwrap();
    assert_eq!((info.waits(), info.slot()), (Waits::NOTHING, None));
    executor.run_until_idle();
    let info = task.info().unwrap();
    assert_eq!((info.waits(), info.waits_on()), (Waits::SIGNAL, 15));
    assert_eq!(info.slot(), Some(0));
    assert_eq!(info.outcome(), Outcome::Pending);
    gate.open();
    executor.run_until_idle();
    let info = task.info().unwrap();
    assert_eq!((info.waits(), info.waits_on()), (Waits::NOTHING, 0));
    assert_eq!((info.slot(), info.outcome()), (None, Outcome::Finished));
    // Outside any task it says nothing to nobody.
    Waits::label(Waits::TIME, 0);
}

#[test]
fn a_label_goes_with_the_next_poll() {
    let executor = Executor::new();
    let gate = Gate::new();
    let (mut wait, mut labelled) = (gate.wait(), false);
    let task = executor.spawn(poll_fn(move |cx| {
        if !std::mem::replace(&mut labelled, true) {
            Waits::label(Waits::TIME, 1);
            cx.waker().wake_by_ref();
        }
        std::pin::Pin::new(&mut wait).poll(cx)
    }));
    executor.run_until_idle();
    assert_eq!(task.info().unwrap().waits(), Waits::NOTHING);
}

#[test]
fn awaiting_a_task_shows_which() {
    let executor = Executor::new();
    let _others: Vec<_> = (0..3).map(|_| executor.spawn(pending::<()>())).collect();
    // Awaited before it has been polled for the first time, as usual.
    let parent = executor.spawn(async {
        let child = here().spawn(pending::<()>());
        child.await
    });
    executor.run_until_idle();
    let info = parent.info().unwrap();
    assert_eq!(info.waits(), Waits::TASK);
    let awaited: Vec<_> = executor
        .tasks()
        .into_iter()
        .filter(|task| task.id().get() == u64::from(info.waits_on()))
        .collect();
    assert_eq!(awaited.len(), 1);
    assert!(awaited[0].id() > info.id());
}

#[test]
fn slots_are_used_again() {
    let executor = Executor::new();
    let gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
    let tasks: Vec<_> = gates
        .iter()
        .map(|gate| executor.spawn(gate.wait()))
        .collect();
    executor.run_until_idle();
    let slots: Vec<_> = tasks
        .iter()
        .map(|task| task.info().unwrap().slot().unwrap())
        .collect();
    assert_eq!(slots, [0, 1, 2]);
    gates[1].open();
    gates[0].open();
    executor.run_until_idle();
    let again: Vec<_> = (0..3).map(|_| executor.spawn(pending::<()>())).collect();
    executor.run_until_idle();
    let mut slots: Vec<_> = again
        .iter()
        .map(|task| task.info().unwrap().slot().unwrap())
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 3]);
}

#[test]
fn waiting_for_cleanup_shows() {
    let executor = Executor::new();
    let task = executor.spawn(async {
        let scope = Scope::new();
        scope.enter(|| leave(Box::pin(pending())));
        scope.wait().await;
    });
    let cancelled = executor.spawn(hold(on_drop(|| leave(Box::pin(pending())))));
    executor.run_until_idle();
    cancelled.cancel();
    executor.run_until_idle();
    assert_eq!(cancelled.info().unwrap().waits(), Waits::CLEANUP);
    assert_eq!(task.info().unwrap().waits(), Waits::CLEANUP);
}

#[test]
fn the_current_task_is_right_across_interleaving() {
    let executor = Executor::new();
    let tasks: Vec<_> = (0..3)
        .map(|index| {
            executor
                .spawn(async move {
                    for _ in 0..3 {
                        assert_eq!(running().unwrap(), format!("task {index}"));
                        yield_now().await;
                    }
                    let child = here().spawn(async { running().unwrap() }).named("child");
                    assert_eq!(running().unwrap(), format!("task {index}"));
                    assert_eq!(child.await.unwrap(), "child");
                    Spawner::current_task().unwrap().id()
                })
                .named(format!("task {index}"))
        })
        .collect();
    executor.run_until_idle();
    for task in tasks {
        let id = task.id();
        assert_eq!(task.into_result().unwrap().unwrap(), id);
    }
}

#[test]
fn other_peoples_combinators_keep_the_task() {
    let executor = Executor::new();
    let task = executor
        .spawn(async {
            let child = here().spawn(async {
                yield_now().await;
                1
            });
            let (one, name) = join(child, async {
                yield_now().await;
                running().unwrap()
            })
            .await;
            let _first = select(pending::<()>(), ready(())).await;
            (one.unwrap(), name)
        })
        .named("joining");
    executor.run_until_idle();
    assert_eq!(
        task.into_result().unwrap().unwrap(),
        (1, "joining".to_owned())
    );
}

#[test]
fn debug_output_names_the_essentials() {
    let executor = Executor::new();
    let mut task = executor.spawn(async { 1 });
    assert!(format!("{task:?}").contains("Pending"));
    assert_eq!(
        format!("{executor:?}"),
        "Executor { ready: 1, tasks: 1, closed: false }"
    );
    assert_eq!(
        format!("{:?}", executor.spawner()),
        "Spawner { ready: 1, tasks: 1 }"
    );
    executor.run_until_idle();
    assert!(format!("{task:?}").contains("Finished"));
    let turn = executor.enter().unwrap();
    assert!(format!("{turn:?}").starts_with("Entered"));
    drop(turn);
    assert!(task.result().is_some());
    assert_eq!(format!("{task:?}"), "Task(taken)");
    executor.close();
    assert_eq!(
        format!("{executor:?}"),
        "Executor { ready: 0, tasks: 0, closed: true }"
    );
    assert!(format!("{:?}", executor.remote()).contains("closed: true"));
    assert!(format!("{:?}", Executor::builder()).starts_with("Builder"));
    let handle = executor.call_soon(|| ());
    assert!(format!("{handle:?}").starts_with("Handle { state: Cancelled, scheduled_at: "));
    for (waits, words) in [
        (Waits::NOTHING, "nothing known"),
        (Waits::TASK, "a task"),
        (Waits::OTHER, "something"),
    ] {
        assert_eq!(waits.to_string(), words);
    }
}
