//! Closing: everything is dropped, once, at home, and what comes later does no harm.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::mem::forget;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use harness::{Alive, Gate, Log, executor, here, hold, on_drop, yield_now};
use rondel_executor::{Closed, Executor, JoinError, LoopBound, Spawner, Task, ThreadId};

/// How many times the races are run.
const ROUNDS: usize = 300;

#[track_caller]
fn cancelled<T: std::fmt::Debug>(task: Task<T>) {
    let outcome = task.into_result().expect("the task is done");
    assert!(matches!(outcome, Err(JoinError::Cancelled)), "{outcome:?}");
}

#[test]
fn tasks_are_cancelled_and_counted() {
    let (executor, log) = (Executor::new(), Log::new());
    let finished = executor.spawn(ready(1));
    let suspended = executor.spawn(hold(log.on_drop("suspended")));
    executor.run_until_idle();
    let not_begun = executor.spawn(hold(log.on_drop("not begun")));
    let gate = Gate::new();
    let waiting = gate.wait();
    let held = log.on_drop("callback");
    executor.call_soon(move || drop(held));
    let closed = executor.close();
    assert_eq!((closed.cancelled, closed.leaked), (2, 0));
    assert_eq!(log.take(), ["not begun", "callback", "suspended"]);
    assert_eq!(finished.into_result().unwrap().unwrap(), 1);
    cancelled(suspended);
    cancelled(not_begun);
    assert_eq!(executor.close(), Closed::default());
    assert_eq!(executor.alive(), 0);
    drop(waiting);
}

#[test]
fn a_closed_executor_takes_nothing_more() {
    let (executor, log) = (Executor::new(), Log::new());
    let (spawner, remote) = (executor.spawner(), executor.remote());
    assert!(!remote.is_closed());
    executor.close();
    assert!(remote.is_closed());
    let task = spawner.spawn(hold(log.on_drop("future")));
    assert_eq!(log.take(), ["future"]);
    cancelled(task);
    let held = log.on_drop("closure");
    let handle = spawner.call_soon(move || drop(held));
    assert_eq!(log.take(), ["closure"]);
    assert!(handle.cancelled());
    assert!(remote.call_soon(|| ()).is_err());
    assert!(remote.spawn(ready(())).is_err());
    let away = remote.clone();
    thread::spawn(move || {
        assert!(away.call_soon(|| ()).is_err());
        assert!(away.spawn(ready(())).is_err());
    })
    .join()
    .unwrap();
    executor.run_until_idle();
    assert!(!executor.has_ready());
    assert_eq!((executor.alive(), executor.leaked()), (0, 0));
    drop(executor);
    // The spawner may outlive it.
    cancelled(spawner.spawn(pending::<()>()));
    assert!(spawner.tasks().is_empty());
    assert_eq!(
        remote.call_soon(|| ()).unwrap_err().to_string(),
        "the executor is closed"
    );
}

#[test]
fn awaiting_a_task_of_a_dropped_executor_ends() {
    let outer = Executor::new();
    let inner = Executor::new();
    let task = inner.spawn(pending::<()>());
    inner.run_until_idle();
    let parent = outer.spawn(task);
    outer.run_until_idle();
    assert!(!parent.is_finished());
    drop(inner);
    outer.run_until_idle();
    assert!(matches!(
        parent.into_result().unwrap(),
        Ok(Err(JoinError::Cancelled))
    ));
}

#[test]
fn it_is_refused_during_a_turn() {
    let executor = Rc::new(Executor::new());
    let (inside, refused) = (Rc::clone(&executor), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&refused);
    executor.call_soon(move || {
        assert_eq!(inside.close(), Closed::default());
        counted.set(counted.get() + 1);
    });
    let inside = Rc::clone(&executor);
    let task = executor.spawn(async move {
        assert_eq!(inside.close(), Closed::default());
        yield_now().await;
        inside.close();
        here().spawn(ready(7)).await.unwrap()
    });
    executor.run_until_idle();
    assert_eq!(refused.get(), 1);
    assert_eq!(task.into_result().unwrap().unwrap(), 7);
    assert!(!executor.remote().is_closed());
}

