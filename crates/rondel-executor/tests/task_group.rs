//! Task groups: who runs when, who may borrow what, and what is known of the children.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use harness::{Gate, Log, count_polls, on_drop, poll_once, yield_now, yield_times};
use rondel_executor::{Child, Executor, GroupError, JoinError, TaskGroup, task_group, task_scope};

/// Runs a future as a task until nothing is ready; it must have ended by then.
#[track_caller]
fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let executor = Executor::new();
    let task = executor.spawn(future);
    executor.run_until_idle();
    let outcome = task
        .into_result()
        .unwrap_or_else(|task| panic!("hangs: {task:?}"));
    match outcome {
        Ok(output) => output,
        Err(JoinError::Panicked(payload)) => payload.resume(),
        Err(error) => panic!("{error}"),
    }
}

fn failed<R: std::fmt::Debug>(ended: Result<R, GroupError<&'static str>>) -> Vec<&'static str> {
    match ended {
        Err(GroupError::Failed(errors)) => errors.into_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn children_borrow_from_the_frame_around() {
    let ended = run(async {
        let word = String::from("borrowed");
        let mut list = vec![1];
        let sum = Cell::new(0);
        let ended = task_group(async |g| {
            let (word, sum) = (&word, &sum);
            g.spawn(async {
                list.push(2);
                Ok::<_, ()>(())
            });
            let length = g.spawn(async move { Ok(word.len()) });
            g.spawn(async move {
                yield_now().await;
                sum.set(sum.get() + word.len());
                Ok(())
            });
            Ok(length.await.unwrap())
        })
        .await;
        (ended, list, sum.get())
    });
    assert_eq!(ended, (Ok(8), vec![1, 2], 8));
}

#[test]
fn a_body_that_returns_early_waits_for_the_children() {
    let log = Log::new();
    let logged = log.clone();
    let ended = run(async move {
        let ended = task_group(async |g| {
            let child = logged.clone();
            g.spawn(async move {
                yield_times(5).await;
                child.add("child");
                Ok::<_, ()>(())
            });
            logged.add("body");
            Ok("output")
        })
        .await;
        logged.add("group");
        ended
    });
    assert_eq!(ended, Ok("output"));
    assert_eq!(log.take(), ["body", "child", "group"]);
}

#[test]
fn a_group_without_children_is_its_body() {
    assert_eq!(run(task_group(async |_| Ok::<_, ()>(1))), Ok(1));
    assert_eq!(
        failed(run(task_group(async |_| Err::<(), _>("no")))),
        ["no"]
    );
}

/// asyncio H 119: children of children, also while the body has returned.
#[test]
fn children_spawn_children_also_when_the_body_has_returned() {
    fn tree<'env>(g: TaskGroup<'env, ()>, count: &'env Cell<usize>, depth: usize) {
        for _ in 0..3 {
            count.set(count.get() + 1);
            let inner = g.clone();
            g.spawn(async move {
                yield_now().await;
                if depth > 0 {
                    tree(inner, count, depth - 1);
                }
                Ok(())
            });
        }
    }
    let count = run(async {
        let count = Cell::new(0);
        task_group(async |g| {
            tree(g, &count, 3);
            Ok(())
        })
        .await
        .unwrap();
        count.get()
    });
    assert_eq!(count, 3 + 9 + 27 + 81);
}

/// asyncio H 119: finished children are released promptly.
#[test]
fn what_a_child_holds_is_released_when_it_ends_not_when_the_group_does() {
    let log = Log::new();
    let logged = log.clone();
    run(task_group(async move |g| {
        let held = logged.on_drop("released");
        let child = g.spawn(async move {
            drop(held);
            Ok::<_, ()>([0; 100])
        });
        child.await.unwrap();
        let inner = on_drop({
            let logged = logged.clone();
            move || logged.add("the future itself")
        });
        let mut inner = Some(inner);
        g.spawn(std::future::poll_fn(move |_| {
            // Kept by the future, which has no frame to clear.
            let _ = &mut inner;
            Poll::Ready(Ok(()))
        }));
        yield_now().await;
        assert_eq!(g.len(), 0);
        logged.add("body");
        Ok(())
    }))
    .unwrap();
    assert_eq!(log.take(), ["released", "the future itself", "body"]);
}

#[test]
fn spawned_into_a_closed_group_a_future_is_dropped_at_once() {
    let log = Log::new();
    let logged = log.clone();
    run(async move {
        let mut kept = None;
        task_group(async |g| {
            kept = Some(g.clone());
            Ok::<_, ()>(())
        })
        .await
        .unwrap();
        let kept = kept.unwrap();
        assert!(kept.is_closed());
        let held = logged.on_drop("dropped");
        let child = kept.spawn(async move {
            let _held = held;
            Ok(())
        });
        logged.add("spawned");
        assert!(child.is_finished());
        assert!(!child.cancel());
        assert!(child.await.is_err());
        kept.cancel();
    });
    assert_eq!(log.take(), ["dropped", "spawned"]);
}

#[test]
fn waking_a_child_polls_neither_siblings_nor_body() {
    let gates: Vec<_> = (0..100).map(|_| Gate::new()).collect();
    let mut counts = Vec::new();
    let mut children = Vec::new();
    for gate in &gates {
        let mut waiting = gate.wait();
        let (child, count) = count_polls(Box::pin(async move {
            (&mut waiting).await;
            pending::<Result<(), ()>>().await
        }));
        children.push(child);
        counts.push(count);
    }
    let (mut body, body_polls) = count_polls(pending::<()>());
    let executor = Executor::new();
    let task = executor.spawn(task_group(async move |g| {
        for child in children {
            g.spawn(child);
        }
        (&mut body).await;
        Ok(())
    }));
    executor.run_until_idle();
    let all = |counts: &[Rc<Cell<usize>>]| counts.iter().map(|c| c.get()).collect::<Vec<_>>();
    assert_eq!(all(&counts), vec![1; 100]);
    gates[17].open();
    executor.run_until_idle();
    let mut expected = vec![1; 100];
    expected[17] = 2;
    assert_eq!(all(&counts), expected);
    assert_eq!(body_polls.get(), 1);
    task.cancel();
    executor.run_until_idle();
}

#[test]
fn a_poll_runs_only_the_batch_that_was_there_and_wakes_itself_for_the_rest() {
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let mut group = pin!(task_group(async move |g| {
        g.spawn(async move {
            loop {
                count.set(count.get() + 1);
                yield_now().await;
            }
            #[allow(unreachable_code)]
            Ok::<(), ()>(())
        });
        Ok(())
    }));
    // The first poll runs the body alone, the next ones the child, once each.
    for n in 0..5 {
        assert!(poll_once(group.as_mut()).is_pending());
        assert_eq!(polls.get(), n);
    }
}

#[test]
fn a_busy_group_does_not_hold_up_the_rest_of_the_program() {
    let executor = Executor::new();
    let task = executor.spawn(task_group(async |g| {
        for _ in 0..3 {
            g.spawn(async {
                loop {
                    yield_now().await;
                }
                #[allow(unreachable_code)]
                Ok::<(), ()>(())
            });
        }
        Ok(())
    }));
    let neighbour = executor.spawn(yield_times(10));
    let turn = executor.enter().unwrap();
    let mut entries = 0;
    turn.run_batch(|| {
        entries += 1;
        entries < 40
    });
    drop(turn);
    assert!(neighbour.is_finished());
    assert!(!task.is_finished());
}

#[test]
fn a_handle_outlives_the_group_and_still_has_the_value() {
    let (child,): (Child<String>,) = run(async {
        let mut kept = None;
        task_group(async |g| {
            kept = Some(g.spawn(async { Ok::<_, ()>(String::from("value")) }));
            Ok(())
        })
        .await
        .unwrap();
        (kept.unwrap(),)
    });
    assert!(child.is_finished());
    let mut child = pin!(child);
    assert_eq!(poll_once(child.as_mut()), Poll::Ready(Ok("value".into())));
    assert!(matches!(poll_once(child), Poll::Ready(Err(_))), "once");
}

#[test]
fn a_scope_gives_plain_outputs() {
    let output = run(async {
        let text = String::from("to be or not");
        task_scope(async |s| {
            let text = &text;
            let words = s.spawn_named("words", async move { text.split(' ').count() });
            assert_eq!(s.children()[0].name(), Some("words"));
            let inner = s.clone();
            s.spawn(async move { inner.spawn(async { "nested" }).await });
            assert_eq!((s.len(), s.is_closed()), (2, false));
            words.await.unwrap()
        })
        .await
    });
    assert_eq!(output, 4);
}

#[test]
fn children_are_listed_with_name_site_and_what_they_wait_for() {
    let executor = Executor::new();
    let group: Rc<RefCell<Option<TaskGroup<'static, ()>>>> = Rc::default();
    let outside = Rc::clone(&group);
    let task = executor.spawn(task_group(async move |g| {
        g.spawn_named(
            "labelled",
            std::future::poll_fn(|_| {
                rondel_executor::Waits::TIME.label(0);
                Poll::<Result<(), ()>>::Pending
            }),
        );
        g.spawn(pending::<Result<(), ()>>());
        *group.borrow_mut() = Some(g);
        pending::<()>().await;
        Ok(())
    }));
    executor.run_until_idle();
    let children = outside.borrow().as_ref().unwrap().children();
    assert_eq!(children.len(), 2);
    assert_eq!(children[0].name(), Some("labelled"));
    assert_eq!(children[0].waits(), rondel_executor::Waits::TIME);
    assert_eq!(
        (children[1].name(), children[1].waits()),
        (None, rondel_executor::Waits::NOTHING)
    );
    let said = children[0].to_string();
    assert!(
        said.starts_with("\"labelled\" spawned at ") && said.contains(file!()),
        "{said}"
    );
    assert_eq!(
        executor.tasks()[0].waits(),
        rondel_executor::Waits::CHILDREN
    );
    let kept = outside.take();
    drop(kept);
    task.cancel();
    executor.run_until_idle();
}

#[test]
fn a_group_polled_with_another_waker_wakes_that_one() {
    let opener = Gate::new();
    let gate = opener.clone();
    let woken = std::sync::Arc::new(Count::default());
    let mut group = pin!(task_group(async move |g| {
        let waiting = gate.wait();
        g.spawn(async move {
            waiting.await;
            Ok::<_, ()>(())
        });
        Ok(())
    }));
    let noop = Waker::noop();
    for waker in [noop, noop] {
        let polled = group.as_mut().poll(&mut Context::from_waker(waker));
        assert!(polled.is_pending());
    }
    let waker = Waker::from(std::sync::Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert!(group.as_mut().poll(&mut cx).is_pending());
    let before = woken.0.load(std::sync::atomic::Ordering::Relaxed);
    opener.open();
    assert_eq!(
        woken.0.load(std::sync::atomic::Ordering::Relaxed),
        before + 1
    );
    assert!(group.as_mut().poll(&mut cx).is_ready());
}

#[derive(Default)]
struct Count(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}
