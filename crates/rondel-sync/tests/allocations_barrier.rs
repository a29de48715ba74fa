//! Allocations of `Barrier`, `Notify` and `OnceCell`, counted: none to wait, to hand over or to
//! give up.

mod counting;
mod harness;

use std::future::{pending, ready};
use std::pin::pin;
use std::task::Poll;

use counting::allocations;
use harness::poll_once;
use rondel_sync::{Barrier, Notify, OnceCell};

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(Box::new(1))), 1);
}

#[test]
fn a_barrier_allocates_nothing() {
    let count = allocations(|| {
        let barrier = Barrier::new(2);
        {
            let (mut first, mut late) = (pin!(barrier.wait()), pin!(barrier.wait()));
            assert!(poll_once(first.as_mut()).is_pending());
            assert_eq!(poll_once(pin!(barrier.wait())), Poll::Ready(Ok(1)));
            assert!(poll_once(late.as_mut()).is_pending());
            assert_eq!(poll_once(first), Poll::Ready(Ok(0)));
            barrier.reset();
            assert!(poll_once(late).is_ready());
        }
        let mut cancelled = pin!(barrier.wait());
        assert!(poll_once(cancelled.as_mut()).is_pending());
        barrier.abort();
    });
    assert_eq!(count, 0);
}

#[test]
fn a_notify_allocates_nothing() {
    let count = allocations(|| {
        let notify = Notify::new();
        notify.notify_one();
        assert!(poll_once(pin!(notify.notified())).is_ready());
        let mut first = pin!(notify.notified());
        {
            let mut dropped = pin!(notify.notified());
            assert!(poll_once(dropped.as_mut()).is_pending());
            assert!(poll_once(first.as_mut()).is_pending());
            notify.notify_one();
        }
        assert!(poll_once(first).is_ready());
        notify.notify_waiters();
    });
    assert_eq!(count, 0);
}

#[test]
fn a_once_cell_allocates_nothing() {
    let count = allocations(|| {
        let cell = OnceCell::new();
        let mut second = pin!(cell.get_or_init(|| ready(2)));
        let mut third = pin!(cell.get_or_init(|| ready(3)));
        {
            let mut first = pin!(cell.get_or_init(pending));
            assert!(poll_once(first.as_mut()).is_pending());
            assert!(poll_once(second.as_mut()).is_pending());
            assert!(poll_once(third.as_mut()).is_pending());
        }
        assert_eq!(poll_once(second), Poll::Ready(&2));
        assert_eq!(poll_once(third), Poll::Ready(&2));
        assert_eq!(
            poll_once(pin!(cell.get_or_init(|| ready(4)))),
            Poll::Ready(&2)
        );
    });
    assert_eq!(count, 0);
}

#[test]
fn the_waiting_futures_are_small() {
    let words = |bytes: usize| bytes.div_ceil(size_of::<usize>());
    assert!(words(size_of_val(&Barrier::new(1).wait())) <= 10);
    // A count of 64 bits is two words on some targets.
    assert!(words(size_of_val(&Notify::new().notified())) <= 11);
}
