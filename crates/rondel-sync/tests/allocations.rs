//! Allocations, counted: none to acquire, to wait, to hand over or to give up; one for a oneshot.

mod harness;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use harness::{Wakes, poll_once};
use rondel_sync::wait_list::{WaitList, Waiter};
use rondel_sync::{
    Condition, Event, Mutex, PriorityQueue, Queue, RwLock, Semaphore, broadcast, mpsc, oneshot,
    watch,
};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: passes everything on to the system's allocator; the counter is a thread-local that
// neither allocates nor drops.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = COUNT.with(Cell::get);
    let result = run();
    (COUNT.with(Cell::get) - before, result)
}

#[test]
fn the_count_counts() {
    let (count, _box) = allocations(|| Box::new(1));
    assert_eq!(count, 1);
}

#[test]
fn an_event_allocates_nothing() {
    let (count, ()) = allocations(|| {
        let event = Event::new();
        {
            let (mut first, mut second) = (pin!(event.wait()), pin!(event.wait()));
            assert!(poll_once(first.as_mut()).is_pending());
            assert!(poll_once(second.as_mut()).is_pending());
            event.set();
            assert!(poll_once(first).is_ready());
            event.clear();
            let mut third = pin!(event.wait());
            assert!(poll_once(third.as_mut()).is_pending());
            event.set();
        }
        assert!(poll_once(pin!(event.wait())).is_ready());
    });
    assert_eq!(count, 0);
}

#[test]
fn a_semaphore_allocates_nothing() {
    let (count, ()) = allocations(|| {
        let semaphore = Semaphore::new(1);
        drop(semaphore.try_acquire());
        let Poll::Ready(held) = poll_once(pin!(semaphore.acquire())) else {
            unreachable!()
        };
        {
            let (mut first, mut second) = (pin!(semaphore.acquire()), pin!(semaphore.acquire()));
            assert!(poll_once(first.as_mut()).is_pending());
            assert!(poll_once(second.as_mut()).is_pending());
            drop(held);
            drop(poll_once(first));
        }
        assert_eq!(semaphore.available_permits(), 1);
    });
    assert_eq!(count, 0);
}

#[test]
fn owned_permits_allocate_nothing_beyond_the_rc() {
    let semaphore = Rc::new(Semaphore::new(1));
    let (count, ()) = allocations(|| {
        let Poll::Ready(held) = poll_once(pin!(Rc::clone(&semaphore).acquire_owned())) else {
            unreachable!()
        };
        let mut next = pin!(Rc::clone(&semaphore).acquire_owned());
        assert!(poll_once(next.as_mut()).is_pending());
        drop(held);
        assert!(poll_once(next).is_ready());
    });
    assert_eq!(count, 0);
}

#[test]
fn a_oneshot_allocates_once() {
    let (count, ()) = allocations(|| {
        let (sender, mut receiver) = oneshot::channel();
        assert!(poll_once(pin!(&mut receiver)).is_pending());
        assert!(sender.send([0_u64; 8]).is_ok());
        assert!(poll_once(pin!(receiver)).is_ready());
    });
    assert_eq!(count, 1);
}

#[test]
fn queues_and_channels_allocate_nothing_once_warm() {
    let (fifo, lowest) = (Queue::new(2), PriorityQueue::new(2));
    let (sender, mut receiver) = mpsc::channel(2);
    let mut round = || {
        for n in 0..2 {
            fifo.put_nowait(n).unwrap();
            lowest.put_nowait(n).unwrap();
            sender.try_send(n).unwrap();
        }
        let (mut put, mut send) = (pin!(fifo.put(2)), pin!(sender.send(2)));
        assert!(poll_once(put.as_mut()).is_pending());
        assert!(poll_once(send.as_mut()).is_pending());
        fifo.get_nowait().unwrap();
        receiver.try_recv().unwrap();
        assert!(poll_once(put).is_ready());
        assert!(poll_once(send).is_ready());
        while fifo.get_nowait().is_ok() || lowest.get_nowait().is_ok() {}
        while receiver.try_recv().is_ok() {}
        assert!(poll_once(pin!(fifo.get())).is_pending());
        assert!(poll_once(pin!(receiver.recv())).is_pending());
    };
    round();
    let (count, ()) = allocations(round);
    assert_eq!(count, 0);
}

