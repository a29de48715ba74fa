//! Whose turn it is to initialise.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::OnceCell;
use crate::label::{self, Awaited};
use crate::wait_list::{WaitList, Waiter};

/// What one who waits is handed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handed {
    /// There is a value.
    Value,
    /// The turn to make it.
    Turn,
}

/// The turn to initialise a cell, passed on when dropped.
pub(super) struct Turn<'a, T> {
    cell: &'a OnceCell<T>,
}

impl<'a, T> Turn<'a, T> {
    fn new(cell: &'a OnceCell<T>) -> Self {
        label::holds(cell.waiters.anchor());
        Self { cell }
    }

    /// Fills the cell and wakes all who wait. Runs foreign code at its end.
    pub(super) fn finish(self, value: T) -> &'a T {
        let cell = self.cell;
        mem::forget(self);
        // It is empty: only one who has the turn fills it while there is one who has it.
        let value = cell.value.get_or_init(|| value);
        cell.taken.set(false);
        label::lets_go(cell.waiters.anchor());
        let mut round = cell.waiters.hand_over();
        while round.give(Handed::Value).is_ok() {}
        value
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        pass_on(self.cell);
    }
}

/// Gives the turn to the next, if there is one, and wakes him.
fn pass_on<T>(cell: &OnceCell<T>) {
    // The guard goes last, even if it was given nothing: inside of another round it wakes those of
    // that round.
    label::lets_go(cell.waiters.anchor());
    let mut round = cell.waiters.hand_over();
    if round.give(Handed::Turn).is_err() {
        cell.taken.set(false);
    }
}

pin_project! {
    /// Waits for the turn, `Some`, or for the value, `None`.
    pub(super) struct NextTurn<'a, T> {
        cell: &'a OnceCell<T>,
        #[pin]
        waiter: Waiter<&'a WaitList<(), Handed>, (), Handed>,
    }

    impl<T> PinnedDrop for NextTurn<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            match this.waiter.cancel() {
                Some(Handed::Turn) => pass_on(this.cell),
                Some(Handed::Value) | None => {}
            }
        }
    }
}

impl<'a, T> NextTurn<'a, T> {
    pub(super) fn new(cell: &'a OnceCell<T>) -> Self {
        Self {
            cell,
            waiter: Waiter::new(&cell.waiters, ()),
        }
    }
}

impl<'a, T> Future for NextTurn<'a, T> {
    type Output = Option<Turn<'a, T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Turn<'a, T>>> {
        let this = self.project();
        let cell = *this.cell;
        // Only one who has no place in the queue yet may find it free. He has seen that there is no
        // value.
        if this.waiter.is_idle() && !cell.taken.replace(true) {
            return Poll::Ready(Some(Turn::new(cell)));
        }
        Poll::Ready(match ready!(this.waiter.poll_for(Awaited::Value, cx)) {
            Handed::Turn => Some(Turn::new(cell)),
            Handed::Value => None,
        })
    }
}
