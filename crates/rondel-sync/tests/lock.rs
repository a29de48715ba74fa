//! `Lock`, `Mutex`, `RwLock`, `Condition`: who gets what, in which order, and what becomes of it.

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use harness::{Task, Wakes};
use hooked_waker::{On, hooked_waker};
use rondel_sync::lock::Locked;
use rondel_sync::{Condition, Lock, Mutex, RwLock, RwLockWriteGuard};

#[test]
fn it_is_handed_over_in_the_order_of_waiting_and_nobody_barges_in() {
    let (lock, wakes) = (Lock::new(), Wakes::new());
    let held = lock.try_acquire().unwrap();
    let mut first = Task::waiting(1, &wakes, lock.acquire());
    let mut second = Task::waiting(2, &wakes, lock.acquire());
    assert_eq!(lock.waiting(), 2);
    drop(held);
    assert_eq!(wakes.take(), [1]);
    assert_eq!(lock.try_acquire().unwrap_err(), Locked);
    let mut again = Task::waiting(3, &wakes, lock.acquire());
    assert!(second.is_pending());
    let held = first.ready();
    drop(held);
    assert_eq!(wakes.take(), [2]);
    drop(second.ready());
    assert_eq!(wakes.take(), [3]);
    drop(again.ready());
    assert!(!lock.locked());
}

#[test]
fn a_waiter_that_leaves_makes_room_and_one_that_was_served_passes_it_on() {
    let (lock, wakes) = (Lock::new(), Wakes::new());
    let held = lock.try_acquire().unwrap();
    let first = Task::waiting(1, &wakes, lock.acquire());
    let second = Task::waiting(2, &wakes, lock.acquire());
    let mut third = Task::waiting(3, &wakes, lock.acquire());
    drop(first);
    drop(held);
    assert_eq!(wakes.take(), [2]);
    drop(second);
    assert_eq!(wakes.take(), [3]);
    drop(third.ready());
    assert!(!lock.locked());
}

#[test]
fn cancelling_and_releasing_in_one_step_serves_exactly_one() {
    let (lock, wakes) = (Lock::new(), Wakes::new());
    let held = lock.try_acquire().unwrap();
    let first = Task::waiting(1, &wakes, lock.acquire());
    let mut second = Task::waiting(2, &wakes, lock.acquire());
    let mut third = Task::waiting(3, &wakes, lock.acquire());
    drop(held);
    drop(first);
    assert_eq!(wakes.take(), [1, 2]);
    assert!(third.is_pending());
    drop(second.ready());
    drop(third.ready());
    assert!(!lock.locked());
}

#[test]
fn the_last_to_leave_lays_it_down() {
    let (lock, wakes) = (Lock::new(), Wakes::new());
    let held = lock.try_acquire().unwrap();
    let waiting = Task::waiting(1, &wakes, lock.acquire());
    drop(held);
    drop(waiting);
    assert!(!lock.locked());
    assert!(lock.try_acquire().is_ok());
}

#[test]
fn an_owned_guard_keeps_the_lock() {
    let (lock, wakes) = (Rc::new(Lock::new()), Wakes::new());
    let held = Rc::clone(&lock).try_acquire_owned().unwrap();
    assert!(Rc::clone(&lock).try_acquire_owned().is_err());
    let mut waiting = Task::waiting(1, &wakes, Rc::clone(&lock).acquire_owned());
    let given_up = Task::waiting(2, &wakes, Rc::clone(&lock).acquire_owned());
    drop(lock);
    drop(held);
    let held = waiting.ready();
    assert!(held.lock().locked());
    drop(held);
    assert_eq!(wakes.take(), [1, 2]);
    drop(given_up);
}

#[test]
fn a_guard_that_goes_by_a_panic_releases() {
    let mutex = Mutex::new(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut held = mutex.try_lock().unwrap();
        *held = 2;
        panic!("with the guard in hand");
    }));
    assert!(panicked.is_err());
    assert_eq!(*mutex.try_lock().unwrap(), 2, "there is no poisoning");
}

#[test]
fn the_value_of_a_mutex_goes_from_hand_to_hand() {
    let (mutex, wakes) = (Rc::new(Mutex::new(Vec::new())), Wakes::new());
    let mut held = mutex.try_lock().unwrap();
    held.push(0);
    assert!(format!("{mutex:?}").contains("<held>"));
    let mut first = Task::waiting(1, &wakes, mutex.lock());
    let mut second = Task::waiting(2, &wakes, Rc::clone(&mutex).lock_owned());
    drop(held);
    first.ready().push(1);
    let mut held = second.ready();
    held.get_mut().push(2);
    assert_eq!(*held.get(), [0, 1, 2]);
    drop(held);
    drop(second);
    drop(first);
    let mut mutex = Rc::into_inner(mutex).unwrap();
    mutex.get_mut().push(3);
    assert_eq!(mutex.into_inner(), [0, 1, 2, 3]);
}

