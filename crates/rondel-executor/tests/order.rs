//! The order in which things run, and that each wake leads to one poll.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use harness::{Gate, Log, count_polls, here, poll_once, yield_now};
use rondel_executor::{BatchEnd, Callback, Executor};

#[test]
fn callbacks_and_tasks_stand_in_one_line() {
    let (executor, log) = (Executor::new(), Log::new());
    for round in 0..3 {
        let (task, callback) = (log.clone(), log.clone());
        executor
            .spawn(async move { task.add(format!("task {round}")) })
            .detach();
        executor.call_soon(move || callback.add(format!("callback {round}")));
    }
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        [
            "task 0",
            "callback 0",
            "task 1",
            "callback 1",
            "task 2",
            "callback 2"
        ]
    );
}

#[test]
fn what_is_scheduled_while_running_goes_behind() {
    let (executor, log) = (Executor::new(), Log::new());
    let first = log.clone();
    executor.call_soon(move || {
        first.add("first");
        let (task, callback) = (first.clone(), first.clone());
        here()
            .spawn(async move { task.add("task of first") })
            .detach();
        here().call_soon(move || callback.add("callback of first"));
    });
    let second = log.clone();
    executor
        .spawn(async move {
            second.add("second");
            let callback = second.clone();
            here().call_soon(move || callback.add("callback of second"));
            yield_now().await;
            second.add("second again");
        })
        .detach();
    let third = log.clone();
    executor.call_soon(move || third.add("third"));
    executor.run_until_idle();
    assert_eq!(
        log.take(),
        [
            "first",
            "second",
            "third",
            "task of first",
            "callback of first",
            "callback of second",
            "second again"
        ]
    );
}

#[test]
fn wakes_keep_their_order() {
    let (executor, log) = (Executor::new(), Log::new());
    let gates: Vec<_> = (0..4).map(|_| Gate::new()).collect();
    for (index, gate) in gates.iter().enumerate() {
        let (gate, log) = (gate.clone(), log.clone());
        executor
            .spawn(async move {
                gate.wait().await;
                log.add(index);
            })
            .detach();
    }
    executor.run_until_idle();
    for index in [2, 0, 3, 1] {
        gates[index].open();
    }
    let callback = log.clone();
    executor.call_soon(move || callback.add("callback"));
    executor.run_until_idle();
    assert_eq!(log.take(), ["2", "0", "3", "1", "callback"]);
}

#[test]
fn yielding_tasks_take_turns() {
    let (executor, log) = (Executor::new(), Log::new());
    for name in ["a", "b", "c"] {
        let log = log.clone();
        executor
            .spawn(async move {
                for _ in 0..3 {
                    log.add(name);
                    yield_now().await;
                }
            })
            .detach();
    }
    executor.run_until_idle();
    assert_eq!(log.take(), ["a", "b", "c", "a", "b", "c", "a", "b", "c"]);
}

#[test]
fn a_task_is_polled_once_for_each_wake() {
    let executor = Executor::new();
    let gate = Gate::new();
    let waiting = gate.clone();
    let (future, polls) = count_polls(Box::pin(async move {
        for _ in 0..5 {
            waiting.wait().await;
        }
    }));
    let task = executor.spawn(future);
    assert_eq!(polls.get(), 0);
    for expected in 1..=5 {
        executor.run_until_idle();
        executor.run_until_idle();
        assert_eq!(polls.get(), expected);
        gate.open();
    }
    executor.run_until_idle();
    assert_eq!(polls.get(), 6);
    assert!(task.is_finished());
}

