//! Wakes after the close: told of once a task, and only if it was the close that ended it.
#![cfg(not(rondel_loom))]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use rondel_executor::{BatchEnd, Executor, LateWake};

type Told = Arc<Mutex<Vec<LateWake>>>;

/// An executor that is watched, and what it was told.
fn watched() -> (Executor, Told) {
    let executor = Executor::new();
    let told = Told::default();
    watch(&executor, &told);
    (executor, told)
}

fn watch(executor: &Executor, told: &Told) {
    let told = Arc::clone(told);
    let handler = move |late: &LateWake| told.lock().unwrap().push(late.clone());
    executor
        .spawner()
        .set_late_wake_handler(Some(Arc::new(handler)));
}

fn words(told: &Told) -> Vec<String> {
    std::mem::take(&mut *told.lock().unwrap())
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Where wakers are left.
#[derive(Clone, Default)]
struct Wakers(Rc<RefCell<Vec<Waker>>>);

impl Wakers {
    /// Leaves the waker it is polled with, so many times, then is ready.
    fn wait(&self, mut times: u32) -> impl Future<Output = &'static str> + use<> {
        let wakers = self.clone();
        poll_fn(move |cx| {
            if times == 0 {
                return Poll::Ready("woken");
            }
            times -= 1;
            wakers.0.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
    }

    fn take(&self) -> Vec<Waker> {
        self.0.take()
    }
}

#[test]
fn a_task_that_the_close_ended_is_told_of_once() {
    let (executor, told) = watched();
    let wakers = Wakers::default();
    let line = line!() + 1;
    let named = executor.spawn(wakers.wait(5));
    named.set_name("sleeper");
    executor.spawn(wakers.wait(5)).detach();
    executor.run_until_idle();
    let wakers = wakers.take();
    drop(executor);
    assert!(words(&told).is_empty(), "nobody has woken them");
    for _ in 0..2 {
        wakers[0].wake_by_ref();
        let another = wakers[0].clone();
        another.wake();
    }
    thread::spawn(move || wakers.into_iter().for_each(Waker::wake))
        .join()
        .unwrap();
    let told = words(&told);
    assert_eq!(told.len(), 2, "{told:?}");
    let place = format!("\"sleeper\" spawned at {}:{line}:", file!());
    assert!(told[0].starts_with(&place), "{told:?}");
    assert!(told[1].starts_with("Task-2 spawned at "), "{told:?}");
}

#[test]
fn tasks_that_ended_before_are_not_told_of() {
    let (executor, told) = watched();
    let wakers = Wakers::default();
    let finished = executor.spawn(wakers.wait(1));
    let cancelled = executor.spawn(wakers.wait(5));
    executor.run_until_idle();
    let late = wakers.take();
    late[0].wake_by_ref();
    cancelled.cancel();
    executor.run_until_idle();
    assert_eq!(finished.into_result().unwrap().unwrap(), "woken");
    assert!(cancelled.is_finished());
    drop(executor);
    late.into_iter().for_each(Waker::wake);
    assert!(words(&told).is_empty());
}

#[test]
fn an_open_executor_is_woken_from_here_and_there() {
    let (executor, told) = watched();
    let wakers = Wakers::default();
    let task = executor.spawn(wakers.wait(3));
    executor.run_until_idle();
    for wake_elsewhere in [true, false, true] {
        let waker = wakers.take().pop().unwrap();
        if wake_elsewhere {
            thread::spawn(move || waker.wake()).join().unwrap();
        } else {
            waker.wake_by_ref();
        }
        executor.run_until_idle();
    }
    assert_eq!(task.into_result().unwrap().unwrap(), "woken");
    assert!(words(&told).is_empty());
}

#[test]
fn the_main_future_is_watched_too() {
    let (executor, told) = watched();
    let wakers = Wakers::default();
    {
        let mut future = pin!(Some(wakers.wait(1)));
        let mut main = executor.main(future.as_mut()).unwrap();
        let turn = executor.enter().unwrap();
        assert_eq!(turn.run_batch(|| true), BatchEnd::Main);
        assert!(main.poll().is_pending());
        wakers.0.borrow()[0].wake_by_ref();
        assert_eq!(turn.run_batch(|| true), BatchEnd::Main);
        assert!(matches!(main.poll(), Poll::Ready(Ok("woken"))));
    }
    drop(executor);
    wakers.take().into_iter().for_each(Waker::wake);
    assert!(words(&told).is_empty(), "it had ended");
}

#[test]
fn a_handler_that_was_taken_away_is_told_nothing() {
    let (executor, told) = watched();
    let wakers = Wakers::default();
    executor.spawn(wakers.wait(5)).detach();
    executor.run_until_idle();
    executor.spawner().set_late_wake_handler(None);
    drop(executor);
    wakers.take().into_iter().for_each(Waker::wake);
    assert!(words(&told).is_empty());
}

#[test]
fn a_handler_that_comes_later_counts_from_the_next_poll() {
    let executor = Executor::new();
    let told = Told::default();
    let wakers = Wakers::default();
    executor.spawn(wakers.wait(5)).detach();
    executor.run_until_idle();
    let before = wakers.take();
    watch(&executor, &told);
    before[0].wake_by_ref();
    executor.run_until_idle();
    let after = wakers.take();
    drop(executor);
    before.into_iter().for_each(Waker::wake);
    assert!(words(&told).is_empty());
    after.into_iter().for_each(Waker::wake);
    assert_eq!(words(&told).len(), 1);
}

#[test]
fn the_waker_of_a_poll_may_be_lent_to_another_thread() {
    let (executor, told) = watched();
    let mut polls = 0;
    let task = executor.spawn(poll_fn(move |cx| {
        polls += 1;
        if polls > 2 {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        let kept = thread::scope(|scope| {
            let other = scope.spawn(|| {
                let kept = waker.clone();
                waker.wake_by_ref();
                kept
            });
            other.join().unwrap()
        });
        thread::spawn(move || drop(kept)).join().unwrap();
        Poll::Pending
    }));
    while !task.is_finished() {
        executor.run_until_idle();
    }
    assert!(task.into_result().unwrap().is_ok());
    assert!(words(&told).is_empty());
}

#[test]
fn what_the_close_itself_wakes_is_not_late() {
    struct WakeOnDrop(Wakers);
    impl Drop for WakeOnDrop {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(Waker::wake);
        }
    }
    let (executor, told) = watched();
    let wakers = Wakers::default();
    let waking = WakeOnDrop(wakers.clone());
    let wait = wakers.wait(5);
    executor
        .spawn(async move {
            let _waking = waking;
            wait.await
        })
        .detach();
    executor.spawn(wakers.wait(5)).detach();
    executor.run_until_idle();
    drop(executor);
    assert!(words(&told).is_empty());
}
