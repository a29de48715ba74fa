//! Tasks that are begun inside the call that spawns them.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::pin::Pin;
use std::rc::Rc;

use harness::{Log, Losses, hold, yield_now};
use rondel_executor::{Executor, JoinError, Spawner, Task, TaskLocal, leave};

fn here() -> Spawner {
    Spawner::current().unwrap()
}

/// Runs `f` as a callback.
fn within<T: 'static>(executor: &Executor, f: impl FnOnce() -> T + 'static) -> T {
    let result = Rc::new(Cell::new(None));
    let leave = Rc::clone(&result);
    executor.call_soon(move || leave.set(Some(f())));
    executor.run_until_idle();
    result.take().unwrap()
}

fn name_of_current() -> Option<String> {
    Spawner::current_task().map(|task| task.name())
}

/// asyncio: `test_eager_completion`.
#[test]
fn one_that_finishes_at_once_is_done_on_return_and_was_never_scheduled() {
    let executor = Executor::new();
    within(&executor, || {
        let before = here().ready_len();
        let mut task = here().spawn_eager(async { 42 });
        assert!(task.is_finished());
        assert_eq!(here().ready_len(), before);
        assert!(here().tasks().is_empty(), "nor is it among the tasks alive");
        assert_eq!(task.result().unwrap().unwrap(), 42);
    });
    assert_eq!(executor.alive(), 0);
}

/// asyncio: `test_block_after_eager_step`.
#[test]
fn one_that_has_to_wait_goes_on_as_any_task() {
    let executor = Executor::new();
    let log = Log::new();
    let noted = log.clone();
    let task = within(&executor, move || {
        let inside = noted.clone();
        let task = here().spawn_eager(async move {
            inside.add("first step");
            yield_now().await;
            inside.add("second step");
            7
        });
        noted.add("the caller goes on");
        assert!(!task.is_finished());
        assert_eq!(here().tasks().len(), 1);
        task
    });
    assert_eq!(
        log.take(),
        ["first step", "the caller goes on", "second step"]
    );
    assert_eq!(task.into_result().unwrap().unwrap(), 7);
}

#[test]
fn outside_a_turn_it_is_spawned_as_usual() {
    let executor = Executor::new();
    let polled = Rc::new(Cell::new(false));
    let noted = Rc::clone(&polled);
    let task = executor.spawn_eager(async move { noted.set(true) });
    assert!(!polled.get() && !task.is_finished());
    executor.run_until_idle();
    assert!(polled.get() && task.is_finished());
}

#[test]
fn in_another_executors_turn_it_is_spawned_as_usual() {
    let (executor, other) = (Executor::new(), Executor::new());
    let task = within(&other, {
        let spawner = executor.spawner();
        move || spawner.spawn_eager(async {})
    });
    assert!(!task.is_finished());
    executor.run_until_idle();
    assert!(task.is_finished());
}

#[test]
fn on_a_closed_executor_the_future_is_dropped_and_the_task_is_cancelled() {
    let executor = Executor::new();
    executor.close();
    let log = Log::new();
    let mut task = executor.spawn_eager(hold(log.on_drop("dropped")));
    assert_eq!(log.take(), ["dropped"]);
    assert!(matches!(task.result(), Some(Err(JoinError::Cancelled))));
}

/// asyncio: `test_current_task*`: swapped for the eager step, restored after it.
#[test]
fn the_current_task_is_the_eager_one_inside_and_the_caller_again_after() {
    let executor = Executor::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&seen);
    executor
        .spawn(async move {
            let inside = Rc::clone(&noted);
            noted.borrow_mut().push(name_of_current());
            let inner = here().spawn_eager(async move {
                inside.borrow_mut().push(name_of_current());
                yield_now().await;
                inside.borrow_mut().push(name_of_current());
            });
            noted.borrow_mut().push(name_of_current());
            inner.await.unwrap();
            noted.borrow_mut().push(name_of_current());
        })
        .detach();
    executor.run_until_idle();
    let names: Vec<_> = seen.take().into_iter().map(Option::unwrap).collect();
    assert_eq!(names, ["Task-1", "Task-2", "Task-1", "Task-2", "Task-1"]);
    let in_callback = within(&executor, || {
        let task = here().spawn_eager(async { name_of_current() });
        (task.into_result().unwrap().unwrap(), name_of_current())
    });
    assert_eq!(in_callback, (Some("Task-3".to_owned()), None));
}

#[test]
fn it_inherits_values_and_keeps_its_own() {
    static NUMBER: TaskLocal<u32> = TaskLocal::new();
    let executor = Executor::new();
    let task = executor.spawn(async {
        NUMBER.set(1).unwrap();
        let mut inner =
            NUMBER.sync_scope(2, || here().spawn_eager(async { NUMBER.set(3).unwrap() }));
        (inner.result().unwrap().unwrap(), NUMBER.get())
    });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), (Some(2), Some(1)));
}

