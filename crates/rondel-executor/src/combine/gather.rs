//! All of them, each output in its place.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::chain::{End, Link};
use super::many::Many;
use super::{OfIterator, OfTuple, for_each_arity, linked, nested};

/// Runs futures beside one another, and gives all their outputs, in the order of the arguments.
///
/// Takes a tuple of up to twelve futures of any types, and gives a tuple; or anything that can be iterated, and gives a `Vec`.
/// They run as parts of the caller, and may borrow. Of many, each is woken and polled singly; of a tuple, a wake polls all
/// that have not ended, and nothing is allocated.
///
/// Give it tasks for what is to go on even if this is dropped. asyncio: `gather(…, return_exceptions=True)`, which makes tasks of
/// what it is given; for its other form, which fails with the first, see [`try_gather`](crate::try_gather). futures: `join!`,
/// `join_all`.
///
/// A panic of one goes on in the caller at once, as it would if the caller had awaited it.
///
/// # Cancel safety
/// Dropping it drops all that have not ended; whoever does so waits for what they leave to clean up.
///
/// ```
/// use rondel_executor::{Executor, gather};
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let (number, word) = gather((async { 1 }, async { "two" })).await;
///     let squares = gather((0..5).map(|n| async move { n * n })).await;
///     (number, word, squares)
/// });
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), (1, "two", vec![0, 1, 4, 9, 16]));
/// ```
#[doc(alias = "join")]
#[doc(alias = "join_all")]
#[doc(alias = "zip")]
pub fn gather<K, G>(futures: G) -> impl Future<Output = G::Output>
where
    G: Gather<K>,
{
    futures.gather()
}

/// What [`gather`] takes: tuples of futures ([`OfTuple`]) and whatever can be iterated to futures ([`OfIterator`]). The compiler
/// finds out which it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be gathered",
    label = "neither a tuple of up to twelve futures, nor something that can be iterated to futures"
)]
pub trait Gather<K> {
    /// A tuple of the outputs, or a `Vec` of them.
    type Output;

    /// The future that runs them; see [`gather`].
    fn gather(self) -> impl Future<Output = Self::Output>;
}

impl<I> Gather<OfIterator> for I
where
    I: IntoIterator<Item: Future>,
{
    type Output = Vec<<I::Item as Future>::Output>;

    fn gather(self) -> impl Future<Output = Self::Output> {
        let futures: Vec<_> = self.into_iter().collect();
        GatherMany {
            outputs: futures.iter().map(|_| None).collect(),
            futures: Many::new(futures, 0),
        }
    }
}

struct GatherMany<F: Future> {
    futures: Many<F>,
    outputs: Vec<Option<F::Output>>,
}

// Each future is pinned in a box of its own, and outputs are not.
impl<F: Future> Unpin for GatherMany<F> {}

impl<F: Future> Future for GatherMany<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<F::Output>> {
        let Self { futures, outputs } = &mut *self;
        let _ = futures.run(cx, |place, output| {
            outputs[place] = Some(output);
            ControlFlow::Continue(())
        });
        if futures.len() > 0 {
            return Poll::Pending;
        }
        Poll::Ready(
            std::mem::take(outputs)
                .into_iter()
                .map(|output| output.expect("each has ended, and once"))
                .collect(),
        )
    }
}

pin_project! {
    struct GatherFew<C, M> {
        #[pin]
        chain: C,
        // Makes a tuple of what the chain gives; taken at the end.
        flatten: Option<M>,
    }
}

impl<C, M, O> Future for GatherFew<C, M>
where
    C: Gathered,
    M: FnOnce(C::Outputs) -> O,
{
    type Output = O;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        let mut this = self.project();
        if !this.chain.as_mut().poll_all(cx) {
            return Poll::Pending;
        }
        let flatten = this
            .flatten
            .take()
            .expect("`gather` is not polled after it was ready");
        Poll::Ready(flatten(this.chain.take_all()))
    }
}

/// A chain whose futures all run to their end.
trait Gathered {
    type Outputs;

    /// Polls those that have not ended; whether all have.
    fn poll_all(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool;
    fn take_all(self: Pin<&mut Self>) -> Self::Outputs;
}

impl Gathered for End {
    type Outputs = ();

    fn poll_all(self: Pin<&mut Self>, _: &mut Context<'_>) -> bool {
        true
    }

    fn take_all(self: Pin<&mut Self>) {}
}

impl<F: Future, R: Gathered> Gathered for Link<F, F::Output, R> {
    type Outputs = (F::Output, R::Outputs);

    fn poll_all(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self
            .as_mut()
            .poll_this(cx, |output, place| *place = Some(output));
        let rest = self.rest().poll_all(cx);
        this && rest
    }

    fn take_all(mut self: Pin<&mut Self>) -> Self::Outputs {
        (self.as_mut().take(), self.rest().take_all())
    }
}

macro_rules! gather_tuple {
    ($($F:ident $T:ident $f:ident),*) => {
        impl<$($F: Future),*> Gather<OfTuple> for ($($F,)*) {
            type Output = ($($F::Output,)*);

            fn gather(self) -> impl Future<Output = Self::Output> {
                let ($($f,)*) = self;
                GatherFew {
                    chain: linked!(std::convert::identity: $($f),*),
                    flatten: Some(|nested!($($f),*)| ($($f,)*)),
                }
            }
        }
    };
}

for_each_arity!(gather_tuple);
