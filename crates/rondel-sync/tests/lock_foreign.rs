//! Locks and conditions, while foreign code runs: destructors that come back in, wakers that panic.

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Context;

use harness::{Task, Wakes, poll_once};
use hooked_waker::{On, hooked_waker};
use rondel_sync::{Condition, Mutex, RwLock};

/// Looks at its mutex when it is dropped.
struct Looks {
    mutex: Weak<Mutex<Option<Self>>>,
    found_locked: Rc<Cell<Option<bool>>>,
}

impl Drop for Looks {
    fn drop(&mut self) {
        if let Some(mutex) = self.mutex.upgrade() {
            self.found_locked.set(Some(mutex.try_lock().is_err()));
        }
    }
}

#[test]
fn a_destructor_that_comes_back_in_finds_the_mutex_locked() {
    let found_locked = Rc::new(Cell::new(None));
    let mutex = Rc::new(Mutex::new(None));
    let looks = || Looks {
        mutex: Rc::downgrade(&mutex),
        found_locked: Rc::clone(&found_locked),
    };
    *mutex.try_lock().unwrap() = Some(looks());
    *mutex.try_lock().unwrap() = None;
    assert_eq!(found_locked.take(), Some(true));

    let mut owned = Rc::clone(&mutex).try_lock_owned().unwrap();
    *owned.get_mut() = Some(looks());
    *owned.get_mut() = None;
    assert_eq!(found_locked.take(), Some(true));
    drop(owned);
    assert!(!mutex.locked());
}

#[test]
fn all_are_notified_though_a_waker_panics() {
    let (mutex, condition, wakes) = (Mutex::new(()), Condition::new(), Wakes::new());
    let waker = hooked_waker(|on| assert!(on != On::Wake, "on purpose"));
    let mut first = pin!(condition.wait(mutex.try_lock().unwrap()));
    let polled = first.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    let mut second = Task::waiting(2, &wakes, condition.wait(mutex.try_lock().unwrap()));

    assert!(catch_unwind(AssertUnwindSafe(|| condition.notify_all())).is_err());
    assert_eq!(wakes.take(), [2]);
    assert_eq!(condition.waiting(), 0);
    drop(second.ready());
    assert!(poll_once(first).is_ready());
    assert!(!mutex.locked());
}

#[test]
fn readers_behind_a_waker_that_panics_get_in() {
    let (lock, wakes) = (RwLock::new(0), Wakes::new());
    let writing = lock.try_write().unwrap();
    let waker = hooked_waker(|on| assert!(on != On::Wake, "on purpose"));
    let mut first = pin!(lock.read());
    let polled = first.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    let mut second = Task::waiting(2, &wakes, lock.read());

    assert!(catch_unwind(AssertUnwindSafe(|| drop(writing))).is_err());
    assert_eq!(wakes.take(), [2]);
    let both = (second.ready(), poll_once(first));
    assert_eq!(lock.readers(), 2);
    drop(both);
    assert!(lock.try_write().is_ok());
}

#[test]
fn a_waker_that_drops_a_notified_wait_passes_the_notification_on() {
    let (mutex, wakes) = (Rc::new(Mutex::new(())), Wakes::new());
    let condition = Rc::new(Condition::new());
    let wait = || {
        let (mutex, condition) = (Rc::clone(&mutex), Rc::clone(&condition));
        async move { drop(condition.wait(mutex.lock().await).await) }
    };
    let victim = Rc::new(RefCell::new(None));
    let waker = hooked_waker({
        let victim = Rc::clone(&victim);
        move |on| {
            if on == On::Wake {
                let victim = victim.borrow_mut().take();
                drop(victim);
            }
        }
    });
    let mut first = pin!(wait());
    let polled = first.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    *victim.borrow_mut() = Some(Task::waiting(2, &wakes, wait()));
    let mut third = Task::waiting(3, &wakes, wait());

    assert_eq!(condition.notify(2), 2);
    assert_eq!(
        wakes.take(),
        [3],
        "the second's notification went to the third"
    );
    third.ready();
    assert!(poll_once(first).is_ready());
}