/// asyncio: `test_cancellation_after_eager_*`.
#[test]
fn cancelling_is_a_no_op_after_it_completed_and_works_after_it_had_to_wait() {
    let executor = Executor::new();
    let log = Log::new();
    let dropped = log.on_drop("dropped");
    let mut waiting = within(&executor, move || {
        let done = here().spawn_eager(ready(1));
        assert!(!done.cancel());
        assert_eq!(done.into_result().unwrap().unwrap(), 1);
        let waiting = here().spawn_eager(hold(dropped));
        assert!(waiting.cancel());
        assert!(!waiting.is_finished(), "at its turn");
        waiting
    });
    assert_eq!(log.take(), ["dropped"]);
    assert!(matches!(waiting.result(), Some(Err(JoinError::Cancelled))));
}

#[test]
fn one_that_is_cancelled_in_its_first_step_is_dropped_where_it_waits() {
    let executor = Rc::new(Executor::new());
    let inside = Rc::clone(&executor);
    let log = Log::new();
    let (noted, dropped) = (log.clone(), log.on_drop("dropped"));
    let task = within(&executor, move || {
        let task = here().spawn_eager(async move {
            let _dropped = dropped;
            assert_eq!(inside.cancel_all(), 1);
            noted.add("up to where it waits");
            yield_now().await;
            noted.add("not reached");
        });
        assert!(task.is_finished());
        task
    });
    assert_eq!(log.take(), ["up to where it waits", "dropped"]);
    assert!(matches!(
        task.into_result().unwrap(),
        Err(JoinError::Cancelled)
    ));
}

#[test]
fn a_panic_stays_inside_the_task() {
    let losses = Losses::default();
    let executor = losses.builder().build();
    let mut task = within(&executor, || {
        here().spawn_eager(async { panic!("at once") }).detach();
        here().spawn_eager(async { panic!("kept") })
    });
    assert!(losses.one().to_string().contains("at once"));
    let Some(Err(JoinError::Panicked(payload))) = task.result() else {
        panic!("it panicked");
    };
    let _: &Task<()> = &task;
    assert_eq!(payload.message(), Some("kept"));
}

#[test]
fn what_it_leaves_in_its_first_step_is_cleaned_up_before_it_is_done() {
    struct Leaving(Log);
    impl Drop for Leaving {
        fn drop(&mut self) {
            let log = self.0.clone();
            leave(Box::pin(async move { log.add("cleaned up") }));
        }
    }
    let executor = Executor::new();
    let log = Log::new();
    let leaving = Leaving(log.clone());
    let task = within(&executor, move || {
        let task = here().spawn_eager(async move {
            drop(leaving);
            5
        });
        assert!(!task.is_finished());
        task
    });
    assert_eq!(log.take(), ["cleaned up"]);
    assert_eq!(task.into_result().unwrap().unwrap(), 5);
}

/// asyncio: `test_recursive_taskgroups`: 5 wide, 4 deep, nothing waits; 0 scheduled when eager, 781 tasks otherwise.
#[test]
fn a_tree_of_eager_tasks_that_never_wait_schedules_nothing() {
    fn tree(depth: usize, eager: bool) -> Pin<Box<dyn Future<Output = usize>>> {
        Box::pin(async move {
            if depth == 0 {
                return 1;
            }
            let mut nodes = 1;
            for _ in 0..5 {
                let child = tree(depth - 1, eager);
                let child = if eager {
                    here().spawn_eager(child)
                } else {
                    here().spawn(child)
                };
                nodes += child.await.unwrap();
            }
            nodes
        })
    }
    for (eager, scheduled) in [(true, 1), (false, 781)] {
        let executor = Executor::new();
        let task = executor.spawn(tree(4, eager));
        let turn = executor.enter().unwrap();
        let mut entries = 0;
        turn.run_batch(|| {
            entries += 1;
            true
        });
        assert_eq!(task.into_result().unwrap().unwrap(), 781);
        if eager {
            assert_eq!(entries, scheduled, "the root alone");
        } else {
            assert!(entries >= scheduled);
        }
    }
}

#[test]
fn while_an_eager_task_runs_those_outside_it_are_still_listed_and_cancelled() {
    let executor = Rc::new(Executor::new());
    let inside = Rc::clone(&executor);
    let outer = executor
        .spawn(async move {
            let listed = here().spawn_eager(async move {
                let deepest = here().spawn_eager(async move {
                    let names: Vec<_> = here().tasks().iter().map(|task| task.name()).collect();
                    let cancelled = inside.cancel_all();
                    (names, cancelled)
                });
                deepest.await.unwrap()
            });
            let (mut names, cancelled) = listed.into_result().unwrap().unwrap();
            names.sort();
            assert_eq!(names, ["Task-1", "Task-2", "Task-3"]);
            assert_eq!(cancelled, 3);
            pending::<()>().await;
        })
        .named("Task-1");
    executor.run_until_idle();
    assert!(matches!(
        outer.into_result().unwrap(),
        Err(JoinError::Cancelled)
    ));
}

#[test]
fn dropping_the_handle_at_once_detaches() {
    let executor = Executor::new();
    let log = Log::new();
    let noted = log.clone();
    within(&executor, move || {
        here()
            .spawn_eager(async move {
                yield_now().await;
                noted.add("ran on");
            })
            .detach();
    });
    assert_eq!(log.take(), ["ran on"]);
    assert_eq!(executor.alive(), 0);
}
