//! Values bound to their executor's thread: used there only, dropped there or not at all.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::{Ready, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread;

use harness::{Alive, Losses, Probe, here, on_drop, poll_once, running};
use rondel_executor::{Executor, HomeCell, LoopBound, Spawner, ThreadId, WrongThread};

/// Runs on another thread to its end.
fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(work).join().unwrap()
}

#[test]
fn whatever_it_holds_it_may_travel() {
    fn travels<T: Send + Sync + Unpin>() {}
    travels::<LoopBound<Rc<Cell<u8>>>>();
    travels::<LoopBound<*const u8>>();
    travels::<LoopBound<Pin<Box<dyn Future<Output = Rc<()>>>>>>();
    travels::<HomeCell<Rc<u8>>>();
}

#[test]
fn at_home_the_value_is_there() {
    let executor = Executor::new();
    let mut bound = LoopBound::new(&executor.spawner(), Rc::new(1));
    assert!(bound.is_home());
    assert_eq!(**bound.get(), 1);
    *Rc::get_mut(bound.get_mut()).unwrap() += 1;
    assert_eq!(**bound.try_get().unwrap(), 2);
    *Rc::get_mut(bound.try_get_mut().unwrap()).unwrap() += 1;
    assert_eq!(format!("{bound:?}"), "LoopBound { is_home: true, .. }");
    assert_eq!(*bound.try_into_inner().unwrap(), 3);
}

#[test]
fn elsewhere_it_is_not() {
    let executor = Executor::new();
    let bound = LoopBound::new(&executor.spawner(), Rc::new(5));
    let bound = elsewhere(move || {
        let mut bound = bound;
        assert!(!bound.is_home());
        assert_eq!(bound.try_get(), Err(WrongThread));
        assert_eq!(bound.try_get_mut(), Err(WrongThread));
        assert_eq!(format!("{bound:?}"), "LoopBound { is_home: false, .. }");
        let refused = catch_unwind(AssertUnwindSafe(|| {
            bound.get();
        }));
        let message = refused.unwrap_err().downcast::<String>().unwrap();
        assert!(
            message.contains("another thread") && message.contains(file!()),
            "{message}"
        );
        let refused = catch_unwind(AssertUnwindSafe(|| {
            bound.get_mut();
        }));
        assert!(refused.is_err());
        bound.try_into_inner().unwrap_err()
    });
    // Unharmed.
    assert_eq!(*bound.try_into_inner().unwrap(), 5);
    assert!(!executor.has_ready(), "nothing was sent home");
    assert_eq!(executor.leaked(), 0);
}

#[test]
fn dropped_at_home_it_is_dropped_in_place() {
    let (executor, alive) = (Executor::new(), Alive::new());
    drop(LoopBound::new(&executor.spawner(), alive.probe()));
    assert_eq!(alive.count(), 0);
    assert!(!executor.has_ready());
}

/// Notes where it is dropped.
struct Homing(
    #[allow(dead_code, reason = "held")] Probe,
    Rc<RefCell<Vec<String>>>,
    ThreadId,
);

impl Drop for Homing {
    fn drop(&mut self) {
        assert_eq!(ThreadId::current(), self.2);
        let place = match (Spawner::current().is_some(), running()) {
            (true, None) => "in a turn".to_owned(),
            (_, running) => format!("{running:?}"),
        };
        self.1.borrow_mut().push(place);
    }
}

#[test]
fn dropped_elsewhere_it_is_sent_home() {
    let (executor, alive) = (Executor::new(), Alive::new());
    let drops: Rc<RefCell<Vec<String>>> = Rc::default();
    for _ in 0..3 {
        let homing = Homing(alive.probe(), Rc::clone(&drops), ThreadId::current());
        let bound = LoopBound::new(&executor.spawner(), homing);
        elsewhere(move || drop(bound));
    }
    assert_eq!(alive.count(), 3);
    assert!(executor.has_ready());
    executor.run_until_idle();
    assert_eq!(alive.count(), 0);
    assert_eq!(*drops.borrow(), ["in a turn"; 3]);
    assert_eq!(executor.leaked(), 0);
}

#[test]
fn sent_home_before_a_close_it_is_dropped_by_that() {
    let (executor, alive) = (Executor::new(), Alive::new());
    let bound = LoopBound::new(&executor.spawner(), alive.probe());
    elsewhere(move || drop(bound));
    assert_eq!(alive.count(), 1);
    let closed = executor.close();
    assert_eq!(alive.count(), 0);
    assert_eq!((closed.leaked, executor.leaked()), (0, 0));
}

#[test]
fn dropped_elsewhere_after_a_close_it_is_leaked_and_counted() {
    let (executor, alive) = (Executor::new(), Alive::new());
    let remote = executor.remote();
    let bounds: Vec<_> = (0..2)
        .map(|_| LoopBound::new(&executor.spawner(), alive.probe()))
        .collect();
    executor.close();
    let mut bounds = bounds.into_iter();
    let (first, second) = (bounds.next().unwrap(), bounds.next().unwrap());
    elsewhere(move || drop(first));
    assert_eq!((remote.leaked(), executor.leaked()), (1, 1));
    drop(executor);
    elsewhere(move || drop(second));
    assert_eq!(remote.leaked(), 2);
    assert_eq!(alive.count(), 2);
}