#[test]
fn destructors_may_use_the_executor_that_closes() {
    let losses = harness::Losses::default();
    let nudges = Rc::new(Cell::new(0));
    let nudged = Rc::clone(&nudges);
    let executor = Rc::new(
        losses
            .builder()
            .nudge(move || nudged.set(nudged.get() + 1))
            .build(),
    );
    let log = Log::new();
    let user = |name: &'static str| {
        let (executor, log) = (Rc::downgrade(&executor), log.clone());
        on_drop(move || {
            let executor = executor.upgrade().unwrap();
            assert!(Spawner::current().is_some());
            let late = executor.spawn(hold(log.on_drop(format!("{name}: spawned late"))));
            cancelled(late);
            let held = log.on_drop(format!("{name}: called late"));
            executor.call_soon(move || drop(held));
            executor.cancel_all();
            executor.run_until_idle();
            assert!(executor.enter().is_none(), "it is closing");
            assert_eq!(executor.close(), Closed::default());
            let _ = executor.tasks();
            log.add(name);
        })
    };
    let suspended = executor.spawn(hold(user("suspended")));
    executor.run_until_idle();
    let not_begun = executor.spawn(hold(user("not begun")));
    let held = user("callback");
    executor.call_soon(move || drop(held));
    nudges.set(0);
    executor.close();
    assert_eq!(nudges.get(), 0, "nobody is told of what is dropped");
    let mut log = log.take();
    log.sort();
    assert_eq!(
        log,
        [
            "callback",
            "callback: called late",
            "callback: spawned late",
            "not begun",
            "not begun: called late",
            "not begun: spawned late",
            "suspended",
            "suspended: called late",
            "suspended: spawned late"
        ]
    );
    assert!(losses.is_empty(), "{:?}", losses.take());
    cancelled(suspended);
    cancelled(not_begun);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn callbacks_are_dropped_though_somebody_holds_their_handles() {
    let (executor, log) = (Executor::new(), Log::new());
    let held = log.on_drop("held by a callback");
    let handle = executor.call_soon(move || drop(held));
    // A callback that holds its own handle, as a self-repeating one does.
    let own: Rc<RefCell<Option<rondel_executor::Handle>>> = Rc::default();
    let (inside, in_cycle) = (Rc::clone(&own), log.on_drop("held in a cycle"));
    *own.borrow_mut() = Some(executor.call_soon(move || drop((inside, in_cycle))));
    drop(own);
    executor.close();
    assert_eq!(log.take(), ["held by a callback", "held in a cycle"]);
    assert!(handle.cancelled() && !handle.is_pending());
}

#[test]
fn tasks_that_hold_each_other_are_taken_apart() {
    let (executor, log) = (Executor::new(), Log::new());
    let slots: [Rc<RefCell<Option<Task<()>>>>; 2] = Default::default();
    for index in 0..2 {
        let other = Rc::clone(&slots[1 - index]);
        let held = log.on_drop(index);
        let task = executor.spawn(async move {
            let _held = held;
            yield_now().await;
            let other = other.take();
            other.unwrap().await.unwrap();
        });
        *slots[index].borrow_mut() = Some(task);
    }
    executor.run_until_idle();
    assert_eq!(executor.close().cancelled, 2);
    let mut dropped = log.take();
    dropped.sort();
    assert_eq!(dropped, ["0", "1"]);
}

#[test]
fn a_task_that_holds_its_executor_goes_with_a_close() {
    let alive = Alive::new();
    let executor = Rc::new(Executor::new());
    let (inside, probe) = (Rc::clone(&executor), alive.probe());
    executor
        .spawn(async move {
            let _held = (inside, probe);
            pending::<()>().await;
        })
        .detach();
    executor.run_until_idle();
    executor.close();
    assert_eq!(alive.count(), 0);
    assert_eq!(Rc::strong_count(&executor), 1);
}

