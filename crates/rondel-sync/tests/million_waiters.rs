//! A million waiters at one primitive: they cost the room of their futures, which is what `docs/measured.md` says, and no
//! allocation beyond.

mod counting;
mod harness;

use std::future::Future;
use std::pin::Pin;

use counting::allocated;
use harness::poll_once;
use rondel_sync::{Event, Lock, Mutex, Notify, Queue, RwLock, Semaphore};

const HALF: usize = 500_000;

/// Half a million futures side by side in one allocation.
struct Row<F>(Box<[F]>);

impl<F: Future> Row<F> {
    fn new(future: impl Fn() -> F) -> Self {
        Self((0..HALF).map(|_| future()).collect())
    }

    fn iter(&mut self) -> impl Iterator<Item = Pin<&mut F>> {
        self.0.iter_mut().map(|future| {
            // SAFETY: nothing else reaches the slice; it is on the heap, and dropped where it is.
            unsafe { Pin::new_unchecked(future) }
        })
    }
}

/// A million futures wait, of which every other one gives up; then `release` lets the rest go on, all at once or one after
/// the other. All of it takes `size` bytes a future, allocated before.
#[track_caller]
fn costs<F: Future>(size: usize, future: impl Fn() -> F, release: impl FnOnce()) {
    let (count, bytes, (mut patient, mut hasty)) =
        allocated(|| (Row::new(&future), Row::new(&future)));
    assert_eq!((count, bytes), (2, 2 * HALF * size_of::<F>()));
    // Words are smaller on other targets, and a counter of 64 bits may take two.
    if cfg!(target_pointer_width = "64") {
        assert_eq!(size_of::<F>(), size, "bytes a waiter; docs/measured.md");
    }
    let (count, _, ()) = allocated(|| {
        for (one, other) in patient.iter().zip(hasty.iter()) {
            assert!(poll_once(one).is_pending());
            assert!(poll_once(other).is_pending());
        }
        drop(hasty);
        release();
        // What one of them is given goes back at once, and to the next.
        for waiter in patient.iter() {
            assert!(poll_once(waiter).is_ready());
        }
        drop(patient);
    });
    assert_eq!(count, 0, "to wait, to give up, to be let go");
}

#[test]
fn the_count_counts() {
    let (count, bytes, _) = allocated(|| Box::new([0_u8; 3]));
    assert_eq!((count, bytes), (1, 3));
}

#[test]
fn of_an_event() {
    let event = Event::new();
    costs(64, || event.wait(), || event.set());
}

#[test]
fn of_a_notify() {
    let notify = Notify::new();
    costs(72, || notify.notified(), || notify.notify_waiters());
}

#[test]
fn of_a_semaphore() {
    let semaphore = Semaphore::new(1);
    let held = semaphore.try_acquire().unwrap();
    costs(72, || semaphore.acquire(), || drop(held));
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn of_a_lock() {
    let lock = Lock::new();
    let held = lock.try_acquire().unwrap();
    costs(56, || lock.acquire(), || drop(held));
    assert!(!lock.locked());
}

#[test]
fn of_a_mutex() {
    let mutex = Mutex::new(());
    let held = mutex.try_lock().unwrap();
    costs(64, || mutex.lock(), || drop(held));
    assert!(!mutex.locked());
}

#[test]
fn of_a_rw_lock() {
    let lock = RwLock::new(());
    let held = lock.try_write().unwrap();
    costs(64, || lock.write(), || drop(held));
    assert!(lock.try_read().is_ok());
}

#[test]
fn of_an_empty_queue() {
    let queue = Queue::<[u64; 8]>::new(0);
    costs(64, || queue.get(), || queue.shutdown(false));
}
