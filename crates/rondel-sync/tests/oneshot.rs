//! `oneshot`: every short history of both ends, and what a value and its drop may do.

mod harness;

use std::fmt::Debug;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use harness::{Task, Wakes, poll_once};
use rondel_sync::oneshot::{Closed, Receiver, Sender, TryRecvError, channel};

#[test]
fn a_value_that_is_there_is_received_without_yielding() {
    let wakes = Wakes::new();
    let (sender, receiver) = channel();
    sender.send(7).unwrap();
    assert_eq!(Task::new(1, &wakes, receiver).ready(), Ok(7));
    assert!(wakes.take().is_empty());
}

#[test]
fn sending_wakes_the_receiver_once() {
    let wakes = Wakes::new();
    let (sender, receiver) = channel();
    let mut task = Task::waiting(1, &wakes, receiver);
    sender.send(7).unwrap();
    assert_eq!(wakes.take(), [1]);
    assert_eq!(task.ready(), Ok(7));
}

#[test]
fn a_dropped_sender_is_noticed() {
    let wakes = Wakes::new();
    let (sender, receiver) = channel::<u32>();
    let mut task = Task::waiting(1, &wakes, receiver);
    drop(sender);
    assert_eq!(wakes.take(), [1]);
    assert_eq!(task.ready(), Err(Closed));
}

#[test]
fn the_receiver_may_change_tasks() {
    let wakes = Wakes::new();
    let (sender, mut receiver) = channel();
    drop(Task::waiting(1, &wakes, &mut receiver));
    let mut second = Task::waiting(2, &wakes, &mut receiver);
    sender.send(7).unwrap();
    assert_eq!(wakes.take(), [2]);
    assert_eq!(second.ready(), Ok(7));
}

#[test]
fn a_value_sent_before_the_close_is_still_received() {
    let (sender, mut receiver) = channel();
    sender.send(7).unwrap();
    receiver.close();
    assert_eq!(poll_once(Pin::new(&mut receiver)), Poll::Ready(Ok(7)));
    assert_eq!(poll_once(Pin::new(&mut receiver)), Poll::Ready(Err(Closed)));
}

#[test]
fn the_end_of_the_receiver_is_noticed_while_waiting_for_it() {
    let wakes = Wakes::new();
    let (mut sender, receiver) = channel::<u32>();
    let mut task = Task::waiting(1, &wakes, sender.closed());
    drop(receiver);
    assert_eq!(wakes.take(), [1]);
    task.ready();
}

#[test]
fn a_dropped_wait_for_the_receivers_end_wakes_nobody() {
    let wakes = Wakes::new();
    let (mut sender, receiver) = channel::<u32>();
    drop(Task::waiting(1, &wakes, sender.closed()));
    drop(receiver);
    assert!(wakes.take().is_empty());
}

