//! What is lost inside groups is reported with the chain of children that it came through.
#![cfg(not(rondel_loom))]

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, panic_any};
use std::rc::Rc;
use std::task::Poll;

use futures_util::FutureExt;
use rondel_executor::{Executor, Lost, Spawner, task_group, task_scope};

type Told = Rc<RefCell<Vec<Lost>>>;

fn executor() -> (Executor, Told) {
    let told = Told::default();
    let sink = Rc::clone(&told);
    let executor = Executor::builder()
        .lost(move |lost| sink.borrow_mut().push(lost))
        .build();
    (executor, told)
}

/// The names in the chain of each report.
fn chains(told: &Told) -> Vec<Vec<String>> {
    let name = |child: &rondel_executor::ChildInfo| child.name().unwrap_or("?").to_owned();
    let told = told.take();
    told.iter()
        .map(|lost| lost.groups.iter().map(name).collect())
        .collect()
}

fn wait_once() -> impl Future<Output = ()> {
    let mut waited = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn a_panic_of_a_child_of_a_child_names_both() {
    let (executor, told) = executor();
    executor
        .spawn(task_scope(async |outer| {
            outer.spawn_named("bystander", pending::<()>());
            outer.spawn_named("server", async {
                task_scope(async |inner| {
                    drop(inner.spawn_named("connection", async {
                        wait_once().await;
                        panic!("cut off");
                    }))
                })
                .await;
            });
        }))
        .detach();
    executor.run_until_idle();
    let words: Vec<_> = told.borrow().iter().map(ToString::to_string).collect();
    assert_eq!(chains(&told), [["connection", "server"]]);
    let place = format!(" (in \"connection\" spawned at {}:", file!());
    assert!(words[0].contains(&place), "{words:?}");
    assert!(
        words[0].contains(" (in \"server\" spawned at "),
        "{words:?}"
    );
    assert!(words[0].contains("cut off"), "{words:?}");
}

#[test]
fn a_second_panic_has_a_chain_of_its_own() {
    let (executor, told) = executor();
    executor
        .spawn(task_scope(async |outer| {
            outer.spawn_named("around", async {
                task_scope(async |inner| {
                    inner.spawn_named("first", async { panic!("1") });
                    inner.spawn_named("second", async { panic!("2") });
                })
                .await;
            });
        }))
        .detach();
    executor.run_until_idle();
    assert_eq!(chains(&told), [["second", "around"], ["first", "around"]]);
}

#[test]
fn a_panic_that_somebody_caught_leaves_nothing_behind() {
    let (executor, told) = executor();
    executor
        .spawn(async {
            let group =
                task_scope(async |g| drop(g.spawn_named("caught", async { panic_any(()) })));
            assert!(AssertUnwindSafe(group).catch_unwind().await.is_err());
            let group = task_scope(async |g| drop(g.spawn_named("lost", async { panic_any(()) })));
            group.await;
        })
        .detach();
    executor
        .spawn(async {
            let group = task_scope(async |g| drop(g.spawn_named("caught", async { panic!("1") })));
            assert!(AssertUnwindSafe(group).catch_unwind().await.is_err());
            panic!("2");
        })
        .detach();
    executor.run_until_idle();
    assert_eq!(chains(&told), [vec![], vec!["lost".to_owned()]]);
}

#[test]
fn destructors_of_children_count_as_theirs() {
    struct PanicsOnDrop;
    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let (executor, told) = executor();
    // By the end of the child, by the group's failure, and by the group's own drop.
    executor
        .spawn(task_group(async |g| {
            let held = PanicsOnDrop;
            g.spawn_named("stopped", async move {
                let _held = held;
                pending::<Result<(), ()>>().await
            });
            wait_once().await;
            Err::<(), ()>(())
        }))
        .detach();
    executor.run_until_idle();
    assert_eq!(chains(&told), [["stopped"]]);
    let dropped = executor.spawn(task_scope(async |outer| {
        outer.spawn_named("outer", async {
            let held = PanicsOnDrop;
            task_scope(async |inner| {
                inner.spawn_named("inner", async move {
                    let _held = held;
                    pending::<()>().await;
                });
            })
            .await;
        });
    }));
    executor.run_until_idle();
    dropped.cancel();
    executor.run_until_idle();
    assert_eq!(chains(&told), [["inner", "outer"]]);
}

#[test]
fn the_chain_is_that_of_the_task_that_runs() {
    let (executor, _) = executor();
    let names = || {
        let chain = Spawner::current_children();
        let names = chain
            .iter()
            .map(|child| child.name().unwrap_or("?").to_owned());
        names.collect::<Vec<_>>()
    };
    let task = executor.spawn(async move {
        let around = task_scope(async |g| {
            let body = names();
            let child = g.spawn_named("child", async move {
                let eager = Spawner::current()
                    .unwrap()
                    .spawn_eager(async move { names() });
                (names(), eager.await.unwrap(), names())
            });
            (body, child.await.unwrap(), names())
        });
        (around.await, names())
    });
    executor.run_until_idle();
    let ((body, (before, eager, after), body_after), outside) =
        task.into_result().unwrap().unwrap();
    assert_eq!(before, ["child"]);
    assert_eq!(after, ["child"]);
    assert!([body, eager, body_after, outside].iter().all(Vec::is_empty));
}