#[test]
fn a_hundred_thousand_suspended_tasks() {
    const MANY: usize = 100_000;
    let (executor, alive) = (Executor::new(), Alive::new());
    for _ in 0..MANY {
        executor.spawn(hold(alive.probe())).detach();
    }
    executor.run_until_idle();
    for _ in 0..1000 {
        executor.spawn(hold(alive.probe())).detach();
    }
    assert_eq!(executor.close().cancelled, MANY + 1000);
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_forgotten_turn_keeps_no_executor_from_closing() {
    let alive = Alive::new();
    let executor = Executor::new();
    executor.spawn(hold(alive.probe())).detach();
    executor.run_until_idle();
    let remote = executor.remote();
    forget(executor.enter());
    assert!(executor.enter().is_none());
    drop(executor);
    assert_eq!(alive.count(), 0);
    assert!(remote.is_closed());
    // Nor is it still the current one.
    assert!(Spawner::current().is_none());
    assert!(Spawner::current_task().is_none());
}

#[test]
fn turns_that_end_in_the_wrong_order_do_no_harm() {
    let place: Rc<RefCell<Vec<rondel_executor::Entered<'static>>>> = Rc::default();
    // Leaked on purpose: a turn borrows its executor, and these outlive every frame.
    let guests: [&'static Executor; 2] = [Box::leak(Box::default()), Box::leak(Box::default())];
    {
        let executor = Executor::new();
        let inside = Rc::clone(&place);
        executor
            .spawn(async move {
                let turns = guests.map(|guest| guest.enter().unwrap());
                inside.borrow_mut().extend(turns);
            })
            .named("long gone")
            .detach();
        executor.run_until_idle();
        assert!(Spawner::current_task().is_none());
    }
    let mut turns = place.take();
    drop(turns.remove(0));
    assert!(Spawner::current().is_none());
    assert!(Spawner::current_task().is_none());
    drop(turns);
    assert!(Spawner::current().is_none());
    assert!(Spawner::current_task().is_none());
    for guest in guests {
        guest.close();
    }
}

#[test]
fn an_executor_in_a_thread_local_is_closed_as_the_thread_ends() {
    thread_local! {
        static EXECUTOR: Executor = Executor::new();
    }
    let alive = Alive::new();
    let probe = alive.probe();
    thread::spawn(move || {
        EXECUTOR.with(|executor| {
            executor.spawn(hold(probe)).detach();
            executor.run_until_idle();
        });
    })
    .join()
    .unwrap();
    assert_eq!(alive.count(), 0);
}

#[test]
fn an_executor_dropped_while_its_thread_panics() {
    let alive = Alive::new();
    let probes = [alive.probe(), alive.probe()];
    thread::spawn(move || {
        let executor = Executor::new();
        let [suspended, not_begun] = probes;
        executor.spawn(hold(suspended)).detach();
        executor.run_until_idle();
        executor.spawn(hold(not_begun)).detach();
        panic!("on purpose");
    })
    .join()
    .unwrap_err();
    assert_eq!(alive.count(), 0);
}

#[test]
fn wakers_outlive_the_executor_here_and_there() {
    let gates = [Gate::new(), Gate::new()];
    let wakers: Vec<_> = {
        let executor = Executor::new();
        let place = Rc::new(RefCell::new(Vec::new()));
        for gate in &gates {
            let (gate, place) = (gate.clone(), Rc::clone(&place));
            executor
                .spawn(async move {
                    std::future::poll_fn(|cx| {
                        place.borrow_mut().push(cx.waker().clone());
                        std::task::Poll::Ready(())
                    })
                    .await;
                    gate.wait().await;
                })
                .detach();
        }
        executor.run_until_idle();
        place.take()
    };
    for gate in &gates {
        gate.open();
    }
    for waker in &wakers {
        waker.wake_by_ref();
        let another = waker.clone();
        another.wake();
    }
    thread::spawn(move || {
        for waker in wakers {
            waker.wake_by_ref();
            let another = waker.clone();
            waker.wake();
            drop(another);
        }
    })
    .join()
    .unwrap();
}

#[test]
fn wakes_from_elsewhere_race_a_close() {
    for round in 0..ROUNDS {
        let alive = Alive::new();
        let start = Arc::new(Barrier::new(3));
        let losses = harness::Losses::default();
        let executor = losses.builder().build();
        let place = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..4 {
            let (place, probe) = (Rc::clone(&place), alive.probe());
            executor
                .spawn(async move {
                    let home = ThreadId::current();
                    let _probe = probe;
                    let _at_home = on_drop(move || assert_eq!(ThreadId::current(), home));
                    std::future::poll_fn(|cx| {
                        place.borrow_mut().push(cx.waker().clone());
                        std::task::Poll::<()>::Pending
                    })
                    .await;
                })
                .detach();
        }
        executor.run_until_idle();
        let wakers = place.take();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (start, wakers) = (Arc::clone(&start), wakers.clone());
                thread::spawn(move || {
                    start.wait();
                    for waker in &wakers {
                        waker.wake_by_ref();
                    }
                    wakers.into_iter().for_each(std::task::Waker::wake);
                })
            })
            .collect();
        drop(wakers);
        start.wait();
        if round % 2 == 0 {
            executor.run_until_idle();
        }
        let closed = executor.close();
        let leaked = executor.leaked();
        drop(executor);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(closed.leaked, leaked);
        assert_eq!(
            alive.count(),
            leaked,
            "dropped at home, or leaked and counted"
        );
        assert!(losses.is_empty(), "{:?}", losses.take());
        assert_eq!(leaked, 0, "a close waits for wakes under way");
    }
}

