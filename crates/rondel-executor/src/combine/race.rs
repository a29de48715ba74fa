//! The first of them.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::chain::{End, Link};
use super::many::Many;
use super::{OfIterator, OfTuple, fair, for_each_arity, linked};
use crate::cancellable::Cancellable;

/// Runs futures beside one another, and gives what the first one to end gives; the others are cancelled and waited for, what
/// they leave to clean up included.
///
/// Takes a tuple of up to twelve futures with one type of output, and gives that output; or anything that can be iterated to
/// futures, and gives the place and the output of the first, `None` if there are none. For two of different types see
/// [`select`](crate::select).
///
/// It is fair: of several that are ready at the same time none is preferred by its place. Who is polled first is drawn anew
/// every time (of many: once, the order of their wakes after that), from a sequence that is the same on every thread, so that
/// runs repeat.
///
/// Give it tasks for what is to go on when it has lost. asyncio: `wait(…, return_when=FIRST_COMPLETED)` and cancelling the rest.
/// tokio: `select!`. futures: `select`, `select_all`.
///
/// A panic of one goes on in the caller at once.
///
/// # Cancel safety
/// Dropping it drops all futures; whoever does so waits for what they leave to clean up. An output that a loser had half
/// ready is lost with it: race what is cancel-safe itself, or keep it outside and race `&mut` to it.
///
/// ```
/// use rondel_executor::{Executor, race};
/// use std::future::{pending, ready};
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let answer = race((pending(), ready("cache"), pending())).await;
///     assert_eq!(answer, "cache");
///     let place = race((0..3).map(|n| async move {
///         if n != 2 {
///             pending::<()>().await
///         }
///     }))
///     .await;
///     assert_eq!(place, Some((2, ())));
/// });
/// executor.run_until_idle();
/// assert!(task.into_result().unwrap().is_ok());
/// ```
#[doc(alias = "select_all")]
#[doc(alias = "FIRST_COMPLETED")]
pub fn race<K, G>(futures: G) -> impl Future<Output = G::Output>
where
    G: Race<K>,
{
    futures.race()
}

/// What [`race`] takes: tuples of futures ([`OfTuple`]) and whatever can be iterated to futures ([`OfIterator`]). The compiler
/// finds out which it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot race",
    label = "neither a tuple of up to twelve futures with one type of output, nor something that can be iterated to futures"
)]
pub trait Race<K> {
    /// What the first one gives.
    type Output;

    /// The future that runs them; see [`race`].
    fn race(self) -> impl Future<Output = Self::Output>;
}

impl<I> Race<OfIterator> for I
where
    I: IntoIterator<Item: Future>,
{
    type Output = Option<(usize, <I::Item as Future>::Output)>;

    fn race(self) -> impl Future<Output = Self::Output> {
        let futures: Vec<_> = self.into_iter().map(Cancellable::new).collect();
        let first = fair::start(futures.len());
        RaceMany {
            futures: Many::new(futures, first),
            winner: None,
        }
    }
}

struct RaceMany<F: Future> {
    futures: Many<Cancellable<F>>,
    winner: Option<(usize, F::Output)>,
}

// Each future is pinned in a box of its own, and outputs are not.
impl<F: Future> Unpin for RaceMany<F> {}

impl<F: Future> Future for RaceMany<F> {
    type Output = Option<(usize, F::Output)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { futures, winner } = &mut *self;
        if winner.is_none() {
            let _ = futures.run(cx, |place, output| match output {
                Some(output) => {
                    *winner = Some((place, output));
                    ControlFlow::Break(())
                }
                None => unreachable!("nobody has been cancelled yet"),
            });
            if winner.is_some() {
                futures.cancel();
            }
        }
        if winner.is_some() {
            let _ = futures.run(cx, |_, late| {
                drop(late);
                ControlFlow::Continue(())
            });
        }
        if futures.len() > 0 {
            return Poll::Pending;
        }
        Poll::Ready(winner.take())
    }
}

pin_project! {
    struct RaceFew<C, T> {
        #[pin]
        chain: C,
        winner: Option<T>,
    }
}

impl<C, T> Future for RaceFew<C, T>
where
    C: Raced<T>,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut this = self.project();
        if this.winner.is_none() {
            let first = fair::start(C::LEN);
            this.chain.as_mut().poll_from(first, cx, this.winner);
            if this.winner.is_none() {
                this.chain.as_mut().poll_before(first, cx, this.winner);
            }
            if this.winner.is_none() {
                return Poll::Pending;
            }
            this.chain.as_mut().cancel();
        }
        if !this.chain.poll_to_end(cx) {
            return Poll::Pending;
        }
        match this.winner.take() {
            Some(winner) => Poll::Ready(winner),
            None => unreachable!("set above"),
        }
    }
}

/// A chain of which one is enough.
trait Raced<T> {
    const LEN: usize;

    /// Polls those from this place on, until one wins.
    fn poll_from(self: Pin<&mut Self>, place: usize, cx: &mut Context<'_>, winner: &mut Option<T>);
    /// Polls those before this place, until one wins.
    fn poll_before(
        self: Pin<&mut Self>,
        place: usize,
        cx: &mut Context<'_>,
        winner: &mut Option<T>,
    );
    fn cancel(self: Pin<&mut Self>);
    /// Polls those that have not ended, whatever comes of it; whether all have.
    fn poll_to_end(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool;
}

impl<T> Raced<T> for End {
    const LEN: usize = 0;

    fn poll_from(self: Pin<&mut Self>, _: usize, _: &mut Context<'_>, _: &mut Option<T>) {}

    fn poll_before(self: Pin<&mut Self>, _: usize, _: &mut Context<'_>, _: &mut Option<T>) {}

    fn cancel(self: Pin<&mut Self>) {}

    fn poll_to_end(self: Pin<&mut Self>, _: &mut Context<'_>) -> bool {
        true
    }
}

impl<F, T, R> Raced<T> for Link<Cancellable<F>, (), R>
where
    F: Future<Output = T>,
    R: Raced<T>,
{
    const LEN: usize = 1 + R::LEN;

    fn poll_from(
        mut self: Pin<&mut Self>,
        place: usize,
        cx: &mut Context<'_>,
        winner: &mut Option<T>,
    ) {
        if place == 0 {
            self.as_mut().poll_this(cx, |output, _| *winner = output);
        }
        if winner.is_none() {
            self.rest().poll_from(place.saturating_sub(1), cx, winner);
        }
    }

    fn poll_before(
        mut self: Pin<&mut Self>,
        place: usize,
        cx: &mut Context<'_>,
        winner: &mut Option<T>,
    ) {
        if place > 0 {
            self.as_mut().poll_this(cx, |output, _| *winner = output);
            if winner.is_none() {
                self.rest().poll_before(place - 1, cx, winner);
            }
        }
    }

    fn cancel(mut self: Pin<&mut Self>) {
        if let Some(future) = self.as_mut().this() {
            future.cancel();
        }
        self.rest().cancel();
    }

    fn poll_to_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.as_mut().poll_this(cx, |late, _| drop(late));
        let rest = self.rest().poll_to_end(cx);
        this && rest
    }
}

macro_rules! race_tuple {
    ($($F:ident $T:ident $f:ident),*) => {
        impl<T, $($F),*> Race<OfTuple> for ($($F,)*)
        where
            $($F: Future<Output = T>,)*
        {
            type Output = T;

            fn race(self) -> impl Future<Output = T> {
                let ($($f,)*) = self;
                RaceFew {
                    chain: linked!(Cancellable::new: $($f),*),
                    winner: None,
                }
            }
        }
    };
}

for_each_arity!(race_tuple);
