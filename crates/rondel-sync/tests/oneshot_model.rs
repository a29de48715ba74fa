//! `oneshot`: random histories of both ends, with waits that are given up and go on in other tasks, agree with a model.

mod harness;

use std::future::Future;
use std::iter::Peekable;
use std::mem::take;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use harness::Wakes;
use proptest::prelude::*;
use rondel_sync::oneshot::{Closed, Receiver, ReceiverClosed, Sender, TryRecvError, channel};

const TASKS: u32 = 3;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The sender waits for the end of the receiver, in a future that lives until the sender is wanted again.
    WaitClosed,
    /// A task polls that future, or the sender by hand.
    PollClosed(u32),
    GiveUp,
    Send,
    DropSender,
    /// A task polls the receiver, by a reference that is gone afterwards.
    Poll(u32),
    TryRecv,
    Close,
    DropReceiver,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::WaitClosed),
        8 => (0..TASKS).prop_map(Op::PollClosed),
        3 => Just(Op::GiveUp),
        2 => Just(Op::Send),
        1 => Just(Op::DropSender),
        8 => (0..TASKS).prop_map(Op::Poll),
        2 => Just(Op::TryRecv),
        1 => Just(Op::Close),
        1 => Just(Op::DropReceiver),
    ]
}

/// A channel: who of the two is there, what is in it, which task would be woken.
#[derive(Default)]
struct Model {
    sender: bool,
    receiver: bool,
    open: bool,
    value: bool,
    receiving: Option<u32>,
    closing: Option<u32>,
    /// Woken by the last operation.
    woken: Vec<u32>,
}

impl Model {
    fn new() -> Self {
        Self {
            sender: true,
            receiver: true,
            open: true,
            ..Self::default()
        }
    }

    fn outcome(&mut self) -> Poll<Result<(), Closed>> {
        if take(&mut self.value) {
            Poll::Ready(Ok(()))
        } else if self.sender && self.open {
            Poll::Pending
        } else {
            Poll::Ready(Err(Closed))
        }
    }

    fn poll(&mut self, task: u32) -> Poll<Result<(), Closed>> {
        let outcome = self.outcome();
        if outcome.is_pending() {
            self.receiving = Some(task);
        }
        outcome
    }

    fn poll_closed(&mut self, task: u32) -> Poll<()> {
        if !self.open {
            return Poll::Ready(());
        }
        self.closing = Some(task);
        Poll::Pending
    }

    fn end_sender(&mut self) {
        self.sender = false;
        self.closing = None;
        self.woken.extend(self.receiving.take());
    }

    fn close(&mut self) {
        self.open = false;
        self.woken.extend(self.closing.take());
    }

    fn end_receiver(&mut self) {
        self.receiver = false;
        self.receiving = None;
        self.value = false;
        self.close();
    }
}

/// Every value is a clone of `value`, so that they can be counted.
type Value = Rc<()>;

struct Run {
    model: Model,
    wakes: Wakes,
    wakers: Vec<Waker>,
    value: Value,
}

impl Run {
    fn new() -> Self {
        let wakes = Wakes::new();
        Self {
            model: Model::new(),
            wakers: (0..TASKS).map(|task| wakes.waker(task)).collect(),
            wakes,
            value: Rc::default(),
        }
    }