#[test]
fn an_unsized_value_can_be_locked() {
    let numbers: &Mutex<[i32]> = &Mutex::new([1, 2, 3]);
    numbers.try_lock().unwrap()[0] = 7;
    assert_eq!(numbers.try_lock().unwrap().iter().sum::<i32>(), 12);
}

#[test]
fn a_waker_that_comes_back_in_finds_the_mutex_in_order() {
    let mutex = Rc::new(Mutex::new(0));
    let held = mutex.try_lock().unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let waker = hooked_waker({
        let (mutex, seen) = (Rc::clone(&mutex), Rc::clone(&seen));
        move |on| {
            if on != On::Wake {
                return;
            }
            seen.borrow_mut()
                .push((mutex.locked(), mutex.try_lock().is_err(), mutex.waiting()));
            let mut another = pin!(mutex.lock());
            assert!(another.as_mut().now_or_never().is_none());
        }
    });
    let mut waiting = Box::pin(mutex.lock());
    let mut cx = Context::from_waker(&waker);
    assert!(waiting.as_mut().poll_unpin(&mut cx).is_pending());
    drop(held);
    assert_eq!(*seen.borrow(), [(true, true, 0)]);
    assert!(waiting.as_mut().poll_unpin(&mut cx).is_ready());
}

#[test]
fn a_waker_that_panics_does_so_in_the_release_and_the_lock_is_handed_over_all_the_same() {
    let lock = Lock::new();
    let held = lock.try_acquire().unwrap();
    let waker = hooked_waker(|on| assert!(on != On::Wake, "in the waker"));
    let mut waiting = Box::pin(lock.acquire());
    let mut cx = Context::from_waker(&waker);
    assert!(waiting.as_mut().poll_unpin(&mut cx).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(held))).is_err());
    assert!(waiting.as_mut().poll_unpin(&mut cx).is_ready());
}

// RwLock.

#[test]
fn readers_share_and_a_writer_is_alone() {
    let lock = RwLock::new(1);
    let (one, other) = (lock.try_read().unwrap(), lock.try_read().unwrap());
    assert_eq!((*one + *other, lock.readers()), (2, 2));
    assert!(lock.try_write().is_err());
    drop((one, other));
    let mut writing = lock.try_write().unwrap();
    *writing = 5;
    assert!(lock.is_written() && lock.try_read().is_err() && lock.try_write().is_err());
    drop(writing);
    assert_eq!(lock.into_inner(), 5);
}

