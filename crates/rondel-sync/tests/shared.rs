//! What crosses threads: order, hand-over, ends, blocking with and without a limit.
#![cfg(all(feature = "shared", not(rondel_loom)))]

mod harness;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use harness::{Task, Wakes};
use rondel_sync::shared::{
    self, Event, RecvTimeoutError, Semaphore, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};

const LONG: Duration = Duration::from_secs(600);

#[test]
fn everything_is_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Event>();
    shared::<Semaphore>();
    shared::<shared::Sender<u8>>();
    shared::<shared::Receiver<u8>>();
}

#[test]
fn many_threads_send_and_receive_every_item_once() {
    let (sender, receiver) = shared::channel(3);
    let mut all: Vec<u32> = thread::scope(|scope| {
        for thread in 0..4 {
            let sender = sender.clone();
            scope.spawn(move || {
                for n in 0..500 {
                    sender.send_blocking(thread * 500 + n).unwrap();
                }
            });
        }
        drop(sender);
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let receiver = receiver.clone();
                scope.spawn(move || {
                    std::iter::from_fn(|| receiver.recv_blocking()).collect::<Vec<u32>>()
                })
            })
            .collect();
        receivers
            .into_iter()
            .flat_map(|receiver| receiver.join().unwrap())
            .collect()
    });
    all.sort_unstable();
    assert_eq!(all, (0..2000).collect::<Vec<_>>());
}

#[test]
fn a_thread_and_a_task_take_turns() {
    let (there, from_there) = shared::channel(1);
    let (back, from_back) = shared::channel(1);
    let thread = thread::spawn(move || {
        while let Some(n) = from_there.recv_blocking() {
            back.send_timeout(n + 1, LONG).unwrap();
        }
    });
    for n in 0..200 {
        assert_eq!(there.send(n).now_or_never(), Some(Ok(())));
        assert_eq!(from_back.recv_timeout(LONG), Ok(n + 1));
    }
    drop(there);
    assert_eq!(from_back.recv_blocking(), None);
    thread.join().unwrap();
}

#[test]
fn what_was_handed_to_one_who_gives_up_goes_to_the_next() {
    let wakes = Wakes::new();
    let (sender, receiver) = shared::channel(1);
    let first = Task::waiting(1, &wakes, receiver.recv());
    let mut second = Task::waiting(2, &wakes, receiver.recv());
    sender.try_send('a').unwrap();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "no barging");
    drop(first);
    assert_eq!(wakes.take(), [1, 2]);
    assert_eq!(second.ready(), Some('a'));

    sender.try_send('b').unwrap();
    let first = Task::waiting(3, &wakes, sender.send('c'));
    let mut second = Task::waiting(4, &wakes, sender.send('d'));
    assert_eq!(receiver.try_recv(), Ok('b'));
    assert_eq!(sender.try_send('e'), Err(TrySendError::Full('e')));
    drop(first);
    assert_eq!(wakes.take(), [3, 4]);
    assert_eq!(second.ready(), Ok(()));
    assert_eq!(receiver.recv_blocking(), Some('d'));
}

#[test]
fn a_timeout_gives_the_item_back_and_leaves_nobody_waiting() {
    let (sender, receiver) = shared::channel(1);
    let short = Duration::from_millis(1);
    assert_eq!(receiver.recv_timeout(short), Err(RecvTimeoutError::Timeout));
    sender.send_timeout(1, short).unwrap();
    assert_eq!(
        sender.send_timeout(2, short),
        Err(SendTimeoutError::Timeout(2))
    );
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.try_send(3).unwrap();
    sender.close();
    assert_eq!(
        sender.send_timeout(4, LONG),
        Err(SendTimeoutError::Closed(4))
    );
    assert_eq!(receiver.recv_timeout(LONG), Ok(3));
    assert_eq!(receiver.recv_timeout(LONG), Err(RecvTimeoutError::Closed));
}

#[test]
fn closing_turns_everybody_away_and_keeps_what_was_sent() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = shared::channel(1);
    sender.try_send(1).unwrap();
    let mut blocked = Task::waiting(1, &wakes, sender.send(2));
    receiver.close();
    assert_eq!(wakes.take(), [1]);
    assert_eq!(blocked.ready(), Err(SendError(2)));
    assert!(sender.is_closed());
    assert_eq!(receiver.next().now_or_never(), Some(Some(1)));
    assert_eq!(receiver.next().now_or_never(), Some(None));

    let (sender, receiver) = shared::channel(1);
    let item = Arc::new(());
    sender.try_send(Arc::clone(&item)).unwrap();
    drop(receiver);
    assert_eq!(Arc::strong_count(&item), 1);
    assert!(sender.send_blocking(item).is_err());
}

#[test]
fn a_pending_stream_that_is_dropped_passes_its_item_on() {
    let (sender, mut stream) = shared::channel(1);
    let other = stream.clone();
    assert!(stream.next().now_or_never().is_none());
    sender.try_send(1).unwrap();
    assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
    drop(stream);
    assert_eq!(other.try_recv(), Ok(1));
}

#[test]
fn an_event_lets_tasks_and_threads_through() {
    let (wakes, event) = (Wakes::new(), Event::new());
    assert!(!event.wait_timeout(Duration::from_millis(1)));
    let mut task = Task::waiting(1, &wakes, event.wait());
    drop(Task::waiting(2, &wakes, event.wait()));
    thread::scope(|scope| {
        scope.spawn(|| event.wait_blocking());
        event.set();
    });
    event.clear();
    assert_eq!(wakes.take(), [1]);
    task.ready();
    assert!(!event.is_set());
}

#[test]
fn a_semaphore_serves_in_order_and_loses_no_permit() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(2));
    let held = semaphore.try_acquire(1).unwrap();
    assert!(semaphore.try_acquire(2).is_none());
    assert_eq!(semaphore.available_permits(), 1);
    let large = Task::waiting(1, &wakes, semaphore.acquire(3));
    let mut small = Task::waiting(2, &wakes, semaphore.acquire(1));
    assert!(semaphore.try_acquire(1).is_none(), "no barging");
    assert!(
        semaphore
            .acquire_timeout(1, Duration::from_millis(1))
            .is_none()
    );
    drop(large);
    assert_eq!(wakes.take(), [2]);
    drop(small.ready());
    drop(held);
    let woken = Task::waiting(3, &wakes, semaphore.acquire(3));
    semaphore.add_permits(1);
    drop(woken);
    assert_eq!(semaphore.available_permits(), 3);
    semaphore.acquire_blocking(1).forget();
    assert_eq!(semaphore.available_permits(), 2);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let permit = semaphore.acquire_blocking(2);
                    assert_eq!(permit.permits(), 2);
                }
            });
        }
    });
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
fn a_waker_that_panics_or_comes_back_does_no_harm() {
    struct Hook(Box<dyn Fn() + Send + Sync>);
    impl Wake for Hook {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    let (sender, receiver) = shared::channel(1);
    let again = receiver.clone();
    let waker = Waker::from(Arc::new(Hook(Box::new(move || {
        assert_eq!(again.try_recv(), Err(TryRecvError::Empty));
        std::panic::resume_unwind(Box::new("on purpose"));
    }))));
    let mut recv = pin!(receiver.recv());
    let mut cx = Context::from_waker(&waker);
    assert!(recv.as_mut().poll_unpin(&mut cx).is_pending());
    sender.try_send(1).unwrap();
    assert_eq!(recv.poll_unpin(&mut cx), Poll::Ready(Some(1)));
}
