//! Done-callbacks: through the ready queue, in order, once.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::rc::Rc;

use harness::{Gate, Log, executor, here, yield_now};
use rondel_executor::{DoneToken, Executor, Outcome, Task};

#[test]
fn they_run_in_the_order_of_registration_at_their_turn() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let waiting = gate.clone();
    let task = executor.spawn(async move { waiting.wait().await });
    for index in 0..3 {
        let log = log.clone();
        assert!(task.on_done(move |_| log.add(index)).is_some());
    }
    executor.run_until_idle();
    assert!(log.take().is_empty());
    gate.open();
    let ready_before = log.clone();
    executor.call_soon(move || ready_before.add("ready before"));
    executor.run_until_idle();
    assert_eq!(log.take(), ["ready before", "0", "1", "2"]);
}

#[test]
fn registered_after_the_end_they_run_all_the_same_but_not_at_once() {
    let (executor, log) = (Executor::new(), Log::new());
    let task = executor.spawn(ready(()));
    executor.run_until_idle();
    let late = log.clone();
    assert!(task.on_done(move |_| late.add("late")).is_none());
    assert!(log.take().is_empty());
    let after = log.clone();
    executor.call_soon(move || after.add("after"));
    executor.run_until_idle();
    assert_eq!(log.take(), ["late", "after"]);
    // The result is still there.
    task.into_result().unwrap().unwrap();
}

#[test]
fn they_learn_how_it_ended() {
    let (executor, log) = (Executor::new(), Log::new());
    let watch = |task: &Task<()>| {
        let log = log.clone();
        task.on_done(move |info| log.add(format!("{}: {:?}", info.name(), info.outcome())));
    };
    let finished = executor.spawn(ready(())).named("a");
    let cancelled = executor.spawn(pending()).named("b");
    let not_begun = executor.spawn(pending()).named("c");
    let panicked = executor.spawn(async { panic!("on purpose") }).named("d");
    for task in [&finished, &cancelled, &not_begun, &panicked] {
        watch(task);
    }
    not_begun.cancel();
    executor.run_until_idle();
    cancelled.cancel();
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        ["a: Finished", "c: Cancelled", "d: Panicked", "b: Cancelled"]
    );
    assert!(panicked.into_result().unwrap().is_err());
    assert_eq!(finished.info().unwrap().outcome(), Outcome::Finished);
}

#[test]
fn removed_ones_are_dropped_at_once_and_not_called() {
    let (executor, log) = (Executor::new(), Log::new());
    let task = executor.spawn(yield_now());
    let tokens: Vec<_> = (0..3)
        .map(|index| {
            let (held, log) = (log.on_drop(format!("dropped {index}")), log.clone());
            task.on_done(move |_| {
                let _held = held;
                log.add(format!("called {index}"));
            })
            .unwrap()
        })
        .collect();
    assert!(task.remove_on_done(tokens[1]));
    assert_eq!(log.take(), ["dropped 1"]);
    assert!(!task.remove_on_done(tokens[1]));
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        ["called 0", "dropped 0", "called 2", "dropped 2"]
    );
    assert!(!task.remove_on_done(tokens[0]));
    let other = executor.spawn(ready(()));
    assert!(!other.remove_on_done(tokens[0]));
}

#[test]
fn they_outlive_the_handle() {
    let (executor, log) = (Executor::new(), Log::new());
    let task = executor.spawn(yield_now());
    let logged = log.clone();
    task.on_done(move |info| logged.add(info.name()));
    task.named("detached").detach();
    executor.run_until_idle();
    assert_eq!(log.take(), ["detached"]);
}

