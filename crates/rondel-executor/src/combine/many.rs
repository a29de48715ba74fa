//! Many futures of one type.

use std::future::Future;
use std::ops::ControlFlow;
use std::task::{Context, Poll};
use std::vec;

use crate::cancellable::Cancellable;
use crate::crowd::{Crowd, Place};

/// Futures of one type, each woken and polled singly, each with its place in the argument.
pub(super) struct Many<F> {
    /// Those not begun. The first poll takes them in order; what ends there leaves its place to the next.
    waiting: vec::IntoIter<F>,
    /// The place of the next one to begin.
    next: Places,
    /// Each with its place in the argument.
    begun: Crowd<F, usize>,
}

// Each is pinned where the crowd keeps it.
impl<F> Unpin for Many<F> {}

impl<F> Many<F> {
    /// They begin with the one at `first`, and go round.
    pub(super) fn new(mut futures: Vec<F>, first: usize) -> Self {
        futures.rotate_left(first);
        Self {
            next: Places {
                next: first,
                count: futures.len(),
            },
            waiting: futures.into_iter(),
            begun: Crowd::new(),
        }
    }

    /// How many have not ended.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.begun.len()
    }
}

/// Counts through the places, from any of them on and round.
struct Places {
    next: usize,
    count: usize,
}

impl Places {
    fn take(&mut self) -> usize {
        let place = self.next;
        self.next = if place + 1 == self.count {
            0
        } else {
            place + 1
        };
        place
    }
}

impl<F: Future> Many<F> {
    /// Polls those not begun and those woken, each once, and hands the outputs to `ended`, each with its place. That may
    /// break it off; then call again, now or at the next poll, for nobody is told of the others until then.
    pub(super) fn run(
        &mut self,
        cx: &Context<'_>,
        mut ended: impl FnMut(usize, F::Output) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Self {
            waiting,
            next,
            begun,
        } = self;
        let mut batch = begun.batch(cx);
        for future in waiting.by_ref() {
            let turn = begun.begin(future, next.take());
            poll(begun, &turn, &mut ended)?;
        }
        while let Some(turn) = batch.next() {
            poll(begun, &turn, &mut ended)?;
        }
        batch.end(cx);
        ControlFlow::Continue(())
    }
}

#[inline]
fn poll<F: Future>(
    begun: &Crowd<F, usize>,
    turn: &Place<F, usize>,
    ended: &mut impl FnMut(usize, F::Output) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let polled = turn.with_pinned(|member| match member.as_pin_mut() {
        Some(future) => future.poll(&mut turn.context()),
        None => unreachable!("what has ended has left"),
    });
    match polled {
        Poll::Pending => ControlFlow::Continue(()),
        Poll::Ready(output) => {
            begun.release(turn);
            turn.with_pinned(|mut member| member.set(None));
            ended(*turn.about(), output)
        }
    }
}

impl<F: Future> Many<Cancellable<F>> {
    /// Cancels all, those not begun included, and puts them into the queue: run them next.
    pub(super) fn cancel(&mut self) {
        for future in self.waiting.by_ref() {
            self.begun.begin(future, self.next.take());
        }
        for place in self.begun.members() {
            place.with_pinned(|member| {
                if let Some(future) = member.as_pin_mut() {
                    future.cancel();
                }
            });
            self.begun.queue(&place);
        }
    }
}
