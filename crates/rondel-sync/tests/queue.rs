//! Queues: order, bounds, cancellation, `join`, shutting down.

mod harness;

use std::cmp::Reverse;
use std::pin::pin;
use std::task::Poll;

use futures_util::{FutureExt, StreamExt};
use harness::{Task, Wakes, poll_once};
use rondel_sync::queue::{GetNowaitError, PutNowaitError, QueueShutDown, TaskDoneError};
use rondel_sync::{LifoQueue, PriorityQueue, Queue};

#[test]
fn items_come_out_in_the_order_of_each_kind() {
    let (fifo, lifo, lowest) = (Queue::new(0), LifoQueue::new(0), PriorityQueue::new(0));
    for n in [3, 1, 2] {
        fifo.put_nowait(n).unwrap();
        lifo.put_nowait(n).unwrap();
        lowest.put_nowait(n).unwrap();
    }
    assert_eq!([0; 3].map(|_| fifo.get_nowait().unwrap()), [3, 1, 2]);
    assert_eq!([0; 3].map(|_| lifo.get_nowait().unwrap()), [2, 1, 3]);
    assert_eq!([0; 3].map(|_| lowest.get_nowait().unwrap()), [1, 2, 3]);
    let highest = PriorityQueue::new(0);
    highest.put_nowait(Reverse(1)).unwrap();
    highest.put_nowait(Reverse(2)).unwrap();
    assert_eq!(highest.get_nowait(), Ok(Reverse(2)));
}

