//! Locks, channels, broadcasts: what tasks of one thread say to each other.

use std::cell::Cell;
use std::rc::Rc;

use super::Lengths;
use super::rate::rate;
use super::runtime::{Broadcasts, Channels, Locks};
use crate::figure::Figure;

/// As many as take turns at a lock.
const TASKS: usize = 100;
/// Of the semaphore: a tenth of those who want one.
const PERMITS: usize = 10;
const BOUND: usize = 100;
const MESSAGES: u64 = 100_000;
const ROUND_TRIPS: u64 = 10_000;
const RECEIVERS: usize = 100;
const CAPACITY: usize = 16;
/// Whole capacities.
const VALUES: u64 = 1600;

/// A hundred tasks that lock, yield while they have it, and unlock.
pub(crate) fn mutex<R: Locks>(lengths: &Lengths) -> Vec<Figure> {
    lock_in_turns::<R>(lengths, true)
}

/// The same without the yield: nobody ever waits.
pub(crate) fn mutex_plain<R: Locks>(lengths: &Lengths) -> Vec<Figure> {
    lock_in_turns::<R>(lengths, false)
}

fn lock_in_turns<R: Locks>(lengths: &Lengths, yields: bool) -> Vec<Figure> {
    let lengths = *lengths;
    let each = lengths.yields;
    R::run(async move {
        let mut tasks = Vec::with_capacity(TASKS);
        rate(&lengths, TASKS * each, async || {
            let mutex = Rc::new(R::mutex());
            // Read before the yield and written after it, so that it shows if two were inside.
            let count = Rc::new(Cell::new(0));
            tasks.extend((0..TASKS).map(|_| {
                let (mutex, count) = (mutex.clone(), count.clone());
                R::spawn(async move {
                    for _ in 0..each {
                        let guard = R::lock(&mutex).await;
                        let before = count.get();
                        if yields {
                            R::yield_now().await;
                        }
                        count.set(before + 1);
                        drop(guard);
                    }
                })
            }));
            for task in tasks.drain(..) {
                R::joined(task.await);
            }
            assert_eq!(count.get(), TASKS * each, "two held the lock at a time");
        })
        .await
    })
}

/// A hundred tasks that acquire one of ten permits, yield while they have it, and release it.
pub(crate) fn semaphore<R: Locks>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    let each = lengths.yields;
    R::run(async move {
        let mut tasks = Vec::with_capacity(TASKS);
        rate(&lengths, TASKS * each, async || {
            let semaphore = Rc::new(R::semaphore(PERMITS));
            let inside = Rc::new(Cell::new(0));
            tasks.extend((0..TASKS).map(|_| {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                R::spawn(async move {
                    for _ in 0..each {
                        let permit = R::acquire(&semaphore).await;
                        inside.set(inside.get() + 1);
                        assert!(inside.get() <= PERMITS, "more inside than permits");
                        R::yield_now().await;
                        inside.set(inside.get() - 1);
                        drop(permit);
                    }
                })
            }));
            for task in tasks.drain(..) {
                R::joined(task.await);
            }
        })
        .await
    })
}

/// One task that sends as much as the channel takes, one that receives.
pub(crate) fn mpsc<R: Channels>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move {
        rate(&lengths, MESSAGES as usize, async || {
            let (mut sender, mut receiver) = R::channel(BOUND);
            let consumer = R::spawn(async move {
                for expected in 0..MESSAGES {
                    assert_eq!(R::recv(&mut receiver).await, Some(expected));
                }
                assert_eq!(R::recv(&mut receiver).await, None, "the sender is gone");
            });
            let producer = R::spawn(async move {
                for message in 0..MESSAGES {
                    R::send(&mut sender, message).await;
                }
            });
            R::joined(producer.await);
            R::joined(consumer.await);
        })
        .await
    })
}

/// Two tasks that send each other one message in turn, over two channels of one place.
pub(crate) fn ping_pong<R: Channels>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move {
        rate(&lengths, ROUND_TRIPS as usize, async || {
            let (mut to_pong, mut from_ping) = R::channel(1);
            let (mut to_ping, mut from_pong) = R::channel(1);
            let pong = R::spawn(async move {
                while let Some(message) = R::recv(&mut from_ping).await {
                    R::send(&mut to_ping, message + 1).await;
                }
            });
            let ping = R::spawn(async move {
                for message in 0..ROUND_TRIPS {
                    R::send(&mut to_pong, message).await;
                    assert_eq!(R::recv(&mut from_pong).await, Some(message + 1));
                }
            });
            R::joined(ping.await);
            R::joined(pong.await);
        })
        .await
    })
}

/// One task that sends as much as the channel keeps, and then lets the hundred receivers have it. Deliveries count.
pub(crate) fn broadcast<R: Broadcasts>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move {
        let mut tasks = Vec::with_capacity(RECEIVERS + 1);
        rate(&lengths, VALUES as usize * RECEIVERS, async || {
            let (mut sender, receivers) = R::broadcast(CAPACITY, RECEIVERS);
            tasks.extend(receivers.into_iter().map(|mut receiver| {
                R::spawn(async move {
                    for expected in 0..VALUES {
                        assert_eq!(R::receive(&mut receiver).await, expected, "one was missed");
                    }
                })
            }));
            // A task of its own, so that its turn comes after those that it has woken.
            tasks.push(R::spawn(async move {
                for value in 0..VALUES {
                    R::send_to_all(&mut sender, value).await;
                    if (value + 1) % CAPACITY as u64 == 0 {
                        R::yield_now().await;
                    }
                }
            }));
            for task in tasks.drain(..) {
                R::joined(task.await);
            }
        })
        .await
    })
}