#[test]
fn an_unreceived_value_is_dropped_with_the_receiver() {
    let (sender, receiver) = channel();
    let value = Rc::new(());
    sender.send(Rc::clone(&value)).unwrap();
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_value_may_hold_the_other_end_of_its_own_channel() {
    struct Last(#[expect(dead_code, reason = "held for its drop")] Option<Sender<Self>>);
    let (sender, receiver) = channel::<Last>();
    let (other, other_receiver) = channel::<Last>();
    assert!(sender.send(Last(Some(other))).is_ok());
    drop(receiver);
    assert!(matches!(
        Task::new(1, &Wakes::new(), other_receiver).ready(),
        Err(Closed)
    ));
}

/// What the two ends can do, and a model of what they then see.
#[derive(Clone, Copy, Debug)]
enum Op {
    Send,
    DropSender,
    PollClosed,
    IsClosed,
    Poll,
    TryRecv,
    Close,
    DropReceiver,
}

const OPS: [Op; 8] = [
    Op::Send,
    Op::DropSender,
    Op::PollClosed,
    Op::IsClosed,
    Op::Poll,
    Op::TryRecv,
    Op::Close,
    Op::DropReceiver,
];

const VALUE: u32 = 7;
const RECEIVING: u32 = 1;
const CLOSING: u32 = 2;

struct Model {
    sender: bool,
    receiver: bool,
    open: bool,
    value: bool,
    receiving: bool,
    closing: bool,
}

impl Model {
    fn outcome(&mut self) -> Poll<Result<u32, Closed>> {
        if std::mem::take(&mut self.value) {
            Poll::Ready(Ok(VALUE))
        } else if self.sender && self.open {
            Poll::Pending
        } else {
            Poll::Ready(Err(Closed))
        }
    }

    fn end_sender(&mut self, woken: &mut Vec<u32>) {
        self.sender = false;
        self.closing = false;
        if std::mem::take(&mut self.receiving) {
            woken.push(RECEIVING);
        }
    }

    fn close(&mut self, woken: &mut Vec<u32>) {
        if std::mem::take(&mut self.open) && std::mem::take(&mut self.closing) {
            woken.push(CLOSING);
        }
    }
}

#[track_caller]
fn same<T: PartialEq + Debug>(history: &[Op], real: T, model: T) {
    assert_eq!(real, model, "after {history:?}");
}

#[test]
fn every_history_of_six_steps_agrees_with_the_model() {
    let steps = 6;
    for number in 0..OPS.len().pow(steps) {
        let history: Vec<Op> = (0..steps)
            .map(|step| OPS[number / OPS.len().pow(step) % OPS.len()])
            .collect();
        run(&history);
    }
}

fn run(history: &[Op]) {
    let wakes = Wakes::new();
    let (receiving, closing) = (wakes.waker(RECEIVING), wakes.waker(CLOSING));
    let (sender, receiver) = channel::<u32>();
    let (mut sender, mut receiver): (Option<Sender<_>>, Option<Receiver<_>>) =
        (Some(sender), Some(receiver));
    let mut model = Model {
        sender: true,
        receiver: true,
        open: true,
        value: false,
        receiving: false,
        closing: false,
    };
    for (done, op) in history.iter().enumerate() {
        let history = &history[..=done];
        let mut woken = Vec::new();
        match (op, sender.take(), receiver.take()) {
            (Op::Send, Some(tx), rx) => {
                let expected = if model.open { Ok(()) } else { Err(VALUE) };
                model.value = model.open;
                model.end_sender(&mut woken);
                receiver = rx;
                same(history, tx.send(VALUE), expected);
            }
            (Op::DropSender, Some(tx), rx) => {
                drop(tx);
                receiver = rx;
                model.end_sender(&mut woken);
            }
            (Op::PollClosed, Some(mut tx), rx) => {
                let polled = tx.poll_closed(&mut Context::from_waker(&closing));
                same(history, polled.is_ready(), !model.open);
                model.closing |= model.open;
                (sender, receiver) = (Some(tx), rx);
            }
            (Op::IsClosed, Some(tx), rx) => {
                same(history, tx.is_closed(), !model.open);
                (sender, receiver) = (Some(tx), rx);
            }
            (Op::Poll, tx, Some(mut rx)) => {
                let polled = Future::poll(Pin::new(&mut rx), &mut Context::from_waker(&receiving));
                let expected = model.outcome();
                model.receiving |= expected.is_pending();
                same(history, polled, expected);
                (sender, receiver) = (tx, Some(rx));
            }
            (Op::TryRecv, tx, Some(mut rx)) => {
                let expected = match model.outcome() {
                    Poll::Ready(Ok(value)) => Ok(value),
                    Poll::Ready(Err(Closed)) => Err(TryRecvError::Closed),
                    Poll::Pending => Err(TryRecvError::Empty),
                };
                same(history, rx.try_recv(), expected);
                (sender, receiver) = (tx, Some(rx));
            }
            (Op::Close, tx, Some(mut rx)) => {
                rx.close();
                model.close(&mut woken);
                (sender, receiver) = (tx, Some(rx));
            }
            (Op::DropReceiver, tx, Some(rx)) => {
                drop(rx);
                sender = tx;
                model.receiver = false;
                model.value = false;
                model.receiving = false;
                model.close(&mut woken);
            }
            (_, tx, rx) => (sender, receiver) = (tx, rx),
        }
        same(history, wakes.take(), woken);
        same(
            history,
            (sender.is_some(), receiver.is_some()),
            (model.sender, model.receiver),
        );
    }
}