    fn context(&self, task: u32) -> Context<'_> {
        Context::from_waker(&self.wakers[task as usize])
    }

    /// After each operation: nobody else was woken, and no value is kept or lost.
    fn check(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.wakes.take(), take(&mut self.model.woken));
        let in_the_channel = usize::from(self.model.value);
        prop_assert_eq!(Rc::strong_count(&self.value), 1 + in_the_channel);
        Ok(())
    }

    /// What the sender does, but for waiting in a future.
    fn sender(&mut self, op: Op, sender: &mut Option<Sender<Value>>) -> Result<(), TestCaseError> {
        let Some(mut tx) = sender.take() else {
            return Ok(());
        };
        prop_assert_eq!(tx.is_closed(), !self.model.open);
        match op {
            Op::PollClosed(task) => {
                let polled = tx.poll_closed(&mut self.context(task));
                prop_assert_eq!(polled, self.model.poll_closed(task));
                *sender = Some(tx);
            }
            Op::Send => {
                self.model.value = self.model.open;
                let sent = tx.send(Rc::clone(&self.value));
                prop_assert_eq!(sent.is_ok(), self.model.open);
                self.model.end_sender();
            }
            Op::DropSender => {
                drop(tx);
                self.model.end_sender();
            }
            _ => *sender = Some(tx),
        }
        self.check()
    }

    fn receiver(
        &mut self,
        op: Op,
        receiver: &mut Option<Receiver<Value>>,
    ) -> Result<(), TestCaseError> {
        let Some(rx) = receiver else {
            return Ok(());
        };
        match op {
            Op::Poll(task) => {
                let polled = Pin::new(rx).poll(&mut self.context(task));
                prop_assert_eq!(polled.map_ok(drop), self.model.poll(task));
            }
            Op::TryRecv => {
                let expected = match self.model.outcome() {
                    Poll::Ready(Ok(())) => Ok(()),
                    Poll::Ready(Err(Closed)) => Err(TryRecvError::Closed),
                    Poll::Pending => Err(TryRecvError::Empty),
                };
                prop_assert_eq!(rx.try_recv().map(drop), expected);
            }
            Op::Close => {
                rx.close();
                self.model.close();
            }
            Op::DropReceiver => {
                *receiver = None;
                self.model.end_receiver();
            }
            _ => {}
        }
        self.check()
    }

    /// Lets the sender wait, while the receiver goes on, until somebody needs the sender.
    fn wait_closed(
        &mut self,
        mut wait: Pin<&mut ReceiverClosed<'_, Value>>,
        ops: &mut Peekable<impl Iterator<Item = Op>>,
        receiver: &mut Option<Receiver<Value>>,
    ) -> Result<(), TestCaseError> {
        while let Some(op) = ops.next_if(|op| !matches!(op, Op::Send | Op::DropSender)) {
            match op {
                Op::PollClosed(task) => {
                    let polled = wait.as_mut().poll(&mut self.context(task));
                    prop_assert_eq!(polled, self.model.poll_closed(task));
                }
                Op::GiveUp => break,
                of_receiver => self.receiver(of_receiver, receiver)?,
            }
            self.check()?;
        }
        Ok(())
    }

    /// One channel, until both ends are gone or nothing is left to do.
    fn channel(
        &mut self,
        ops: &mut Peekable<impl Iterator<Item = Op>>,
    ) -> Result<(), TestCaseError> {
        self.model = Model::new();
        let (sender, receiver) = channel();
        let (mut sender, mut receiver) = (Some(sender), Some(receiver));
        while (self.model.sender || self.model.receiver)
            && let Some(op) = ops.next()
        {
            if let (Op::WaitClosed, Some(sender)) = (op, &mut sender) {
                let mut wait = sender.closed();
                self.wait_closed(Pin::new(&mut wait), ops, &mut receiver)?;
                drop(wait);
                self.model.closing = None;
                self.check()?;
            }
            self.sender(op, &mut sender)?;
            self.receiver(op, &mut receiver)?;
            prop_assert_eq!(sender.is_some(), self.model.sender);
            prop_assert_eq!(receiver.is_some(), self.model.receiver);
        }
        // What is left of it goes in either order.
        drop(sender);
        self.model.end_sender();
        self.check()?;
        drop(receiver);
        self.model.end_receiver();
        self.check()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    /// As many channels one after the other as there are operations for.
    #[test]
    fn histories_agree_with_the_model(ops in prop::collection::vec(op(), 1..100)) {
        let mut run = Run::new();
        let mut ops = ops.into_iter().peekable();
        while ops.peek().is_some() {
            run.channel(&mut ops)?;
        }
    }
}
