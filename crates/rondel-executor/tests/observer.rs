//! Who is told of what runs, and what is noted of it.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use harness::{here, yield_now};
use rondel_executor::{BatchEnd, Executor, Observer, Running, Took};

/// Writes down what it is told. Its clock goes forward by a second with each entry that begins.
struct Notes {
    start: Instant,
    seconds: Cell<u64>,
    lines: RefCell<Vec<String>>,
}

impl Notes {
    fn watch(executor: &Executor) -> Rc<Self> {
        let notes = Rc::new(Self {
            start: Instant::now(),
            seconds: Cell::new(0),
            lines: RefCell::default(),
        });
        let before = executor.spawner().set_observer(Some(notes.clone()));
        assert!(before.is_none());
        notes
    }

    fn lines(&self) -> Vec<String> {
        self.lines.take()
    }
}

impl Observer for Notes {
    fn begin(&self, entry: &Running) {
        let kind = match entry {
            Running::Task { id, name: None, .. } => format!("task {id}"),
            Running::Task {
                name: Some(name), ..
            } => name.to_string(),
            _ => format!("line {}", entry.site().line()),
        };
        self.lines.borrow_mut().push(kind);
    }

    fn end(&self) -> Option<Took> {
        let before = self.seconds.replace(self.seconds.get() + 1);
        self.lines.borrow_mut().push("end".into());
        Some(Took {
            since: self.start + Duration::from_secs(before),
            time: Duration::from_secs(1),
        })
    }
}

#[test]
fn every_entry_is_announced_and_ended() {
    let executor = Executor::new();
    let notes = Notes::watch(&executor);
    executor.spawn(yield_now()).detach();
    let line = line!() + 1;
    executor.call_soon(|| {});
    executor.spawn(async {}).named("named").detach();
    executor.run_until_idle();
    let callback = format!("line {line}");
    let expected = [
        "task 1", "end", &callback, "end", "named", "end", "task 1", "end",
    ];
    assert_eq!(notes.lines(), expected);
    executor.spawner().set_observer(None);
    executor.call_soon(|| {});
    executor.run_until_idle();
    assert!(notes.lines().is_empty(), "nobody observes any more");
}

#[test]
fn the_main_future_is_announced_too() {
    let executor = Executor::new();
    let notes = Notes::watch(&executor);
    let mut future = pin!(Some(yield_now()));
    let mut main = executor.main(future.as_mut()).unwrap();
    let turn = executor.enter().unwrap();
    while turn.run_batch(|| true) == BatchEnd::Main {
        if main.poll().is_ready() {
            break;
        }
    }
    assert_eq!(notes.lines(), ["task 1", "end", "task 1", "end"]);
    assert_eq!(main.info().account().unwrap().polls(), 2);
}

#[test]
fn a_panic_ends_the_entry() {
    let executor = Executor::builder().lost(|_| {}).build();
    let notes = Notes::watch(&executor);
    executor.call_soon(|| panic!("on purpose"));
    executor.spawn(async { panic!("on purpose") }).detach();
    executor.run_until_idle();
    let lines = notes.lines();
    assert_eq!(lines.len(), 4);
    assert_eq!((&*lines[1], &*lines[3]), ("end", "end"));
}

#[test]
fn accounts_add_up() {
    let executor = Executor::new();
    let early = executor.spawn(pending::<()>());
    executor.run_until_idle();
    assert!(early.info().unwrap().account().is_none(), "nobody observed");
    let notes = Notes::watch(&executor);
    let task = executor.spawn(async {
        let child = here().spawn(async {});
        let parent = child.info().unwrap().account().unwrap().spawned_by();
        yield_now().await;
        yield_now().await;
        parent
    });
    executor.run_until_idle();
    let account = *task.info().unwrap().account().unwrap();
    assert_eq!(account.polls(), 3);
    assert_eq!(account.spent(), Duration::from_secs(3));
    assert_eq!(account.longest(), Duration::from_secs(1));
    assert_eq!(account.since(), Some(notes.start));
    assert_eq!(account.spawned_by(), None);
    let id = task.id();
    assert_eq!(task.into_result().unwrap().unwrap(), Some(id));
}

#[test]
fn who_awaits_whom_is_noted_and_forgotten() {
    let executor = Executor::new();
    let _notes = Notes::watch(&executor);
    let job = Rc::new(RefCell::new(executor.spawn(yield_twice())));
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let job = Rc::clone(&job);
            executor.spawn(async move {
                let done = std::future::poll_fn(|cx| pin!(job.borrow().done()).poll(cx));
                done.await;
            })
        })
        .collect();
    let direct = executor.spawn(yield_twice());
    let awaited = direct.id();
    let boss = executor.spawn(direct);
    let turn = executor.enter().unwrap();
    let mut left = 5;
    turn.run_batch(|| {
        left -= 1;
        left > 0
    });
    drop(turn);
    let infos = executor.tasks();
    let of = |id| infos.iter().find(|info| info.id() == id).unwrap();
    assert_eq!(of(awaited).awaited_by(), [boss.id()]);
    let ids: Vec<_> = waiters.iter().map(rondel_executor::Task::id).collect();
    assert_eq!(of(job.borrow().id()).awaited_by(), ids);
    executor.run_until_idle();
    assert!(job.borrow().info().unwrap().awaited_by().is_empty());
}

async fn yield_twice() {
    yield_now().await;
    yield_now().await;
}

#[test]
fn an_observer_that_comes_or_goes_inside_an_entry_does_no_harm() {
    let executor = Executor::new();
    let notes = Notes::watch(&executor);
    let gone = Rc::clone(&notes);
    executor.call_soon(move || {
        let observer = here().set_observer(None);
        drop(observer);
        drop(gone);
    });
    executor.call_soon(|| {});
    executor.run_until_idle();
    // It hears the batch to its end.
    assert_eq!(notes.lines().len(), 4);
    assert_eq!(Rc::strong_count(&notes), 1);
    executor.close();
    let refused = executor.spawner().set_observer(Some(notes.clone()));
    assert!(refused.is_some(), "a closed executor runs nothing");
    let torn = catch_unwind(AssertUnwindSafe(|| drop(executor)));
    assert!(torn.is_ok());
}
