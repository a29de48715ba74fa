//! Task-local values: who sees what, and that nothing is kept for longer than it should.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::thread;

use harness::{Log, on_drop, yield_now};
use rondel_executor::{
    BatchEnd, Executor, Handle, NoTask, Scope, SendTaskLocals, Spawner, TaskLocal, TaskLocals,
    leave,
};

static NUMBER: TaskLocal<u32> = TaskLocal::new();
static NAME: TaskLocal<&str> = TaskLocal::new();
static SHARED: TaskLocal<String> = TaskLocal::across_threads();
static OBJECT: TaskLocal<Rc<Cell<u32>>> = TaskLocal::new();

fn here() -> Spawner {
    Spawner::current().unwrap()
}

/// Runs `main` as a task of a new executor to its end.
fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
    let executor = Executor::new();
    let task = executor.spawn(main);
    executor.run_until_idle();
    task.into_result().expect("it finishes").unwrap()
}

#[test]
fn what_a_task_sets_is_seen_by_itself_across_polls_and_by_no_other_task() {
    let executor = Executor::new();
    let tasks: Vec<_> = (0..3)
        .map(|number| {
            executor.spawn(async move {
                assert_eq!(NUMBER.get(), None);
                assert_eq!(NUMBER.set(number), Ok(None));
                yield_now().await;
                assert_eq!(NUMBER.set(number + 10), Ok(Some(number)));
                yield_now().await;
                NUMBER.get()
            })
        })
        .collect();
    executor.run_until_idle();
    let seen: Vec<_> = tasks
        .into_iter()
        .map(|task| task.into_result().unwrap().unwrap().unwrap())
        .collect();
    assert_eq!(seen, [10, 11, 12]);
    assert_eq!(NUMBER.get(), None);
}

#[test]
fn a_task_inherits_what_was_current_when_it_was_spawned_and_no_later_change() {
    run(async {
        NUMBER.set(1).unwrap();
        let child = here().spawn(async {
            let inherited = NUMBER.get();
            NUMBER.set(100).unwrap();
            let grandchild = here().spawn(async { NUMBER.get() });
            (inherited, grandchild.await.unwrap())
        });
        NUMBER.set(2).unwrap();
        assert_eq!(child.await.unwrap(), (Some(1), Some(100)));
        assert_eq!(NUMBER.get(), Some(2), "a child's change is the child's");
    });
}

#[test]
fn keys_are_independent_and_can_be_taken_away() {
    run(async {
        NUMBER.set(1).unwrap();
        NAME.set("one").unwrap();
        assert_eq!(NUMBER.unset(), Ok(Some(1)));
        assert_eq!(NUMBER.unset(), Ok(None));
        assert_eq!((NUMBER.get(), NAME.get()), (None, Some("one")));
        assert_eq!(NAME.unset(), Ok(Some("one")));
        assert!(TaskLocals::current().is_empty());
    });
}

/// asyncio: `call_soon(…, context=None)` copies the context, as do `call_later` and `add_done_callback`.
#[test]
fn callbacks_see_what_was_current_when_they_were_scheduled() {
    let log = Log::new();
    let (soon, later, done) = (log.clone(), log.clone(), log.clone());
    run(async move {
        NUMBER.set(1).unwrap();
        here().call_soon(move || soon.add(format!("soon {:?}", NUMBER.get())));
        let (callback, _handle) =
            Handle::schedule_later(move || later.add(format!("later {:?}", NUMBER.get())));
        let task = here().spawn(ready(()));
        task.on_done(move |_| done.add(format!("done {:?}", NUMBER.get())));
        NUMBER.set(2).unwrap();
        yield_now().await;
        here().push(callback);
        yield_now().await;
    });
    let mut seen = log.take();
    seen.sort();
    assert_eq!(seen, ["done Some(1)", "later Some(1)", "soon Some(1)"]);
}

#[test]
fn callbacks_without_values_see_none_though_tasks_around_them_have_some() {
    let executor = Executor::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&seen);
    let callback = move || {
        let (noted, set) = (Rc::clone(&noted), NUMBER.set(9));
        noted.borrow_mut().push((NUMBER.get(), set));
    };
    executor.spawn(async { NUMBER.set(1).map(drop) }).detach();
    executor.call_soon(callback.clone());
    executor.spawn(async { NUMBER.set(2).map(drop) }).detach();
    executor.call_soon(callback);
    executor.run_until_idle();
    assert_eq!(seen.take(), [(None, Err(NoTask)), (None, Err(NoTask))]);
    assert_eq!(
        NoTask.to_string(),
        "cannot set a task-local value: no task is running here"
    );
}

