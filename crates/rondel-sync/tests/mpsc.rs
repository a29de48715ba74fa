//! Channels: order, bounds, ends that notice each other.

mod harness;

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::{FutureExt, StreamExt};
use harness::{Task, Wakes, poll_once};
use proptest::prelude::*;
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    #[test]
    fn random_programs_agree_with_two_lines_of_a_model(
        bound in 1..4usize,
        program in prop::collection::vec((0..7u8, 0..4usize), 1..80),
    ) {
        let wakes = Wakes::new();
        let (sender, mut receiver) = mpsc::channel(bound);
        let mut sending: [Option<Task<mpsc::Send<'_, usize>>>; 4] = Default::default();
        // What is in the channel; who waits for room, who has been let in but has not run.
        let (mut items, mut line, mut let_in) = (VecDeque::new(), VecDeque::new(), Vec::new());
        for (number, (what, slot)) in program.into_iter().enumerate() {
            let room = items.len() + let_in.len() < bound;
            match what {
                0 => {
                    prop_assert_eq!(sender.try_send(number).is_ok(), room);
                    if room {
                        items.push_back(number);
                    }
                }
                1 | 2 if sending[slot].is_none() => {
                    let mut task = Task::new(slot as u32, &wakes, sender.send(number));
                    prop_assert_eq!(task.poll().is_ready(), room);
                    if room {
                        items.push_back(number);
                    } else {
                        sending[slot] = Some(task);
                        line.push_back((slot, number));
                    }
                }
                1..=3 => {
                    if let Some(mut task) = sending[slot].take() {
                        match let_in.iter().position(|&(other, _)| other == slot) {
                            Some(index) => {
                                prop_assert_eq!(task.ready(), Ok(()));
                                items.push_back(let_in.remove(index).1);
                            }
                            None => {
                                prop_assert!(task.is_pending());
                                sending[slot] = Some(task);
                            }
                        }
                    }
                }
                4 => {
                    sending[slot] = None;
                    line.retain(|&(other, _)| other != slot);
                    let_in.retain(|&(other, _)| other != slot);
                }
                _ => prop_assert_eq!(receiver.try_recv().ok(), items.pop_front()),
            }
            let mut woken = Vec::new();
            while items.len() + let_in.len() < bound
                && let Some(next) = line.pop_front()
            {
                woken.push(next.0 as u32);
                let_in.push(next);
            }
            prop_assert_eq!(wakes.take(), woken);
            prop_assert_eq!(receiver.len(), items.len());
        }
        drop(sending);
        drop(sender);
        let rest: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        prop_assert_eq!(rest, items.into_iter().collect::<Vec<_>>());
    }
}