#[test]
fn readers_wait_behind_a_writer_and_come_in_together_after_it() {
    let (lock, wakes) = (RwLock::new(0), Wakes::new());
    let reading = lock.try_read().unwrap();
    let mut writer = Task::waiting(1, &wakes, lock.write());
    let mut first = Task::waiting(2, &wakes, lock.read());
    let mut second = Task::waiting(3, &wakes, lock.read());
    let mut last = Task::waiting(4, &wakes, lock.write());
    drop(reading);
    assert_eq!(wakes.take(), [1]);
    drop(writer.ready());
    assert_eq!(wakes.take(), [2, 3]);
    let (one, other) = (first.ready(), second.ready());
    drop(one);
    assert!(last.is_pending());
    drop(other);
    assert_eq!(wakes.take(), [4]);
    drop(last.ready());
    assert_eq!(lock.readers(), 0);
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_behind_it_in() {
    let (lock, wakes) = (RwLock::new(0), Wakes::new());
    let reading = lock.try_read().unwrap();
    let writer = Task::waiting(1, &wakes, lock.write());
    let mut reader = Task::waiting(2, &wakes, lock.read());
    drop(writer);
    assert_eq!(wakes.take(), [2]);
    drop((reader.ready(), reading));
}

#[test]
fn what_was_handed_to_one_that_is_dropped_goes_on() {
    let (lock, wakes) = (RwLock::new(0), Wakes::new());
    let writing = lock.try_write().unwrap();
    let first = Task::waiting(1, &wakes, lock.write());
    let second = Task::waiting(2, &wakes, lock.read());
    let mut third = Task::waiting(3, &wakes, lock.write());
    drop(writing);
    drop(first);
    assert_eq!(wakes.take(), [1, 2]);
    drop(second);
    assert_eq!(wakes.take(), [3]);
    drop(third.ready());
}

#[test]
fn a_writer_that_goes_on_as_a_reader_lets_readers_in_and_no_writer_between() {
    let (lock, wakes) = (RwLock::new(0), Wakes::new());
    let mut writing = lock.try_write().unwrap();
    let mut reader = Task::waiting(1, &wakes, lock.read());
    let mut writer = Task::waiting(2, &wakes, lock.write());
    *writing = 1;
    let reading = RwLockWriteGuard::downgrade(writing);
    assert_eq!(wakes.take(), [1]);
    assert_eq!(*reading + *reader.ready(), 2);
    drop(reading);
    assert_eq!(wakes.take(), [2]);
    drop(writer.ready());
}

// Condition.

#[test]
fn a_notified_task_has_the_lock_again_behind_those_who_wait_for_it() {
    let (mutex, changed, wakes) = (Mutex::new(0), Condition::new(), Wakes::new());
    let mut waiting = Task::waiting(1, &wakes, async {
        let guard = mutex.lock().await;
        *changed.wait(guard).await += 1;
    });
    let held = mutex.try_lock().unwrap();
    let mut other = Task::waiting(2, &wakes, mutex.lock());
    assert!(changed.notify_one());
    assert_eq!(wakes.take(), [1]);
    assert!(waiting.is_pending());
    drop(held);
    assert_eq!(wakes.take(), [2]);
    *other.ready() += 10;
    assert_eq!(wakes.take(), [1]);
    waiting.ready();
    assert_eq!(*mutex.try_lock().unwrap(), 11);
}

#[test]
fn some_are_notified_in_order_and_nobody_twice() {
    let (lock, changed, wakes) = (Lock::new(), Condition::new(), Wakes::new());
    let wait = async || drop(changed.wait(lock.acquire().await).await);
    let mut tasks: Vec<_> = (1..=4)
        .map(|id| Task::waiting(id, &wakes, wait()))
        .collect();
    assert_eq!(changed.waiting(), 4);
    assert_eq!(changed.notify(2), 2);
    assert_eq!(wakes.take(), [1, 2]);
    tasks[0].ready();
    tasks[1].ready();
    assert_eq!(changed.notify_all(), 2);
    tasks[2].ready();
    tasks[3].ready();
    assert_eq!((changed.notify(0), changed.notify_one()), (0, false));
}

#[test]
fn a_notification_given_to_one_that_is_dropped_goes_to_the_next() {
    let (lock, changed, wakes) = (Lock::new(), Condition::new(), Wakes::new());
    let wait = async || drop(changed.wait(lock.acquire().await).await);
    let first = Task::waiting(1, &wakes, wait());
    let mut second = Task::waiting(2, &wakes, wait());
    changed.notify_one();
    drop(first);
    assert_eq!(wakes.take(), [1, 2]);
    second.ready();
}

#[test]
fn one_that_is_dropped_while_it_waits_for_the_lock_passes_its_notification_on() {
    let (lock, changed, wakes) = (Lock::new(), Condition::new(), Wakes::new());
    let wait = async || drop(changed.wait(lock.acquire().await).await);
    let mut first = Task::waiting(1, &wakes, wait());
    let mut second = Task::waiting(2, &wakes, wait());
    let held = lock.try_acquire().unwrap();
    changed.notify_one();
    assert!(first.is_pending());
    drop(first);
    assert_eq!(wakes.take(), [1, 2]);
    assert!(second.is_pending());
    drop(held);
    second.ready();
    assert!(!lock.locked());
}

#[test]
fn a_wait_that_is_dropped_does_not_hold_the_lock() {
    let (mutex, changed, wakes) = (Mutex::new(0), Condition::new(), Wakes::new());
    let waiting = Task::waiting(1, &wakes, async {
        let guard = mutex.lock().await;
        drop(changed.wait(guard).await);
    });
    drop(waiting);
    assert!(mutex.try_lock().is_ok());
    assert_eq!(changed.waiting(), 0);
    // Before its first poll the guard is still in the future.
    let unpolled = changed.wait(mutex.try_lock().unwrap());
    assert!(mutex.locked());
    drop(unpolled);
    assert!(!mutex.locked());
}

#[test]
fn who_gets_the_lock_by_the_wait_may_notify_at_once() {
    let (mutex, changed) = (Mutex::new(0), Condition::new());
    let notified = Cell::new(false);
    let mut waiting = pin!(async {
        let guard = mutex.lock().await;
        drop(changed.wait(guard).await);
        notified.set(true);
    });
    let held = mutex.try_lock().unwrap();
    assert!(waiting.as_mut().now_or_never().is_none());
    let waker = Waker::noop();
    let mut notify = pin!(async {
        let _guard = mutex.lock().await;
        changed.notify_one()
    });
    let mut cx = Context::from_waker(waker);
    assert!(notify.as_mut().poll_unpin(&mut cx).is_pending());
    drop(held);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(notify.as_mut().poll_unpin(&mut cx), Poll::Ready(true));
    assert!(waiting.now_or_never().is_some() && notified.get());
}

#[test]
fn what_is_so_already_is_not_waited_for() {
    let (mutex, changed) = (Mutex::new(3), Condition::new());
    let guard = mutex.try_lock().unwrap();
    let guard = changed
        .wait_for(guard, |value| *value == 3)
        .now_or_never()
        .unwrap();
    assert_eq!(*guard, 3);
}
