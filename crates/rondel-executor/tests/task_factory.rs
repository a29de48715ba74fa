//! The task factory: what it is shown, and what it can do to a task.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use harness::{Log, Losses, hold, yield_now};
use rondel_executor::{Executor, JoinError, RemoteError, Spawner, TaskFactory, TaskInfo, leave};

fn naming(prefix: &'static str) -> TaskFactory {
    Rc::new(move |task| {
        let name = format!("{prefix}-{}", task.id());
        task.set_name(name);
    })
}

#[test]
fn it_sees_every_task_before_it_begins_with_number_and_place() {
    let log = Log::new();
    let noted = log.clone();
    let executor = Executor::builder()
        .task_factory(Rc::new(move |task| {
            let site = task.spawned_at();
            assert!(site.file().ends_with("task_factory.rs"));
            noted.add(format!("{} {}", task.id(), task.name()));
        }))
        .build();
    let begun = log.clone();
    let task = executor.spawn(async move { begun.add("begun") });
    assert_eq!(task.id().get(), 1);
    executor.call_soon(|| {
        let spawned = Spawner::spawn_current(async {});
        assert!(spawned.is_ok());
    });
    executor.run_until_idle();
    assert_eq!(log.take(), ["1 Task-1", "begun", "2 Task-2"]);
}

/// asyncio: `test_create_named_task_with_custom_factory`.
#[test]
fn a_name_given_to_the_task_stands_above_the_factorys() {
    let executor = Executor::builder().task_factory(naming("job")).build();
    let plain = executor.spawn(pending::<()>());
    let named = executor.spawn(pending::<()>()).named("explicit");
    assert_eq!(
        (plain.name(), named.name()),
        ("job-1".into(), "explicit".into())
    );
    executor.run_until_idle();
    let names: Vec<_> = executor.tasks().iter().map(TaskInfo::name).collect();
    assert_eq!(names, ["job-1", "explicit"]);
}

#[test]
fn it_can_be_set_replaced_and_taken_away() {
    let executor = Executor::new();
    let spawner = executor.spawner();
    let name = || executor.spawn(async {}).name();
    assert!(spawner.task_factory().is_none());
    assert_eq!(name(), "Task-1");
    assert!(spawner.set_task_factory(Some(naming("a"))).is_none());
    assert_eq!(name(), "a-2");
    let before = spawner.set_task_factory(Some(naming("b"))).unwrap();
    assert_eq!(name(), "b-3");
    spawner.set_task_factory(Some(before));
    assert_eq!(name(), "a-4");
    assert!(spawner.set_task_factory(None).is_some());
    assert_eq!(name(), "Task-5");
    executor.run_until_idle();
    executor.close();
    assert!(
        spawner.set_task_factory(Some(naming("late"))).is_some(),
        "given back"
    );
    assert!(spawner.task_factory().is_none());
}

#[test]
fn a_wrapper_is_around_every_poll_and_the_output_comes_through() {
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    let executor = Executor::builder()
        .task_factory(Rc::new(move |task| {
            let counted = Rc::clone(&counted);
            task.wrap(|mut body| {
                poll_fn(move |cx| {
                    counted.set(counted.get() + 1);
                    body.as_mut().poll(cx)
                })
            });
        }))
        .build();
    let task = executor.spawn(async {
        yield_now().await;
        yield_now().await;
        String::from("through")
    });
    executor.run_until_idle();
    assert_eq!(polls.get(), 3);
    assert_eq!(task.into_result().unwrap().unwrap(), "through");
}

#[test]
fn wrappers_nest_the_last_one_outermost() {
    let log = Log::new();
    let noted = log.clone();
    let executor = Executor::builder()
        .task_factory(Rc::new(move |task| {
            for name in ["inner", "outer"] {
                let noted = noted.clone();
                task.wrap(async move |body| {
                    noted.add(format!("{name} before"));
                    body.await;
                    noted.add(format!("{name} after"));
                });
            }
        }))
        .build();
    executor.spawn(async {}).detach();
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        ["outer before", "inner before", "inner after", "outer after"]
    );
}

#[test]
fn a_wrapper_that_ends_without_the_body_cancels_the_task() {
    let executor = Executor::builder()
        .task_factory(Rc::new(|task| task.wrap(async |body| drop(body))))
        .build();
    let log = Log::new();
    let mut task = executor.spawn(hold(log.on_drop("dropped")));
    executor.run_until_idle();
    assert_eq!(log.take(), ["dropped"]);
    assert!(matches!(task.result(), Some(Err(JoinError::Cancelled))));
}