#[test]
fn equal_priorities_come_out_as_they_went_in() {
    #[derive(Debug)]
    struct Job(u32, u32);
    impl PartialEq for Job {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Job {}
    impl PartialOrd for Job {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Job {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            self.0.cmp(&other.0)
        }
    }
    let queue = PriorityQueue::new(0);
    for n in 0..100 {
        queue.put_nowait(Job(n % 3, n)).unwrap();
    }
    let got: Vec<_> = std::iter::from_fn(|| queue.get_nowait().ok())
        .map(|job| (job.0, job.1))
        .collect();
    let mut expected: Vec<_> = (0..100).map(|n| (n % 3, n)).collect();
    expected.sort_unstable();
    assert_eq!(got, expected);
}

#[test]
fn a_full_queue_lets_one_put_in_for_each_get() {
    let (wakes, queue) = (Wakes::new(), Queue::new(2));
    assert_eq!(queue.maxsize(), 2);
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    assert!(queue.is_full());
    let mut third = Task::waiting(3, &wakes, queue.put(3));
    let mut fourth = Task::waiting(4, &wakes, queue.put(4));
    assert_eq!(queue.put_nowait(5), Err(PutNowaitError::Full(5)));
    assert_eq!(queue.get_nowait(), Ok(1));
    assert_eq!(wakes.take(), [3]);
    assert_eq!(
        queue.put_nowait(5),
        Err(PutNowaitError::Full(5)),
        "it is promised"
    );
    assert!(fourth.is_pending());
    assert_eq!(third.ready(), Ok(()));
    assert_eq!(queue.get_nowait(), Ok(2));
    assert_eq!(wakes.take(), [4]);
    assert_eq!(fourth.ready(), Ok(()));
    assert_eq!(queue.get_nowait(), Ok(3));
    assert_eq!(queue.get_nowait(), Ok(4));
    assert_eq!(queue.get_nowait(), Err(GetNowaitError::Empty));
}

#[test]
fn a_queue_of_size_zero_is_unbounded() {
    let queue = Queue::new(0);
    for n in 0..1000 {
        queue.put_nowait(n).unwrap();
    }
    assert!(!queue.is_full());
    assert_eq!((queue.len(), queue.maxsize()), (1000, 0));
}

#[test]
fn getters_are_served_in_the_order_in_which_they_came() {
    let (wakes, queue) = (Wakes::new(), Queue::new(0));
    let mut getters = [0, 1, 2].map(|id| Task::waiting(id, &wakes, queue.get()));
    queue.put_nowait('a').unwrap();
    queue.put_nowait('b').unwrap();
    assert_eq!(wakes.take(), [0, 1]);
    assert_eq!(queue.get_nowait(), Err(GetNowaitError::Empty), "no barging");
    assert!(getters[2].is_pending());
    assert_eq!(getters[0].ready(), Ok('a'));
    assert_eq!(getters[1].ready(), Ok('b'));
}

#[test]
fn a_woken_getter_that_is_dropped_leaves_the_item_to_the_next() {
    let (wakes, queue) = (Wakes::new(), Queue::new(0));
    let first = Task::waiting(1, &wakes, queue.get());
    let mut second = Task::waiting(2, &wakes, queue.get());
    let third = Task::waiting(3, &wakes, queue.get());
    queue.put_nowait('a').unwrap();
    drop(first);
    assert_eq!(wakes.take(), [1, 2]);
    assert_eq!(second.ready(), Ok('a'));
    queue.put_nowait('b').unwrap();
    queue.put_nowait('c').unwrap();
    drop(third);
    assert_eq!(queue.get_nowait(), Ok('b'), "back to the front");
    assert_eq!(queue.get_nowait(), Ok('c'));
}

#[test]
fn a_woken_putter_that_is_dropped_leaves_its_place_to_the_next_and_puts_nothing() {
    let (wakes, queue) = (Wakes::new(), Queue::new(1));
    queue.put_nowait(0).unwrap();
    let first = Task::waiting(1, &wakes, queue.put(1));
    let mut second = Task::waiting(2, &wakes, queue.put(2));
    assert_eq!(queue.get_nowait(), Ok(0));
    drop(first);
    assert_eq!(wakes.take(), [1, 2]);
    assert_eq!(second.ready(), Ok(()));
    assert_eq!(queue.get_nowait(), Ok(2));
    assert!(queue.is_empty());
}

#[test]
fn given_up_waiting_leaves_no_waiter_behind() {
    let (wakes, queue) = (Wakes::new(), Queue::new(1));
    drop(Task::waiting(1, &wakes, queue.get()));
    queue.put_nowait(0).unwrap();
    drop(Task::waiting(2, &wakes, queue.put(1)));
    assert_eq!((queue.waiting_getters(), queue.waiting_putters()), (0, 0));
}

#[test]
fn a_getter_that_waited_takes_the_best_of_the_batch() {
    let (wakes, queue) = (Wakes::new(), PriorityQueue::new(0));
    let mut get = Task::waiting(1, &wakes, queue.get());
    queue.put_nowait(5).unwrap();
    queue.put_nowait(1).unwrap();
    assert_eq!(queue.len(), 1);
    assert_eq!(get.ready(), Ok(1));
    assert_eq!(queue.get_nowait(), Ok(5));
}

#[test]
fn ping_pong_over_one_place_never_stops() {
    let queue = Queue::new(1);
    let mut both = pin!(futures_util::future::join(
        async {
            for n in 0..100 {
                queue.put(n).await.unwrap();
            }
        },
        async {
            for n in 0..100 {
                assert_eq!(queue.get().await, Ok(n));
            }
        },
    ));
    let done = (0..400).any(|_| poll_once(both.as_mut()).is_ready());
    assert!(done);
}

#[test]
fn join_waits_for_every_item_to_be_reported() {
    let (wakes, queue) = (Wakes::new(), Queue::new(0));
    assert_eq!(queue.task_done(), Err(TaskDoneError));
    assert!(queue.join().now_or_never().is_some());
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    let mut first = Task::waiting(1, &wakes, queue.join());
    let mut second = Task::waiting(2, &wakes, queue.join());
    queue.get_nowait().unwrap();
    queue.task_done().unwrap();
    assert!(first.is_pending());
    queue.get_nowait().unwrap();
    queue.task_done().unwrap();
    assert_eq!(wakes.take(), [1, 2]);
    queue.put_nowait(3).unwrap();
    first.ready();
    second.ready();
    assert_eq!(queue.unfinished(), 1);
    drop(Task::waiting(3, &wakes, queue.join()));
}

#[test]
fn shutting_down_an_empty_queue_lets_getters_fail() {
    let (wakes, queue) = (Wakes::new(), Queue::<u32>::new(0));
    let mut get = Task::waiting(1, &wakes, queue.get());
    queue.shutdown(false);
    assert_eq!(wakes.take(), [1]);
    assert_eq!(get.ready(), Err(QueueShutDown(())));
    assert_eq!(queue.get().now_or_never(), Some(Err(QueueShutDown(()))));
    assert_eq!(queue.get_nowait(), Err(GetNowaitError::ShutDown));
    assert_eq!(queue.put(1).now_or_never(), Some(Err(QueueShutDown(1))));
    assert_eq!(queue.put_nowait(1), Err(PutNowaitError::ShutDown(1)));
    assert!(queue.is_shut_down() && !queue.is_full());
}

#[test]
fn shutting_down_turns_putters_away_and_lets_getters_drain() {
    let (wakes, queue) = (Wakes::new(), Queue::new(2));
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    let mut woken = Task::waiting(3, &wakes, queue.put(3));
    let mut blocked = Task::waiting(4, &wakes, queue.put(4));
    let mut join = Task::waiting(5, &wakes, queue.join());
    assert_eq!(queue.get_nowait(), Ok(1));
    queue.shutdown(false);
    assert_eq!(wakes.take(), [3, 4]);
    assert_eq!(woken.ready(), Err(QueueShutDown(3)), "the item comes back");
    assert_eq!(blocked.ready(), Err(QueueShutDown(4)));
    assert_eq!(queue.get().now_or_never(), Some(Ok(2)));
    assert_eq!(queue.get().now_or_never(), Some(Err(QueueShutDown(()))));
    queue.task_done().unwrap();
    assert!(join.is_pending());
    queue.task_done().unwrap();
    join.ready();
}

#[test]
fn shutting_down_at_once_drops_items_and_counts_them_as_done() {
    let (wakes, queue) = (Wakes::new(), Queue::new(0));
    for n in 0..3 {
        queue.put_nowait(n).unwrap();
    }
    let mut join = Task::waiting(1, &wakes, queue.join());
    queue.get_nowait().unwrap();
    queue.shutdown(true);
    assert_eq!(queue.get_nowait(), Err(GetNowaitError::ShutDown));
    assert!(join.is_pending(), "one is still being worked on");
    queue.task_done().unwrap();
    join.ready();

    let queue = Queue::new(0);
    queue.put_nowait(1).unwrap();
    let mut join = Task::waiting(2, &wakes, queue.join());
    queue.shutdown(false);
    assert!(join.is_pending());
    queue.shutdown(true);
    join.ready();
}

#[test]
fn a_promise_is_void_once_the_items_are_thrown_away() {
    let (wakes, queue) = (Wakes::new(), Queue::new(0));
    let mut get = Task::waiting(1, &wakes, queue.get());
    let dropped = Task::waiting(2, &wakes, queue.get());
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    queue.shutdown(true);
    drop(dropped);
    assert_eq!(get.ready(), Err(QueueShutDown(())));
    assert_eq!(queue.len(), 0);
}

#[test]
fn the_stream_ends_with_the_shutdown() {
    let (wakes, queue) = (Wakes::new(), Queue::new(0));
    let mut stream = Box::pin(queue.stream());
    queue.put_nowait(1).unwrap();
    assert_eq!(stream.next().now_or_never(), Some(Some(1)));
    let mut next = Task::waiting(1, &wakes, stream.next());
    queue.put_nowait(2).unwrap();
    assert_eq!(next.ready(), Some(2));
    let mut next = Task::waiting(1, &wakes, stream.next());
    queue.shutdown(false);
    assert_eq!(next.ready(), None);
    assert_eq!(poll_once(pin!(stream.next())), Poll::Ready(None));
}