/// Pending until it has been polled that many times; leaves its latest waker.
fn leave_waker(times: usize) -> (impl Future<Output = ()> + Unpin, Rc<RefCell<Option<Waker>>>) {
    let place = Rc::new(RefCell::new(None));
    let left = Rc::clone(&place);
    let mut polls = 0;
    let future = poll_fn(move |cx| {
        polls += 1;
        *left.borrow_mut() = Some(cx.waker().clone());
        if polls < times {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    });
    (future, place)
}

#[test]
fn many_wakes_before_a_poll_are_one() {
    let executor = Executor::new();
    let (future, waker) = leave_waker(100);
    let (future, polls) = count_polls(future);
    executor.spawn(future).detach();
    executor.run_until_idle();
    let waker = waker.borrow().clone().unwrap();
    for _ in 0..10 {
        waker.wake_by_ref();
    }
    let another = waker.clone();
    another.wake();
    executor.run_until_idle();
    assert_eq!(polls.get(), 2);
    waker.wake();
    executor.run_until_idle();
    assert_eq!(polls.get(), 3);
}

#[test]
fn a_wake_while_the_task_waits_for_its_first_poll_adds_none() {
    let executor = Executor::new();
    let (future, waker) = leave_waker(100);
    let (future, polls) = count_polls(future);
    executor.spawn(future).detach();
    executor.run_until_idle();
    let waker = waker.borrow().clone().unwrap();
    waker.wake_by_ref();
    assert_eq!(executor.spawner().ready_len(), 1);
    waker.wake_by_ref();
    assert_eq!(executor.spawner().ready_len(), 1);
    executor.run_until_idle();
    assert_eq!(polls.get(), 2);
}

#[test]
fn wakes_during_a_poll_lead_to_one_more_behind_the_others() {
    let (executor, log) = (Executor::new(), Log::new());
    let mut first = true;
    let task = log.clone();
    let (future, polls) = count_polls(poll_fn(move |cx| {
        task.add("polled");
        if !std::mem::replace(&mut first, false) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        let another = cx.waker().clone();
        another.wake();
        let callback = task.clone();
        // After the wakes, and yet before the poll: the task is put into the line when its poll is over.
        here().call_soon(move || callback.add("callback"));
        Poll::Pending
    }));
    executor.spawn(future).detach();
    executor.run_until_idle();
    assert_eq!(log.take(), ["polled", "callback", "polled"]);
    assert_eq!(polls.get(), 2);
}

#[test]
fn a_wake_in_the_last_poll_or_later_does_nothing() {
    let executor = Executor::new();
    let (future, waker) = leave_waker(1);
    let (future, polls) = count_polls(future);
    let task = executor.spawn(future);
    let waking = executor.spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(())
    }));
    executor.run_until_idle();
    assert!(task.is_finished() && waking.is_finished());
    let waker = waker.borrow_mut().take().unwrap();
    waker.wake_by_ref();
    assert!(!executor.has_ready());
    task.into_result().unwrap().unwrap();
    waker.wake_by_ref();
    drop(executor);
    waker.wake();
    assert_eq!(polls.get(), 1);
}

#[test]
fn the_awaiter_comes_after_the_done_callbacks_and_what_was_ready() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let waiting = gate.clone();
    let child = executor.spawn(async move { waiting.wait().await });
    let done = log.clone();
    child.on_done(move |_| done.add("done-callback"));
    let parent = log.clone();
    executor
        .spawn(async move {
            child.await.unwrap();
            parent.add("parent");
        })
        .detach();
    executor.run_until_idle();
    gate.open();
    let callback = log.clone();
    executor.call_soon(move || callback.add("callback"));
    executor.run_until_idle();
    assert_eq!(log.take(), ["callback", "done-callback", "parent"]);
}

#[test]
fn batches_stop_where_they_are_told_and_go_on_there() {
    let (executor, log) = (Executor::new(), Log::new());
    for index in 0..5 {
        let log = log.clone();
        executor.call_soon(move || log.add(index));
    }
    let turn = executor.enter().unwrap();
    let mut left = 2;
    let stopped = turn.run_batch(|| {
        left -= 1;
        left > 0
    });
    assert_eq!(stopped, BatchEnd::Stopped);
    assert_eq!(log.take(), ["0", "1"]);
    assert!(executor.has_ready());
    assert_eq!(turn.run_batch(|| true), BatchEnd::Dry);
    assert_eq!(log.take(), ["2", "3", "4"]);
    assert!(!executor.has_ready());
    assert_eq!(turn.executor().alive(), 0);
}

/// Logs its calls.
struct Repeated(Log);

impl Callback for Repeated {
    fn call(self: Rc<Self>) {
        self.0.add("repeated");
    }

    fn site(&self) -> &'static std::panic::Location<'static> {
        std::panic::Location::caller()
    }
}

#[test]
fn a_callback_is_called_as_often_as_it_was_queued() {
    let (executor, log) = (Executor::new(), Log::new());
    let repeated = Rc::new(Repeated(log.clone()));
    let between = log.clone();
    executor.spawner().push(Rc::clone(&repeated) as _);
    executor.call_soon(move || between.add("between"));
    executor.spawner().push(Rc::clone(&repeated) as _);
    executor.run_until_idle();
    assert_eq!(log.take(), ["repeated", "between", "repeated"]);
    assert_eq!(Rc::strong_count(&repeated), 1);
}

#[test]
fn a_cancelled_callback_lets_go_at_once_and_is_not_called() {
    let (executor, log) = (Executor::new(), Log::new());
    let held = log.on_drop("dropped");
    let called = log.clone();
    let line = line!() + 1;
    let handle = executor.call_soon(move || {
        called.add("called");
        drop(held);
    });
    assert_eq!(handle.scheduled_at().line(), line);
    assert!(handle.is_pending() && !handle.cancelled());
    assert!(handle.clone().cancel());
    assert_eq!(log.take(), ["dropped"]);
    assert!(!handle.cancel());
    assert!(handle.cancelled() && !handle.is_pending());
    executor.run_until_idle();
    assert!(log.take().is_empty());
}