#[test]
fn watched_and_broadcast_values_allocate_nothing_once_warm() {
    let (watched, mut watcher) = watch::channel(0);
    let (sender, mut first) = broadcast::channel(2);
    let mut second = sender.subscribe();
    let mut round = || {
        {
            let (mut changed, mut recv) = (pin!(watcher.changed()), pin!(first.recv()));
            assert!(poll_once(changed.as_mut()).is_pending());
            assert!(poll_once(recv.as_mut()).is_pending());
            watched.send(1).unwrap();
            sender.send(1).unwrap();
            assert!(poll_once(changed).is_ready());
            assert!(poll_once(recv).is_ready());
        }
        watched.send_modify(|n| *n += 1);
        watcher.borrow_and_update();
        for n in 0..5 {
            sender.send(n).unwrap();
        }
        while first.try_recv() != Err(broadcast::TryRecvError::Empty) {}
        while second.try_recv() != Err(broadcast::TryRecvError::Empty) {}
    };
    round();
    let (count, ()) = allocations(round);
    assert_eq!(count, 0);
}

#[test]
fn a_thousand_waiters_allocate_nothing_of_their_own() {
    let list = WaitList::<usize, usize>::new();
    let mut waiters: Vec<_> = (0..1000).map(|n| Box::pin(Waiter::new(&list, n))).collect();
    let waker = Wakes::new().waker(0);
    let (count, ()) = allocations(|| {
        let mut cx = std::task::Context::from_waker(&waker);
        for waiter in &mut waiters {
            assert!(waiter.as_mut().poll(&mut cx).is_pending());
        }
        let mut round = list.hand_over();
        for n in 0..500 {
            assert_eq!(round.front(), Some(n));
            assert_eq!(round.give(n), Ok(()));
        }
        std::mem::forget(round);
    });
    assert_eq!(count, 0);
    assert_eq!(list.len(), 500);
}

#[test]
fn the_waiting_futures_are_small() {
    let words = |bytes: usize| bytes.div_ceil(size_of::<usize>());
    assert!(words(size_of::<WaitList>()) <= 5);
    assert!(words(size_of::<Waiter<&WaitList>>()) <= 6);
    assert!(words(size_of_val(&Event::new().wait())) <= 8);
    assert!(words(size_of_val(&Semaphore::new(1).acquire())) <= 9);
}

#[test]
fn locks_allocate_nothing() {
    let (count, ()) = allocations(|| {
        let (mutex, lock, condition) = (Mutex::new(1), RwLock::new(1), Condition::new());
        {
            let held = mutex.try_lock().unwrap();
            let mut waiting = pin!(mutex.lock());
            assert!(poll_once(waiting.as_mut()).is_pending());
            drop(held);
            assert!(poll_once(waiting).is_ready());
        }
        {
            let held = lock.try_read().unwrap();
            let mut writer = pin!(lock.write());
            let mut reader = pin!(lock.read());
            assert!(poll_once(writer.as_mut()).is_pending());
            assert!(poll_once(reader.as_mut()).is_pending());
            drop(held);
            assert!(poll_once(writer).is_ready());
            assert!(poll_once(reader).is_ready());
        }
        {
            let mut waiting = pin!(condition.wait(mutex.try_lock().unwrap()));
            assert!(poll_once(waiting.as_mut()).is_pending());
            condition.notify_one();
            assert!(poll_once(waiting).is_ready());
        }
    });
    assert_eq!(count, 0);
}