#[test]
fn cancelling_a_wrapped_task_drops_it_in_place_and_waits_for_cleanup() {
    struct Leaving(Log);
    impl Drop for Leaving {
        fn drop(&mut self) {
            let log = self.0.clone();
            leave(Box::pin(async move {
                yield_now().await;
                log.add("cleaned up");
            }));
        }
    }
    let executor = Executor::builder()
        .task_factory(Rc::new(|task| task.wrap(async |body| body.await)))
        .build();
    let log = Log::new();
    let mut task = executor.spawn(hold(Leaving(log.clone())));
    let noted = log.clone();
    task.on_done(move |info| noted.add(format!("{:?}", info.outcome())));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned up", "Cancelled"]);
    assert!(matches!(task.result(), Some(Err(JoinError::Cancelled))));
}

#[test]
fn a_panic_in_a_wrapper_is_the_tasks() {
    let executor = Executor::builder()
        .task_factory(Rc::new(|task| {
            task.wrap(async |_body| panic!("in the wrapper"));
        }))
        .build();
    let mut task = executor.spawn(async {});
    executor.run_until_idle();
    assert!(matches!(task.result(), Some(Err(JoinError::Panicked(_)))));
}

#[test]
fn an_eager_task_passes_through_it_too() {
    let executor = Executor::builder()
        .task_factory(Rc::new(|task| {
            task.set_name("eager");
            task.wrap(async |body| body.await);
        }))
        .build();
    let outer = executor.spawn(async {
        let inner = Spawner::current().unwrap().spawn_eager(async { 1 });
        (inner.name(), inner.is_finished())
    });
    executor.run_until_idle();
    assert_eq!(
        outer.into_result().unwrap().unwrap(),
        ("eager".into(), true)
    );
}

#[test]
fn a_factory_that_panics_makes_the_spawn_panic_and_leaves_no_task() {
    let executor = Executor::builder()
        .task_factory(Rc::new(|_| panic!("no tasks today")))
        .build();
    let log = Log::new();
    let dropped = log.on_drop("dropped");
    let spawned = catch_unwind(AssertUnwindSafe(|| executor.spawn(hold(dropped))));
    assert!(spawned.is_err());
    assert_eq!(log.take(), ["dropped"]);
    assert_eq!((executor.alive(), executor.spawner().ready_len()), (0, 0));
}

/// asyncio: `test_run_coroutine_threadsafe_task_factory_exception`. The thread learns that there will be no result, the report
/// says why, once.
#[test]
fn a_factory_that_panics_for_a_remote_spawn_is_reported_once_and_ends_the_wait() {
    let losses = Losses::default();
    let executor = losses
        .builder()
        .task_factory(Rc::new(|_| panic!("no tasks today")))
        .build();
    let remote = executor.remote();
    let task = std::thread::spawn(move || remote.spawn(async { 1 }).unwrap())
        .join()
        .unwrap();
    executor.run_until_idle();
    assert!(losses.one().to_string().contains("no tasks today"));
    let outcome = std::thread::spawn(move || task.result(None))
        .join()
        .unwrap();
    assert!(matches!(
        outcome,
        Err(RemoteError::Join(JoinError::Cancelled))
    ));
}

#[test]
fn a_remote_spawn_passes_through_it_once() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&seen);
    let executor = Executor::builder()
        .task_factory(Rc::new(move |task| {
            noted.borrow_mut().push(task.spawned_at().line())
        }))
        .build();
    let remote = executor.remote();
    let task = std::thread::spawn(move || remote.spawn(async { 1 }).unwrap())
        .join()
        .unwrap();
    executor.run_until_idle();
    assert_eq!(seen.borrow().len(), 1);
    assert!(task.is_finished());
}

#[test]
fn cleanups_do_not_pass_through_it() {
    let seen = Rc::new(Cell::new(0));
    let counted = Rc::clone(&seen);
    let executor = Executor::builder()
        .task_factory(Rc::new(move |_| counted.set(counted.get() + 1)))
        .build();
    executor
        .spawn(async { leave(Box::pin(async { yield_now().await })) })
        .detach();
    executor.run_until_idle();
    assert_eq!(seen.get(), 1);
}

#[test]
fn it_may_spawn_replace_itself_and_close_the_executor() {
    let executor = Rc::new(Executor::new());
    let inside = Rc::clone(&executor);
    let log = Log::new();
    let noted = log.clone();
    executor
        .spawner()
        .set_task_factory(Some(Rc::new(move |task| {
            inside.spawner().set_task_factory(None);
            let noted = noted.clone();
            inside.spawn(async move { noted.add("beside") }).detach();
            task.set_name("the first");
        })));
    let task = executor.spawn(async {});
    assert_eq!(task.name(), "the first");
    executor.run_until_idle();
    assert_eq!(log.take(), ["beside"]);

    let inside = Rc::clone(&executor);
    executor.spawner().set_task_factory(Some(Rc::new(move |_| {
        inside.close();
    })));
    let mut task = executor.spawn(hold(log.on_drop("dropped")));
    assert_eq!(log.take(), ["dropped"]);
    assert!(matches!(task.result(), Some(Err(JoinError::Cancelled))));
}
