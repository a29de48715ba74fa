//! Channels: order, bounds, ends that notice each other.

mod harness;

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::{FutureExt, StreamExt};
use harness::{Task, Wakes, poll_once};
use rondel_sync::mpsc::{self, SendError, TryRecvError, TrySendError};

#[test]
fn items_arrive_in_order_and_then_the_end() {
    let (sender, mut receiver) = mpsc::unbounded();
    let other = sender.clone();
    assert!(sender.same_channel(&other));
    sender.try_send(1).unwrap();
    other.try_send(2).unwrap();
    drop(sender);
    assert_eq!(receiver.recv().now_or_never(), Some(Some(1)));
    assert_eq!(receiver.next().now_or_never(), Some(Some(2)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(other);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(receiver.next().now_or_never(), Some(None));
}

#[test]
fn a_waiting_receiver_is_woken_by_an_item_and_by_the_end() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = mpsc::channel(1);
    let mut recv = Task::waiting(1, &wakes, receiver.recv());
    sender.try_send('x').unwrap();
    assert_eq!(wakes.take(), [1]);
    assert_eq!(recv.ready(), Some('x'));
    drop(recv);
    let mut recv = Task::waiting(2, &wakes, receiver.recv());
    drop(sender);
    assert_eq!(wakes.take(), [2]);
    assert_eq!(recv.ready(), None);
}

#[test]
fn a_receiver_that_gave_up_is_not_woken() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = mpsc::channel(1);
    drop(Task::waiting(1, &wakes, receiver.recv()));
    sender.try_send('x').unwrap();
    assert!(wakes.take().is_empty());
    assert_eq!(receiver.try_recv(), Ok('x'));
}

#[test]
fn senders_wait_their_turn() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = mpsc::channel(0);
    sender.try_send(0).unwrap();
    let first = Task::waiting(1, &wakes, sender.send(1));
    let mut second = Task::waiting(2, &wakes, sender.send(2));
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!(receiver.try_recv(), Ok(0));
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)), "promised");
    drop(first);
    assert_eq!(wakes.take(), [1, 2]);
    assert_eq!(second.ready(), Ok(()));
    assert_eq!(receiver.try_recv(), Ok(2));
}

#[test]
fn closing_gives_items_back_and_lets_the_rest_be_received() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = mpsc::channel(1);
    sender.try_send(0).unwrap();
    let mut blocked = Task::waiting(1, &wakes, sender.send(1));
    let mut closed = Task::waiting(2, &wakes, sender.closed());
    receiver.close();
    assert_eq!(wakes.take(), [1, 2]);
    assert_eq!(blocked.ready(), Err(SendError(1)));
    closed.ready();
    assert!(sender.is_closed());
    assert_eq!(sender.send(2).now_or_never(), Some(Err(SendError(2))));
    assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    assert_eq!(receiver.recv().now_or_never(), Some(Some(0)));
    assert_eq!(receiver.recv().now_or_never(), Some(None));
}

#[test]
fn a_dropped_receiver_drops_what_is_left() {
    let wakes = Wakes::new();
    let (sender, receiver) = mpsc::channel(1);
    let item = Rc::new(());
    sender.try_send(Rc::clone(&item)).unwrap();
    let mut blocked = Task::waiting(1, &wakes, sender.send(Rc::clone(&item)));
    drop(receiver);
    assert_eq!(Rc::strong_count(&item), 2);
    assert!(blocked.ready().is_err());
    assert_eq!(Rc::strong_count(&item), 1);
    assert!(sender.closed().now_or_never().is_some());
}

#[test]
fn one_place_each_way_is_enough_for_ping_pong() {
    let (there, mut from_there) = mpsc::channel(1);
    let (back, mut from_back) = mpsc::channel(1);
    let mut both = pin!(futures_util::future::join(
        async move {
            for n in 0..50 {
                there.send(n).await.unwrap();
                assert_eq!(from_back.recv().await, Some(n + 1));
            }
        },
        async move {
            while let Some(n) = from_there.recv().await {
                back.send(n + 1).await.unwrap();
            }
        },
    ));
    let done = (0..200).any(|_| matches!(poll_once(both.as_mut()), Poll::Ready(_)));
    assert!(done);
}
