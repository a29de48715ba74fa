//! Spans of `tracing`: of tasks, children, callbacks.

mod recorder;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use recorder::Recorder;
use rondel_executor::{BatchEnd, Executor, JoinError, Spawner, defer, task_group};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, info, info_span, subscriber};

#[track_caller]
fn here() -> &'static Location<'static> {
    Location::caller()
}

async fn yield_once() {
    let mut first = true;
    poll_fn(|cx| {
        if std::mem::take(&mut first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// What `recorder` has written of the tasks; without what tokio-console is told.
fn lines(recorder: &Recorder) -> Vec<String> {
    let mut lines = recorder.take();
    lines.retain(|line| !line.contains("runtime.") && !line.contains("op="));
    lines
}

#[test]
fn what_a_task_says_carries_its_name_number_and_place_and_each_poll_is_entered_once() {
    let recorder = Recorder::new(Level::DEBUG);
    subscriber::with_default(recorder.clone(), || {
        let executor = Executor::new();
        let (task, line) = (
            executor.spawn(async {
                info!("first");
                yield_once().await;
                info!("second");
            }),
            here().line(),
        );
        let line = line - 5;
        let task = task.named("talker");
        executor.run_until_idle();
        let place = format!("{}:{line}:22", file!());
        assert_eq!(
            lines(&recorder),
            [
                &format!("new 1 task id=1 name=\"talker\" kind=\"task\" spawned_at={place}"),
                "enter 1 task",
                "event [1 task] first",
                "exit 1 task",
                "enter 1 task",
                "event [1 task] second",
                "exit 1 task",
                // Though its handle is still there.
                "close 1 task",
            ]
        );
        assert!(task.is_finished());
    });
    assert_eq!(recorder.open(), 0);
}

#[test]
fn a_task_follows_from_what_was_current_where_it_was_spawned() {
    let recorder = Recorder::new(Level::DEBUG);
    subscriber::with_default(recorder.clone(), || {
        let executor = Executor::new();
        let request = info_span!("request").in_scope(|| executor.spawn(async { info!("handled") }));
        executor.run_until_idle();
        assert!(request.is_finished());
    });
    let lines = lines(&recorder);
    // Held until the task has begun, and not until it ends: its parent it is not.
    assert_eq!(
        lines[..4],
        [
            "new 1 request",
            "enter 1 request",
            "exit 1 request",
            lines[3].as_str(),
        ]
    );
    assert!(lines[3].starts_with("new 2 task "), "{lines:?}");
    assert_eq!(
        lines[4..],
        [
            "2 task follows 1 request",
            "close 1 request",
            "enter 2 task",
            "event [2 task] handled",
            "exit 2 task",
            "close 2 task",
        ]
    );
}

/// Speaks when it is dropped.
struct LastWords(&'static str);

impl Drop for LastWords {
    fn drop(&mut self) {
        info!("{}", self.0);
    }
}

#[test]
fn the_end_of_a_cancelled_task_is_inside_its_span_and_so_is_its_cleanup() {
    let recorder = Recorder::new(Level::DEBUG);
    subscriber::with_default(recorder.clone(), || {
        let executor = Executor::new();
        let task = executor.spawn(async {
            let _cleanup = defer(async { info!("cleaning up") });
            let _words = LastWords("dropped");
            pending::<()>().await;
        });
        executor.run_until_idle();
        recorder.take();
        task.cancel();
        executor.run_until_idle();
        assert!(matches!(task.into_result(), Ok(Err(JoinError::Cancelled))));
    });
    let lines = lines(&recorder);
    assert!(
        lines.contains(&"event [1 task] dropped".to_owned()),
        "{lines:?}"
    );
    let cleanup = lines.iter().find(|line| line.starts_with("new 2 task"));
    assert!(cleanup.unwrap().contains("kind=\"cleanup\""), "{lines:?}");
    assert!(
        lines.contains(&"event [2 task] cleaning up".to_owned()),
        "{lines:?}"
    );
    assert_eq!(recorder.open(), 0);
}

#[test]
fn a_child_of_a_group_is_inside_its_task() {
    let recorder = Recorder::new(Level::DEBUG);
    subscriber::with_default(recorder.clone(), || {
        let executor = Executor::new();
        let task = executor.spawn(task_group(async |group| {
            group.spawn_named("small", async {
                info!("mama");
                Ok::<_, ()>(())
            });
            info!("papa");
            Ok(())
        }));
        executor.run_until_idle();
        task.into_result().unwrap().unwrap().unwrap();
    });
    let lines = lines(&recorder);
    assert!(
        lines[2].starts_with(
            "new 2 child name=\"small\" spawned_at=crates/rondel-executor/tests/spans.rs:"
        ) || lines[2].starts_with("new 2 child name=\"small\" spawned_at=tests/spans.rs:"),
        "{lines:?}"
    );
    let said: Vec<_> = lines.iter().filter(|line| line.contains("event")).collect();
    assert_eq!(
        said,
        ["event [1 task] papa", "event [1 task] [2 child] mama"]
    );
    assert_eq!(recorder.open(), 0);
}

#[test]
fn a_callback_says_where_it_was_scheduled() {
    let recorder = Recorder::new(Level::TRACE);
    subscriber::with_default(recorder.clone(), || {
        let executor = Executor::new();
        executor.call_soon(|| info!("called"));
        executor.call_soon(|| panic!("as a callback may"));
        executor.run_until_idle();
    });
    let lines = recorder.take();
    let place = lines[0]
        .strip_prefix("new 1 callback scheduled_at=")
        .unwrap();
    assert!(place.contains("tests/spans.rs:"), "{place}");
    assert_eq!(
        lines[1..4],
        [
            "enter 1 callback",
            "event [1 callback] called",
            "exit 1 callback"
        ]
    );
    assert_eq!(lines[4], "close 1 callback");
    assert_eq!(
        lines[6..],
        ["enter 2 callback", "exit 2 callback", "close 2 callback"]
    );
}

#[test]
fn the_main_future_is_a_task_and_a_new_name_is_told() {
    let recorder = Recorder::new(Level::DEBUG);
    subscriber::with_default(recorder.clone(), || {
        let executor = Executor::new();
        let mut future = pin!(Some(async {
            yield_once().await;
            info!("done");
        }));
        let mut main = executor.main(future.as_mut()).unwrap();
        let turn = executor.enter().unwrap();
        assert_eq!(turn.run_batch(|| true), BatchEnd::Main);
        assert!(main.poll().is_pending());
        main.set_name("the one");
        assert_eq!(turn.run_batch(|| true), BatchEnd::Main);
        assert!(main.poll().is_ready());
    });
    let lines = lines(&recorder);
    assert!(
        lines[0].contains("name=\"Task-1\" kind=\"main\""),
        "{lines:?}"
    );
    assert_eq!(
        lines[1..],
        [
            "enter 1 task",
            "exit 1 task",
            "record 1 task name=\"the one\"",
            "enter 1 task",
            "event [1 task] done",
            "exit 1 task",
            "close 1 task",
        ]
    );
}

#[test]
fn who_wants_no_more_than_news_gets_no_spans() {
    let recorder = Recorder::new(Level::INFO);
    subscriber::with_default(recorder.clone(), || {
        let executor = Executor::new();
        let task = executor.spawn(async {
            yield_once().await;
            info!("news");
        });
        executor.call_soon(|| info!("more"));
        executor.run_until_idle();
        assert!(task.is_finished());
    });
    assert_eq!(recorder.take(), ["event more", "event news"]);
}

#[test]
fn every_span_ends_with_the_executor() {
    let recorder = Recorder::new(Level::TRACE);
    subscriber::with_default(recorder.clone(), || {
        let kept: RefCell<Option<Waker>> = RefCell::default();
        let executor = Executor::new();
        let kept = Rc::new(kept);
        let keep = Rc::clone(&kept);
        let polled = executor.spawn(poll_fn(move |cx| {
            *keep.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        executor.run_until_idle();
        let unpolled = executor.spawn(pending::<()>());
        assert_eq!(executor.close().cancelled, 2);
        assert!(polled.is_finished() && unpolled.is_finished());
        drop(executor);
        // Harmless, wherever it comes.
        let waker = kept.take().unwrap();
        waker.wake_by_ref();
        std::thread::spawn(move || waker.wake()).join().unwrap();
    });
    assert_eq!(recorder.open(), 0);
}

/// Panics at everything, once it is told to.
struct Grumpy(&'static AtomicBool);

impl Grumpy {
    #[track_caller]
    fn grumble(&self) {
        assert!(!self.0.load(Ordering::Relaxed), "leave me alone");
    }
}

impl Subscriber for Grumpy {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.grumble();
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        self.grumble();
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {
        self.grumble();
    }

    fn event(&self, _: &Event<'_>) {
        self.grumble();
    }

    fn enter(&self, _: &Id) {
        self.grumble();
    }

    fn exit(&self, _: &Id) {
        self.grumble();
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.grumble();
        id.clone()
    }

    fn try_close(&self, _: Id) -> bool {
        self.grumble();
        true
    }
}

#[test]
fn a_subscriber_that_panics_changes_nothing() {
    static GRUMPY: AtomicBool = AtomicBool::new(false);
    for begins in ["at once", "later"] {
        GRUMPY.store(begins == "at once", Ordering::Relaxed);
        subscriber::with_default(Grumpy(&GRUMPY), || {
            let lost = Rc::new(Cell::new(0));
            let count = Rc::clone(&lost);
            let executor = Executor::builder()
                .lost(move |_| count.set(count.get() + 1))
                .build();
            let called = Rc::new(Cell::new(false));
            let note = Rc::clone(&called);
            let task = executor.spawn(async move {
                yield_once().await;
                let child = Spawner::current().unwrap().spawn(async { 2 });
                task_group(async |group| {
                    group.spawn(async {
                        yield_once().await;
                        Ok::<_, ()>(())
                    });
                    Ok(())
                })
                .await
                .unwrap();
                child.await.unwrap()
            });
            let cancelled = executor.spawn(pending::<()>());
            let turn = executor.enter().unwrap();
            turn.run_batch(|| false);
            drop(turn);
            GRUMPY.store(true, Ordering::Relaxed);
            task.set_name("renamed");
            executor.call_soon(move || note.set(true));
            executor.run_until_idle();
            cancelled.cancel();
            executor.run_until_idle();
            assert_eq!(task.into_result().unwrap().unwrap(), 2);
            assert!(called.get());
            assert_eq!((executor.alive(), lost.get()), (0, 0));
        });
    }
}

/// Spawns a task whenever it is told that a span is entered, a few times.
struct Busy {
    entered: Cell<u32>,
    executor: RefCell<Option<Spawner>>,
}

thread_local! {
    static BUSY: Busy = const {
        Busy { entered: Cell::new(0), executor: RefCell::new(None) }
    };
}

struct Reentrant;

impl Subscriber for Reentrant {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        meddle();
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        meddle();
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {
        meddle();
    }

    fn event(&self, _: &Event<'_>) {
        meddle();
    }

    fn enter(&self, _: &Id) {
        meddle();
    }

    fn exit(&self, _: &Id) {
        meddle();
    }

    fn try_close(&self, _: Id) -> bool {
        meddle();
        true
    }
}

fn meddle() {
    BUSY.with(|busy| {
        let spawner = busy.executor.borrow().clone();
        let Some(spawner) = spawner else { return };
        if busy.entered.get() < 200 {
            busy.entered.set(busy.entered.get() + 1);
            drop(spawner.spawn(async { yield_once().await }));
            spawner.tasks();
            spawner.call_soon(|| {});
        }
    });
}

#[test]
fn a_subscriber_may_use_the_executor() {
    subscriber::with_default(Reentrant, || {
        let executor = Executor::new();
        BUSY.with(|busy| *busy.executor.borrow_mut() = Some(executor.spawner()));
        let task = executor.spawn(async {
            yield_once().await;
            7
        });
        task.set_name("seven");
        executor.run_until_idle();
        assert_eq!(task.into_result().unwrap().unwrap(), 7);
        assert_eq!(BUSY.with(|busy| busy.entered.get()), 200);
        assert_eq!(executor.alive(), 0);
        BUSY.with(|busy| busy.executor.take());
    });
}

/// What tokio-console is told.
#[cfg(feature = "tokio-console")]
mod console {
    use super::*;
    use rondel_executor::Waits;

    #[test]
    fn wakers_are_told_of_and_stay_the_same() {
        let recorder = Recorder::new(Level::TRACE);
        let kept: Rc<RefCell<Vec<Waker>>> = Rc::default();
        subscriber::with_default(recorder.clone(), || {
            let executor = Executor::new();
            let keep = Rc::clone(&kept);
            let mut polls = 0;
            let task = executor.spawn(poll_fn(move |cx| {
                let mut kept = keep.borrow_mut();
                assert!(kept.iter().all(|waker| waker.will_wake(cx.waker())));
                kept.push(cx.waker().clone());
                polls += 1;
                match polls {
                    1 => cx.waker().wake_by_ref(),
                    3 => return Poll::Ready(()),
                    _ => {}
                }
                Poll::Pending
            }));
            executor.run_until_idle();
            let waker = kept.borrow_mut().pop().unwrap();
            let recorder = recorder.clone();
            let elsewhere = std::thread::spawn(move || {
                subscriber::with_default(recorder, || waker.wake());
            });
            elsewhere.join().unwrap();
            executor.run_until_idle();
            assert!(task.is_finished());
            kept.take();
        });
        let mut lines = recorder.take();
        lines.retain(|line| line.contains("op="));
        let clone = "event [2 runtime.spawn] [1 task] op=\"waker.clone\" task.id=2";
        let drop = "event op=\"waker.drop\" task.id=2";
        assert_eq!(
            lines,
            [
                clone,
                "event [2 runtime.spawn] [1 task] op=\"waker.wake_by_ref\" task.id=2",
                clone,
                "event op=\"waker.wake\" task.id=2",
                clone,
                drop,
                drop,
            ]
        );
        assert_eq!(recorder.open(), 0);
    }

    #[test]
    fn who_waits_for_the_same_is_at_one_resource_until_it_is_over() {
        let recorder = Recorder::new(Level::TRACE);
        subscriber::with_default(recorder.clone(), || {
            let executor = Executor::new();
            let wait = |number| {
                poll_fn(move |_| {
                    Waits::LOCK.label(number);
                    Poll::<()>::Pending
                })
            };
            let one = executor.spawn(wait(7));
            let two = executor.spawn(wait(7));
            let other = executor.spawn(wait(8));
            executor.run_until_idle();
            let about = |lines: Vec<String>| -> Vec<String> {
                let mut lines = lines;
                lines.retain(|line| {
                    !line.contains(" task ")
                        && !line.contains(" op=\"")
                        && !line.contains("enter")
                        && !line.contains("exit")
                        && !line.contains("runtime.spawn kind")
                });
                lines
            };
            assert_eq!(
                about(recorder.take()),
                [
                    "new 3 runtime.resource concrete_type=\"Lock\" kind=\"Sync\"",
                    "event [2 runtime.spawn] [3 runtime.resource] number=7 number.op=\"override\"",
                    "new 4 runtime.resource.async_op source=\"a lock\"",
                    "event [2 runtime.spawn] [3 runtime.resource] [4 runtime.resource.async_op] op_name=\"wait\" is_ready=false",
                    "new 7 runtime.resource.async_op source=\"a lock\"",
                    "event [6 runtime.spawn] [3 runtime.resource] [7 runtime.resource.async_op] op_name=\"wait\" is_ready=false",
                    "new 10 runtime.resource concrete_type=\"Lock\" kind=\"Sync\"",
                    "event [9 runtime.spawn] [10 runtime.resource] number=8 number.op=\"override\"",
                    "new 11 runtime.resource.async_op source=\"a lock\"",
                    "event [9 runtime.spawn] [10 runtime.resource] [11 runtime.resource.async_op] op_name=\"wait\" is_ready=false",
                ]
            );
            one.cancel();
            executor.run_until_idle();
            assert_eq!(
                about(recorder.take()),
                [
                    "event [2 runtime.spawn] [3 runtime.resource] [4 runtime.resource.async_op] op_name=\"wait\" is_ready=true",
                    "close 4 runtime.resource.async_op",
                    "close 1 task",
                    "close 2 runtime.spawn",
                ]
            );
            two.cancel();
            executor.run_until_idle();
            assert!(
                recorder
                    .take()
                    .contains(&"close 3 runtime.resource".to_owned())
            );
            drop(other);
        });
        assert_eq!(recorder.open(), 0);
    }
}
