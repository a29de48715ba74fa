//! Who ran when a counter moved.
#![cfg(not(rondel_loom))]

use std::cell::RefCell;
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use rondel_executor::{BatchEnd, Callback, Executor, Observer, Pulse, Running, Spawner, Took};

/// A counter, and whoever was seen running when it moved.
#[derive(Clone, Default)]
struct Beats {
    beat: Arc<AtomicU32>,
    told: Rc<RefCell<Vec<Running>>>,
}

impl Beats {
    fn pulse(&self) -> Option<Pulse> {
        let told = Rc::clone(&self.told);
        Some(Pulse::new(Arc::clone(&self.beat), move |ran| {
            told.borrow_mut().push(ran.clone());
        }))
    }

    fn beat(&self) {
        self.beat.fetch_add(1, Ordering::Relaxed);
    }

    /// The names of tasks, the lines of callbacks.
    fn take(&self) -> Vec<String> {
        let told = self.told.take();
        told.iter()
            .map(|ran| match ran {
                Running::Task {
                    name: Some(name), ..
                } => name.to_string(),
                Running::Task { id, .. } => format!("Task-{id}"),
                other => other.site().line().to_string(),
            })
            .collect()
    }
}

fn executor() -> (Executor, Beats) {
    let (executor, beats) = (Executor::builder().lost(|_| {}).build(), Beats::default());
    executor.spawner().set_pulse(beats.pulse());
    (executor, beats)
}

#[test]
fn tasks_and_callbacks_are_told_of_and_nobody_else() {
    let (executor, beats) = executor();
    let beat = beats.clone();
    executor.call_soon(|| {});
    let line = line!() + 1;
    executor.call_soon(move || beat.beat());
    executor.spawn(ready(())).detach();
    let beat = beats.clone();
    executor
        .spawn(poll_fn(move |cx| {
            beat.beat();
            // A task that stays, and has no name.
            cx.waker().wake_by_ref();
            if beat.beat.load(Ordering::Relaxed) < 4 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }))
        .detach();
    executor.call_soon(|| {});
    executor.run_until_idle();
    let line = line.to_string();
    assert_eq!(beats.take(), [&*line, "Task-2", "Task-2", "Task-2"]);
    executor.call_soon(|| {});
    executor.run_until_idle();
    assert!(beats.take().is_empty());
}

#[test]
fn a_task_that_has_gone_is_named() {
    let (executor, beats) = executor();
    for name in ["detached", "kept", "cancelled"] {
        let beat = beats.clone();
        let task = executor.spawn(async move { beat.beat() }).named(name);
        match name {
            "kept" => std::mem::forget(task),
            "cancelled" => drop(task.cancel()),
            _ => task.detach(),
        }
    }
    executor.run_until_idle();
    assert_eq!(beats.take(), ["detached", "kept"]);
}

#[test]
fn a_callback_that_panics_is_told_of_instead_of_the_next() {
    struct Panics(Beats);
    impl Callback for Panics {
        fn call(self: Rc<Self>) {
            self.0.beat();
            panic!("callback");
        }
        fn site(&self) -> &'static std::panic::Location<'static> {
            std::panic::Location::caller()
        }
    }
    let (executor, beats) = executor();
    let beat = beats.clone();
    let line = line!() + 1;
    executor.call_soon(move || {
        beat.beat();
        panic!("closure");
    });
    executor.call_soon(|| {});
    let beat = beats.clone();
    executor
        .spawn(async move {
            beat.beat();
            panic!("task");
        })
        .named("panics")
        .detach();
    executor.call_soon(|| {});
    executor.spawner().push(Rc::new(Panics(beats.clone())));
    executor.call_soon(|| {});
    executor.run_until_idle();
    let told = beats.take();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[..2], [line.to_string(), "panics".to_owned()]);
}

#[test]
fn the_main_future_is_told_of() {
    let (executor, beats) = executor();
    let beat = beats.clone();
    let mut future = pin!(Some(async move { beat.beat() }));
    let mut main = executor.main(future.as_mut()).unwrap();
    main.set_name("main");
    let turn = executor.enter().unwrap();
    assert_eq!(turn.run_batch(|| true), BatchEnd::Main);
    assert!(main.poll().is_ready());
    assert_eq!(beats.take(), ["main"]);
}

#[test]
fn it_goes_with_an_observer_and_comes_and_goes_inside_entries() {
    struct Deaf;
    impl Observer for Deaf {
        fn begin(&self, _: &Running) {}
        fn end(&self) -> Option<Took> {
            None
        }
    }
    let (executor, beats) = executor();
    executor.spawner().set_observer(Some(Rc::new(Deaf)));
    let beat = beats.clone();
    executor
        .spawn(async move { beat.beat() })
        .named("both")
        .detach();
    executor.run_until_idle();
    assert_eq!(beats.take(), ["both"]);
    executor.spawner().set_observer(None);
    let beat = beats.clone();
    executor
        .spawn(async move {
            Spawner::current().unwrap().set_pulse(None);
            beat.beat();
        })
        .detach();
    executor.run_until_idle();
    beats.take();
    let beat = beats.clone();
    executor.spawn(async move { beat.beat() }).detach();
    executor.run_until_idle();
    assert!(beats.take().is_empty());
}
