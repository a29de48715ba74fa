//! Many futures of one type.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use crate::cancellable::Cancellable;
use crate::crowd::{Crowd, Place};

/// Futures of one type, each woken and polled singly, each with its place in the argument.
pub(super) struct Many<F> {
    /// Those not begun. The first poll takes them in order; only what suspends there needs a box of its own.
    waiting: vec::IntoIter<F>,
    /// The place of the next one to begin.
    next: Places,
    begun: Crowd<Begun<F>>,
    /// The box of one that has ended, for the next.
    spare: Option<Pin<Box<Option<F>>>>,
}

type Begun<F> = (usize, Pin<Box<Option<F>>>);

// Each is pinned in a box of its own.
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
            spare: None,
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

fn boxed<F>(spare: &mut Option<Pin<Box<Option<F>>>>, future: F) -> Pin<Box<Option<F>>> {
    match spare.take() {
        Some(mut spare) => {
            spare.set(Some(future));
            spare
        }
        None => Box::pin(Some(future)),
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
            spare,
        } = self;
        let mut batch = begun.batch(cx);
        for future in waiting.by_ref() {
            let member = (next.take(), boxed(spare, future));
            let turn = begun.begin(member, ());
            poll(begun, spare, &turn, &mut ended)?;
        }
        while let Some(turn) = batch.next() {
            poll(begun, spare, &turn, &mut ended)?;
        }
        batch.end(cx);
        ControlFlow::Continue(())
    }
}

#[inline]
fn poll<F: Future>(
    begun: &Crowd<Begun<F>>,
    spare: &mut Option<Pin<Box<Option<F>>>>,
    turn: &Place<Begun<F>, ()>,
    ended: &mut impl FnMut(usize, F::Output) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let polled = match &mut *turn.member() {
        Some((_, future)) => match future.as_mut().as_pin_mut() {
            Some(future) => future.poll(&mut turn.context()),
            None => unreachable!("what has ended has left"),
        },
        None => unreachable!("what has ended has left"),
    };
    match polled {
        Poll::Pending => ControlFlow::Continue(()),
        Poll::Ready(output) => {
            begun.release(turn);
            let gone = turn.member().take();
            let Some((place, mut member)) = gone else {
                unreachable!("it was polled just now");
            };
            member.set(None);
            *spare = Some(member);
            ended(place, output)
        }
    }
}

impl<F: Future> Many<Cancellable<F>> {
    /// Cancels all, those not begun included, and puts them into the queue: run them next.
    pub(super) fn cancel(&mut self) {
        for future in self.waiting.by_ref() {
            let member = (self.next.take(), boxed(&mut self.spare, future));
            self.begun.begin(member, ());
        }
        for member in self.begun.members() {
            if let Some((_, future)) = &mut *member.member()
                && let Some(future) = future.as_mut().as_pin_mut()
            {
                future.cancel();
            }
            self.begun.queue(&member);
        }
    }
}