#[test]
fn what_a_callback_sets_ends_with_it() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&seen);
    run(async move {
        NUMBER.set(1).unwrap();
        for number in [5, 6] {
            let noted = Rc::clone(&noted);
            here().call_soon(move || {
                let before = NUMBER.set(number).unwrap();
                let inside = Rc::clone(&noted);
                here().call_soon(move || inside.borrow_mut().push((before, NUMBER.get())));
            });
        }
        yield_now().await;
        yield_now().await;
        assert_eq!(NUMBER.get(), Some(1));
    });
    assert_eq!(seen.take(), [(Some(1), Some(5)), (Some(1), Some(6))]);
}

#[test]
fn a_scope_holds_wherever_its_future_is_polled_and_nests() {
    run(async {
        NUMBER.set(1).unwrap();
        let inside = NUMBER.scope(2, async {
            yield_now().await;
            let deepest = NUMBER.scope(3, async {
                yield_now().await;
                NUMBER.get()
            });
            (deepest.await, NUMBER.get())
        });
        // Polled in turns with one that sees the task's own value.
        let outside = async {
            let mut seen = Vec::new();
            for _ in 0..4 {
                seen.push(NUMBER.get());
                yield_now().await;
            }
            seen
        };
        let (inside, outside) = futures_util::join!(inside, outside);
        assert_eq!(inside, (Some(3), Some(2)));
        assert_eq!(outside, [Some(1); 4]);
        assert_eq!(NUMBER.get(), Some(1));
    });
}

#[test]
fn in_a_scope_its_own_key_is_set_for_the_scope_and_others_for_the_task() {
    run(async {
        let scoped = NUMBER.scope(1, async {
            assert_eq!(NUMBER.set(2), Ok(Some(1)));
            NAME.set("kept").unwrap();
            yield_now().await;
            NUMBER.get()
        });
        assert_eq!(scoped.await, Some(2));
        assert_eq!(NUMBER.get(), None);
        assert_eq!(NAME.get(), Some("kept"));
    });
}

#[test]
fn what_a_scope_starts_inherits_its_value() {
    run(async {
        let mut child = None;
        let starting = NUMBER.scope(7, async {
            child = Some(here().spawn(async {
                yield_now().await;
                NUMBER.get()
            }));
        });
        starting.await;
        assert_eq!(NUMBER.get(), None);
        assert_eq!(child.unwrap().await.unwrap(), Some(7));
    });
}

#[test]
fn scopes_work_outside_any_executor_and_keep_what_was_set_in_them() {
    let mut scoped = pin!(NUMBER.scope(1, async {
        yield_now().await;
        let before = NUMBER.set(2);
        yield_now().await;
        (before, NUMBER.get())
    }));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(scoped.as_mut().poll(&mut cx).is_pending());
    assert_eq!(NUMBER.get(), None);
    assert!(scoped.as_mut().poll(&mut cx).is_pending());
    let inside = NUMBER.sync_scope(9, || {
        let polled = scoped.as_mut().poll(&mut cx);
        (polled, NUMBER.get())
    });
    assert_eq!(
        inside,
        (std::task::Poll::Ready((Ok(Some(1)), Some(2))), Some(9))
    );
}

#[test]
fn the_destructor_of_a_scoped_future_sees_the_value_too() {
    let seen = Rc::new(Cell::new(None));
    let noted = Rc::clone(&seen);
    let executor = Executor::new();
    let task = executor.spawn(NUMBER.scope(4, async move {
        let _guard = on_drop(move || noted.set(NUMBER.get()));
        pending::<()>().await;
    }));
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(seen.take(), Some(4));

    // Also where nothing is running.
    let noted = Rc::clone(&seen);
    let guard = on_drop(move || noted.set(NUMBER.get()));
    let never_polled = NUMBER.scope(5, async move {
        let _guard = guard;
    });
    drop(never_polled);
    assert_eq!(seen.take(), Some(5));
}

#[test]
fn a_scope_that_panics_puts_everything_back() {
    run(async {
        NUMBER.set(1).unwrap();
        let panicked = catch_unwind(|| NUMBER.sync_scope(2, || panic!("inside")));
        assert!(panicked.is_err());
        assert_eq!(NUMBER.get(), Some(1));
    });
    let panicked = catch_unwind(|| NUMBER.sync_scope(2, || panic!("inside")));
    assert!(panicked.is_err());
    assert_eq!(NUMBER.get(), None);
}