#[test]
fn a_callback_that_runs_or_has_run_cannot_be_cancelled() {
    let executor = Executor::new();
    let slot: Rc<RefCell<Option<rondel_executor::Handle>>> = Rc::default();
    let inside = Rc::clone(&slot);
    let in_time = Rc::new(Cell::new(true));
    let told = Rc::clone(&in_time);
    let handle = executor.call_soon(move || {
        let own = inside.take().unwrap();
        assert!(!own.is_pending());
        told.set(own.cancel());
    });
    *slot.borrow_mut() = Some(handle.clone());
    executor.run_until_idle();
    assert!(!in_time.get());
    assert!(!handle.cancel());
    assert!(!handle.cancelled() && !handle.is_pending());
}

#[test]
fn only_what_becomes_ready_between_turns_nudges_once_an_entry() {
    let nudges = Rc::new(Cell::new(0));
    let count = Rc::clone(&nudges);
    let executor = Executor::builder()
        .nudge(move || count.set(count.get() + 1))
        .build();
    let gate = Gate::new();
    let waiting = gate.clone();
    executor.call_soon(|| {
        here().call_soon(|| {});
    });
    executor
        .spawn(async move {
            yield_now().await;
            waiting.wait().await;
        })
        .detach();
    assert_eq!(nudges.replace(0), 2);
    executor.run_until_idle();
    assert_eq!(nudges.get(), 0);
    gate.open();
    assert_eq!(nudges.replace(0), 1);
    let turn = executor.enter().unwrap();
    executor.call_soon(|| {});
    drop(turn);
    assert_eq!(nudges.get(), 0);
    executor.run_until_idle();
    assert_eq!(nudges.get(), 0);
}

#[test]
fn nothing_on_the_own_thread_notifies() {
    let notified = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&notified);
    let executor = Executor::builder()
        .notify(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .build();
    let gate = Gate::new();
    let waiting = gate.clone();
    let task = executor.spawn(async move { waiting.wait().await });
    executor.remote().call_soon(|| {}).unwrap();
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert!(task.is_finished());
    assert_eq!(notified.load(Ordering::Relaxed), 0);
    executor.remote().notify();
    assert_eq!(notified.load(Ordering::Relaxed), 1);
}

#[test]
fn executors_on_one_thread_keep_to_themselves() {
    let (left, right, log) = (Executor::new(), Executor::new(), Log::new());
    let (in_left, in_right) = (log.clone(), log.clone());
    let gate = Gate::new();
    let waiting = gate.clone();
    let child = left.spawn(async move {
        waiting.wait().await;
        in_left.add("left");
        7
    });
    let parent = right.spawn(async move {
        in_right.add("right");
        child.await.unwrap()
    });
    right.run_until_idle();
    assert_eq!(log.take(), ["right"]);
    left.run_until_idle();
    gate.open();
    assert!(left.has_ready() && !right.has_ready());
    right.run_until_idle();
    assert!(log.take().is_empty());
    left.run_until_idle();
    assert_eq!(log.take(), ["left"]);
    assert!(right.has_ready());
    right.run_until_idle();
    assert_eq!(parent.into_result().unwrap().unwrap(), 7);
}

#[test]
fn a_turn_inside_a_turn_of_another_executor_gives_it_back() {
    let (outer, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    outer
        .spawn(async move {
            let inner = Executor::new();
            let inside = logged.clone();
            inner
                .spawn(async move { inside.add(harness::running().unwrap()) })
                .named("inner")
                .detach();
            let callback = logged.clone();
            inner.call_soon(move || callback.add(format!("{:?}", harness::running())));
            inner.run_until_idle();
            logged.add(harness::running().unwrap());
            let still_outer = logged.clone();
            here().call_soon(move || still_outer.add("of outer"));
            assert!(!inner.has_ready());
        })
        .named("outer")
        .detach();
    outer.run_until_idle();
    assert_eq!(log.take(), ["inner", "None", "outer", "of outer"]);
}

#[test]
fn polling_a_task_handle_with_many_wakers_wakes_the_last() {
    let executor = Executor::new();
    let gate = Gate::new();
    let waiting = gate.clone();
    let mut task = executor.spawn(async move { waiting.wait().await });
    assert!(poll_once(std::pin::Pin::new(&mut task)).is_pending());
    let count = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(std::pin::Pin::new(&mut task).poll(&mut cx).is_pending());
    executor.run_until_idle();
    gate.open();
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    executor.run_until_idle();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl std::task::Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