#[test]
fn they_may_change_the_list_they_are_on() {
    let (executor, log) = (Executor::new(), Log::new());
    let task = Rc::new(executor.spawn(yield_now()));
    let tokens: Rc<RefCell<Vec<DoneToken>>> = Rc::default();
    for index in 0..3 {
        let (weak, tokens_inside, log) = (Rc::downgrade(&task), Rc::clone(&tokens), log.clone());
        let token = task.on_done(move |_| {
            log.add(format!("called {index}"));
            let task = weak.upgrade().unwrap();
            // Too late: all of them are on their way, as in asyncio's `call_soon`.
            for token in tokens_inside.borrow().iter() {
                assert!(!task.remove_on_done(*token));
            }
            let late = log.clone();
            assert!(
                task.on_done(move |_| late.add(format!("added by {index}")))
                    .is_none()
            );
        });
        tokens.borrow_mut().push(token.unwrap());
    }
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        [
            "called 0",
            "called 1",
            "called 2",
            "added by 0",
            "added by 1",
            "added by 2"
        ]
    );
}

#[test]
fn the_task_itself_may_register_and_remove() {
    let (executor, log) = (Executor::new(), Log::new());
    let own: Rc<RefCell<Option<Task<()>>>> = Rc::default();
    let (inside, logged) = (Rc::clone(&own), log.clone());
    *own.borrow_mut() = Some(executor.spawn(async move {
        let unwanted = {
            let own = inside.borrow();
            let task = own.as_ref().unwrap();
            let kept = logged.clone();
            task.on_done(move |_| kept.add("kept"));
            task.on_done(|_| unreachable!("removed"))
        };
        yield_now().await;
        let own = inside.borrow();
        assert!(own.as_ref().unwrap().remove_on_done(unwanted.unwrap()));
    }));
    executor.run_until_idle();
    assert_eq!(log.take(), ["kept"]);
}

#[test]
fn a_removed_callback_may_come_back_as_it_is_dropped() {
    let (executor, losses) = executor();
    let task = Rc::new(executor.spawn(yield_now()).named("before"));
    let weak = Rc::downgrade(&task);
    let held = harness::on_drop(move || {
        let task = weak.upgrade().unwrap();
        task.set_name("renamed");
        task.on_done(|_| ());
        assert_eq!(task.name(), "renamed");
    });
    let token = task.on_done(move |_| drop(held)).unwrap();
    assert!(task.remove_on_done(token));
    executor.run_until_idle();
    assert!(losses.is_empty());
}

#[test]
fn closing_drops_them_uncalled() {
    let (executor, log) = (Executor::new(), Log::new());
    let task = executor.spawn(pending::<()>());
    let held = log.on_drop("dropped");
    task.on_done(move |_| {
        drop(held);
        unreachable!("the executor is closed");
    });
    executor.run_until_idle();
    executor.close();
    assert_eq!(log.take(), ["dropped"]);
    let held = log.on_drop("dropped at once");
    assert!(task.on_done(move |_| drop(held)).is_none());
    assert_eq!(log.take(), ["dropped at once"]);
}

#[test]
fn they_come_after_cleanup() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (waiting, cleaned) = (gate.clone(), log.clone());
    let task = executor.spawn(harness::hold(harness::on_drop(move || {
        rondel_executor::leave(Box::pin(async move {
            waiting.wait().await;
            cleaned.add("cleaned");
        }));
    })));
    let done = log.clone();
    task.on_done(move |_| done.add("done"));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert!(log.take().is_empty());
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned", "done"]);
}

#[test]
fn they_may_spawn_and_await_the_task() {
    let executor = Executor::new();
    let task = executor.spawn(ready(11));
    let seen = Rc::new(Cell::new(0));
    let told = Rc::clone(&seen);
    let slot: Rc<RefCell<Option<Task<i32>>>> = Rc::default();
    let inside = Rc::clone(&slot);
    task.on_done(move |_| {
        let task = inside.take().unwrap();
        here()
            .spawn(async move { told.set(task.await.unwrap()) })
            .detach();
    });
    *slot.borrow_mut() = Some(task);
    executor.run_until_idle();
    assert_eq!(seen.get(), 11);
}