#[test]
fn a_cleanup_sees_the_values_of_where_it_was_left() {
    struct Leaving(Log, &'static str);
    impl Drop for Leaving {
        fn drop(&mut self) {
            let (log, what) = (self.0.clone(), self.1);
            leave(Box::pin(async move {
                yield_now().await;
                log.add(format!("{what} {:?}", NUMBER.get()));
            }));
        }
    }
    let executor = Executor::new();
    let log = Log::new();
    let (inner, outer) = (Leaving(log.clone(), "inner"), Leaving(log.clone(), "outer"));
    let task = executor.spawn(async move {
        NUMBER.set(1).unwrap();
        let _outer = outer;
        NUMBER
            .scope(2, async move {
                let _inner = inner;
                pending::<()>().await;
            })
            .await;
    });
    executor.run_until_idle();
    task.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["inner Some(2)", "outer Some(1)"]);

    let left = Leaving(log.clone(), "in a scope of one's own");
    run(async move {
        NUMBER.set(3).unwrap();
        let scope = Scope::new();
        scope.enter(|| drop(left));
        NUMBER.set(4).unwrap();
        scope.wait().await;
    });
    assert_eq!(log.take(), ["in a scope of one's own Some(3)"]);
}

/// asyncio's test_task_exc_handler_correct_context: the handler runs in the context of what failed.
#[test]
fn the_report_of_a_failure_sees_the_values_of_the_task_or_callback_that_failed() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&seen);
    let executor = Executor::builder()
        .lost(move |lost| noted.borrow_mut().push((lost.to_string(), NUMBER.get())))
        .build();
    executor
        .spawn(async {
            NUMBER.set(1).unwrap();
            here().call_soon(|| panic!("in a callback"));
            NUMBER.set(2).unwrap();
            panic!("in a detached task");
        })
        .detach();
    let kept = executor.spawn(async {
        NUMBER.set(3).unwrap();
        yield_now().await;
        panic!("in a task whose handle goes later");
    });
    executor.run_until_idle();
    assert_eq!(seen.borrow().len(), 2);
    let dropping = executor.spawn(async move {
        NUMBER.set(99).unwrap();
        drop::<rondel_executor::Task<()>>(kept);
        NUMBER.get()
    });
    executor.run_until_idle();
    assert_eq!(dropping.into_result().unwrap().unwrap(), Some(99));
    let values: Vec<_> = seen
        .borrow()
        .iter()
        .map(|(what, value)| {
            let what = ["callback", "detached", "later"]
                .into_iter()
                .find(|word| what.contains(&format!("in a {word}")) || what.contains(word));
            (what.unwrap(), *value)
        })
        .collect();
    assert_eq!(
        values,
        [
            ("detached", Some(2)),
            ("callback", Some(1)),
            ("later", Some(3))
        ]
    );
}

#[test]
fn a_panicking_callback_with_values_is_reported_with_where_it_was_scheduled() {
    let losses = harness::Losses::default();
    let executor = losses.builder().build();
    executor
        .spawn(async {
            NUMBER.set(1).unwrap();
            here().call_soon(|| panic!("at its turn"));
        })
        .detach();
    executor.run_until_idle();
    let lost = losses.one();
    assert!(lost.to_string().contains("at its turn"));
    assert!(lost.callback.unwrap().file().ends_with("task_local.rs"));
}

#[test]
fn the_main_future_inherits_from_around_its_making_and_can_be_given_others() {
    let executor = Executor::new();
    let seen = |locals: Option<&TaskLocals>| {
        let mut future = pin!(Some(async { (NUMBER.get(), NAME.get()) }));
        let mut main = NUMBER
            .sync_scope(1, || executor.main(future.as_mut()))
            .unwrap();
        if let Some(locals) = locals {
            main.set_locals(locals);
        }
        let turn = executor.enter().unwrap();
        assert_eq!(turn.run_batch(|| true), BatchEnd::Main);
        match main.poll() {
            std::task::Poll::Ready(seen) => seen.unwrap(),
            std::task::Poll::Pending => unreachable!("it does not wait"),
        }
    };
    assert_eq!(seen(None), (Some(1), None));
    let others = NAME.sync_scope("other", TaskLocals::current);
    assert_eq!(seen(Some(&others)), (None, Some("other")));
    assert_eq!(seen(Some(&TaskLocals::default())), (None, None));
}

#[test]
fn a_turn_inside_a_scope_keeps_the_scope_to_its_caller() {
    let executor = Executor::new();
    let before = executor.spawn(async { NUMBER.get() });
    let inside = NUMBER.sync_scope(1, || {
        let inherits = executor.spawn(async { NUMBER.get() });
        executor.run_until_idle();
        assert_eq!(NUMBER.get(), Some(1));
        inherits
    });
    assert_eq!(before.into_result().unwrap().unwrap(), None);
    assert_eq!(inside.into_result().unwrap().unwrap(), Some(1));
}

#[test]
fn a_handle_shows_the_values_of_its_task() {
    let executor = Executor::new();
    let task = executor.spawn(async {
        NUMBER.set(1).unwrap();
        yield_now().await;
    });
    let number = || task.locals().run(|| NUMBER.get());
    assert_eq!(number(), None);
    executor.run_until_idle();
    assert!(task.is_finished());
    assert_eq!(number(), Some(1));
    let plain = executor.spawn(ready(()));
    assert!(plain.locals().is_empty());
}