#[test]
fn what_threads_send_races_a_close() {
    for _ in 0..ROUNDS {
        let alive = Alive::new();
        let start = Arc::new(Barrier::new(3));
        let executor = Executor::new();
        let (remote, spawner) = (executor.remote(), executor.spawner());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (start, remote, alive) = (Arc::clone(&start), remote.clone(), alive.clone());
                let parcels: Vec<_> = (0..4)
                    .map(|_| LoopBound::new(&spawner, Local(alive.probe(), ThreadId::current())))
                    .collect();
                thread::spawn(move || {
                    start.wait();
                    let (mut accepted, mut handles) = (0, Vec::new());
                    for parcel in parcels {
                        let (call, future) = (alive.probe(), alive.probe());
                        accepted += usize::from(remote.call_soon(move || drop(call)).is_ok());
                        handles.extend(remote.spawn(async move {
                            let _probe = future;
                            pending::<()>().await;
                        }));
                        drop(parcel);
                    }
                    for handle in handles {
                        // Each is answered, though nobody is left who could run it.
                        let outcome = handle.result(None);
                        assert!(outcome.is_err());
                    }
                    accepted
                })
            })
            .collect();
        start.wait();
        executor.run_until_idle();
        drop(executor);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(alive.count(), remote.leaked(), "parcels that came too late");
    }
}

/// Must not be dropped away from home.
struct Local(
    #[allow(dead_code, reason = "held")] harness::Probe,
    ThreadId,
);

impl Drop for Local {
    fn drop(&mut self) {
        assert_eq!(ThreadId::current(), self.1);
    }
}

#[test]
fn spawning_goes_on_while_ten_thousand_tasks_are_closed() {
    let (executor, alive) = (Executor::new(), Alive::new());
    for _ in 0..10_000 {
        executor.spawn(hold(alive.probe())).detach();
    }
    executor.run_until_idle();
    let (remote, stop) = (executor.remote(), Arc::new(AtomicBool::new(false)));
    let stopping = Arc::clone(&stop);
    let probes = alive.clone();
    let spawning = thread::spawn(move || {
        while !stopping.load(Ordering::Relaxed) {
            let probe = probes.probe();
            let spawned = remote.spawn(async move {
                let _probe = probe;
                pending::<()>().await;
            });
            if spawned.is_err() {
                break;
            }
        }
    });
    let turn = executor.enter().unwrap();
    while executor.alive() <= 10_000 {
        turn.drain_inbox();
        turn.run_batch(|| true);
    }
    drop(turn);
    executor.close();
    stop.store(true, Ordering::Relaxed);
    spawning.join().unwrap();
    drop(executor);
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_closed_executor_reports_no_more_to_its_sink() {
    let (executor, losses) = executor();
    let task: Task<()> = executor.spawn(async { panic!("unread") });
    executor.run_until_idle();
    executor.close();
    drop(task);
    assert!(losses.is_empty());
}