#[test]
fn at_home_it_can_be_used_after_the_executor_is_gone() {
    let alive = Alive::new();
    let executor = Executor::new();
    let bounds = [(); 3].map(|()| LoopBound::new(&executor.spawner(), (alive.probe(), 4)));
    drop(executor);
    let [used, unbound, dropped] = bounds;
    assert_eq!(used.get().1, 4);
    let (_probe, four) = unbound.try_into_inner().unwrap();
    assert_eq!(four, 4);
    drop(dropped);
    assert_eq!(alive.count(), 2);
}

#[test]
fn on_a_thread_that_came_later_it_is_not_at_home() {
    // The first thread is gone when the second begins, and may be followed at the same address.
    for _ in 0..20 {
        let (bound, home) = elsewhere(|| {
            let executor = Executor::new();
            (LoopBound::new(&executor.spawner(), 1), ThreadId::current())
        });
        elsewhere(move || {
            assert_ne!(ThreadId::current(), home);
            assert!(bound.try_get().is_err());
        });
    }
}

#[test]
fn a_panicking_destructor_is_reported_and_the_next_is_dropped() {
    let losses = Losses::default();
    let (executor, alive) = (losses.builder().build(), Alive::new());
    let bomb = LoopBound::new(&executor.spawner(), on_drop(|| panic!("a parcel")));
    let next = LoopBound::new(&executor.spawner(), alive.probe());
    elsewhere(move || drop((bomb, next)));
    executor.run_until_idle();
    assert_eq!(losses.words(), ["callback: a parcel"]);
    assert_eq!(alive.count(), 0);

    let bomb = LoopBound::new(&executor.spawner(), on_drop(|| panic!("a late parcel")));
    let next = LoopBound::new(&executor.spawner(), alive.probe());
    elsewhere(move || drop((bomb, next)));
    executor.close();
    assert_eq!(losses.words(), ["callback: a late parcel"]);
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_destructor_may_use_the_executor() {
    let executor = Executor::new();
    let done = Rc::new(Cell::new(false));
    let doing = Rc::clone(&done);
    let bound = LoopBound::new(
        &executor.spawner(),
        on_drop(move || {
            here().spawn(async move { doing.set(true) }).detach();
        }),
    );
    elsewhere(move || drop(bound));
    executor.run_until_idle();
    assert!(done.get());
}

#[test]
fn a_bound_future_is_a_send_future_at_home() {
    fn send<F: Future + Send>(future: F) -> F {
        future
    }
    let executor = Executor::new();
    let local = Rc::new(9);
    let future: Pin<Box<dyn Future<Output = Rc<i32>>>> = Box::pin(async move { local });
    let bound = send(LoopBound::new(&executor.spawner(), future));
    let task = executor.spawn(bound);
    executor.run_until_idle();
    assert_eq!(*task.into_result().unwrap().unwrap(), 9);

    let mut bound = LoopBound::new(&executor.spawner(), ready(1));
    let refused = elsewhere(move || {
        catch_unwind(AssertUnwindSafe(|| {
            let _: Poll<i32> = poll_once(Pin::new(&mut bound));
        }))
        .is_err()
    });
    assert!(refused);
}

#[test]
fn carried_by_a_task_of_another_thread_it_comes_home() {
    let (executor, alive) = (Executor::new(), Alive::new());
    let bound = Arc::new(LoopBound::new(&executor.spawner(), alive.probe()));
    let carried = Arc::clone(&bound);
    elsewhere(move || {
        let other = Executor::new();
        other
            .spawn(async move {
                let carried = carried;
                assert!(carried.try_get().is_err());
                poll_fn(|_| Poll::<()>::Pending).await;
            })
            .detach();
        other.run_until_idle();
    });
    assert_eq!(Arc::strong_count(&bound), 1);
    elsewhere(move || drop(bound));
    executor.run_until_idle();
    assert_eq!(alive.count(), 0);
}

#[test]
fn drops_elsewhere_race_the_end_of_home() {
    for round in 0..200 {
        let alive = Alive::new();
        let executor = Executor::new();
        let (remote, start) = (executor.remote(), Arc::new(Barrier::new(3)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let bounds: Vec<_> = (0..8)
                    .map(|_| {
                        let homing = Homing(alive.probe(), Rc::default(), ThreadId::current());
                        LoopBound::new(&executor.spawner(), homing)
                    })
                    .collect();
                let start = Arc::clone(&start);
                thread::spawn(move || {
                    start.wait();
                    drop(bounds);
                })
            })
            .collect();
        start.wait();
        if round % 3 == 0 {
            executor.run_until_idle();
        }
        drop(executor);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(alive.count(), remote.leaked());
    }
}

#[test]
fn a_home_cell_is_a_leaner_one_without_a_way_home() {
    let alive = Alive::new();
    let mut cell = HomeCell::new((alive.probe(), 1));
    assert_eq!(cell.home(), ThreadId::current());
    cell.get_mut().unwrap().1 += 1;
    assert_eq!(cell.get().unwrap().1, 2);
    let cell = elsewhere(move || {
        let mut cell = cell;
        assert!(!cell.is_home() && cell.get().is_none() && cell.get_mut().is_none());
        cell.into_inner().map(|_| ()).unwrap_err()
    });
    assert_eq!(cell.into_inner().map_err(|_| ()).unwrap().1, 2);
    assert_eq!(alive.count(), 0);
    let leaked = HomeCell::new(alive.probe());
    elsewhere(move || drop(leaked));
    assert_eq!(alive.count(), 1);
    assert!(format!("{:?}", HomeCell::new(0)).starts_with("HomeCell { home: ThreadId("));
    drop::<LoopBound<Ready<()>>>(LoopBound::new(&Executor::new().spawner(), ready(())));
}