#[test]
fn a_snapshot_runs_what_it_is_given_with_its_values_and_no_others() {
    let then = NUMBER.sync_scope(1, || NAME.sync_scope("then", TaskLocals::current));
    assert_eq!(then.len(), 2);
    run(async move {
        OBJECT.set(Rc::default()).unwrap();
        then.run(|| {
            assert_eq!((NUMBER.get(), NAME.get()), (Some(1), Some("then")));
            assert!(OBJECT.get().is_none());
            NUMBER.set(2).unwrap();
        });
        then.run(|| assert_eq!(NUMBER.get(), Some(1), "a run changes its own copy"));
        assert!(OBJECT.get().is_some());
    });
}

#[test]
fn values_that_may_cross_threads_are_taken_along_and_others_stay() {
    run(async {
        NUMBER.set(1).unwrap();
        SHARED.set("along".to_owned()).unwrap();
        let along = SendTaskLocals::current();
        let there = thread::spawn(move || along.run(|| (NUMBER.get(), SHARED.get())));
        assert_eq!(there.join().unwrap(), (None, Some("along".to_owned())));
    });
    assert!(SendTaskLocals::current().is_empty());
    assert_eq!(SendTaskLocals::default().run(|| SHARED.get()), None);
}

#[test]
fn with_lends_the_value_and_may_come_back_in() {
    run(async {
        NUMBER.set(1).unwrap();
        NUMBER.with(|value| {
            assert_eq!(value, Some(&1));
            NUMBER.set(2).unwrap();
            assert_eq!(value, Some(&1), "lent values stay what they are");
            assert_eq!(NUMBER.get(), Some(2));
        });
    });
}

#[test]
fn destructors_and_clones_of_values_may_come_back_in() {
    struct Prying(Rc<Cell<u32>>);
    impl Clone for Prying {
        fn clone(&self) -> Self {
            NUMBER.set(NUMBER.get().unwrap_or(0) + 1).unwrap();
            Self(Rc::clone(&self.0))
        }
    }
    impl Drop for Prying {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            let _ = NUMBER.set(NUMBER.get().unwrap_or(0) + 1);
            here().call_soon(|| {});
        }
    }
    static PRYING: TaskLocal<Prying> = TaskLocal::new();
    let drops = Rc::new(Cell::new(0));
    let counted = Rc::clone(&drops);
    run(async move {
        PRYING.set(Prying(Rc::clone(&counted))).map(drop).unwrap();
        PRYING.set(Prying(Rc::clone(&counted))).map(drop).unwrap();
        assert!(NUMBER.get().unwrap() >= 2);
        PRYING.unset().map(drop).unwrap();
    });
    // Two values, and a clone of each that came back.
    assert_eq!(drops.get(), 4);
}

#[test]
fn values_live_as_long_as_somebody_has_inherited_them() {
    let value = Rc::new(Cell::new(0));
    let executor = Executor::new();
    let inherited = Rc::clone(&value);
    let parent = executor.spawn(async move {
        OBJECT.set(inherited).unwrap();
        (here().spawn(pending::<()>()),)
    });
    executor.run_until_idle();
    let (child,) = parent.into_result().unwrap().unwrap();
    assert_eq!(Rc::strong_count(&value), 2);
    child.cancel();
    executor.run_until_idle();
    drop(child);
    assert_eq!(Rc::strong_count(&value), 1);

    let inherited = Rc::clone(&value);
    let handle = NUMBER.sync_scope(0, || {
        OBJECT.sync_scope(inherited, || {
            executor.call_soon(|| unreachable!("cancelled"))
        })
    });
    assert_eq!(Rc::strong_count(&value), 2);
    handle.cancel();
    assert_eq!(
        Rc::strong_count(&value),
        1,
        "a cancelled callback lets go at once"
    );
    executor.run_until_idle();
}

#[test]
fn keys_that_are_not_statics_are_told_apart() {
    let keys: Vec<_> = (0..3).map(|_| TaskLocal::<u8>::new()).collect();
    keys[0].sync_scope(0, || {
        keys[1].sync_scope(1, || {
            assert_eq!(
                keys.iter().map(TaskLocal::get).collect::<Vec<_>>(),
                [Some(0), Some(1), None]
            );
        });
    });
    assert!(format!("{:?}", keys[0]).contains("of: u8"));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut finished = pin!(keys[0].scope(0, ready(())));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(finished.as_mut().poll(&mut cx).is_ready());
        let _ = finished.as_mut().poll(&mut cx);
    }));
    assert!(panicked.is_err());
}
