//! All of them, or the first error.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::chain::{End, Link};
use super::many::Many;
use super::{OfIterator, OfTuple, for_each_arity, linked, nested};
use crate::cancellable::Cancellable;

/// Runs futures beside one another, and gives all their values in the order of the arguments, or the first error.
///
/// Takes what [`gather`](crate::gather) takes, of futures that return `Result`s with one type of error. With the first error all
/// others are cancelled and waited for, what they leave to clean up included; then it is returned. Errors that come later
/// are dropped: a [`task_group`](crate::task_group) collects them.
///
/// asyncio's `gather` returns the first error at once and lets the others run on. For that, give it tasks, whose handles detach
/// when they are dropped:
///
/// ```
/// use rondel_executor::{Executor, JoinError, Spawner, try_gather};
///
/// async fn fetch(page: u32) -> Result<u32, &'static str> {
///     if page == 2 { Err("not found") } else { Ok(page) }
/// }
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     assert_eq!(try_gather((fetch(1), fetch(3))).await, Ok((1, 3)));
///     assert_eq!(try_gather((1..4).map(fetch)).await, Err("not found"));
///
///     let here = Spawner::current().unwrap();
///     let detached = (1..4).map(|page| {
///         let task = here.spawn(fetch(page));
///         async { task.await.unwrap_or(Err("cancelled")) }
///     });
///     assert_eq!(try_gather(detached).await, Err("not found"));
/// });
/// executor.run_until_idle();
/// assert!(task.into_result().unwrap().is_ok());
/// ```
///
/// A panic of one goes on in the caller at once.
///
/// # Errors
/// The first error of any of them.
///
/// # Cancel safety
/// Dropping it drops all that have not ended; whoever does so waits for what they leave to clean up.
#[doc(alias = "try_join")]
#[doc(alias = "try_join_all")]
pub fn try_gather<K, G>(futures: G) -> impl Future<Output = Result<G::Values, G::Error>>
where
    G: TryGather<K>,
{
    futures.try_gather()
}

/// What [`try_gather`] takes: tuples of futures ([`OfTuple`]) and whatever can be iterated to futures ([`OfIterator`]). The
/// compiler finds out which it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be gathered",
    label = "neither a tuple of up to twelve futures of `Result`s with one type of error, nor something that can be iterated \
             to such futures"
)]
pub trait TryGather<K> {
    /// A tuple of the values, or a `Vec` of them.
    type Values;
    /// What they fail with.
    type Error;

    /// The future that runs them; see [`try_gather`].
    fn try_gather(self) -> impl Future<Output = Result<Self::Values, Self::Error>>;
}

impl<I, T, E> TryGather<OfIterator> for I
where
    I: IntoIterator<Item: Future<Output = Result<T, E>>>,
{
    type Values = Vec<T>;
    type Error = E;

    fn try_gather(self) -> impl Future<Output = Result<Vec<T>, E>> {
        let futures: Vec<_> = self.into_iter().map(Cancellable::new).collect();
        TryGatherMany {
            values: futures.iter().map(|_| None).collect(),
            futures: Many::new(futures, 0),
            failed: None,
        }
    }
}

struct TryGatherMany<F, T, E> {
    futures: Many<Cancellable<F>>,
    values: Vec<Option<T>>,
    failed: Option<E>,
}

// Each future is pinned in a box of its own, and values are not.
impl<F, T, E> Unpin for TryGatherMany<F, T, E> {}

impl<F, T, E> Future for TryGatherMany<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Vec<T>, E>> {
        let Self {
            futures,
            values,
            failed,
        } = &mut *self;
        if failed.is_none() {
            let _ = futures.run(cx, |place, ended| match ended {
                Some(Ok(value)) => {
                    values[place] = Some(value);
                    ControlFlow::Continue(())
                }
                Some(Err(error)) => {
                    *failed = Some(error);
                    ControlFlow::Break(())
                }
                None => unreachable!("nobody has been cancelled yet"),
            });
            if failed.is_some() {
                futures.cancel();
            }
        }
        if failed.is_some() {
            let _ = futures.run(cx, |_, late| {
                drop(late);
                ControlFlow::Continue(())
            });
        }
        if futures.len() > 0 {
            return Poll::Pending;
        }
        Poll::Ready(match failed.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(values)
                .into_iter()
                .map(|value| value.expect("each has ended, and once"))
                .collect()),
        })
    }
}

pin_project! {
    struct TryGatherFew<C, E, M> {
        #[pin]
        chain: C,
        failed: Option<E>,
        // Makes a tuple of what the chain gives; taken at the end.
        flatten: Option<M>,
    }
}

impl<C, E, M, O> Future for TryGatherFew<C, E, M>
where
    C: TryGathered<E>,
    M: FnOnce(C::Values) -> O,
{
    type Output = Result<O, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<O, E>> {
        let mut this = self.project();
        if this.failed.is_none() {
            let all = this.chain.as_mut().poll_until(cx, this.failed);
            if this.failed.is_none() {
                if !all {
                    return Poll::Pending;
                }
                let flatten = this
                    .flatten
                    .take()
                    .expect("`try_gather` is not polled after it was ready");
                return Poll::Ready(Ok(flatten(this.chain.take_all())));
            }
            this.chain.as_mut().cancel();
        }
        if !this.chain.poll_to_end(cx) {
            return Poll::Pending;
        }
        match this.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => unreachable!("set above"),
        }
    }
}

/// A chain whose futures run until one fails.
trait TryGathered<E> {
    type Values;

    /// Polls those that have not ended, until one fails; whether all have ended.
    fn poll_until(self: Pin<&mut Self>, cx: &mut Context<'_>, failed: &mut Option<E>) -> bool;
    fn cancel(self: Pin<&mut Self>);
    /// Polls those that have not ended, whatever comes of it; whether all have.
    fn poll_to_end(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool;
    fn take_all(self: Pin<&mut Self>) -> Self::Values;
}

impl<E> TryGathered<E> for End {
    type Values = ();

    fn poll_until(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut Option<E>) -> bool {
        true
    }

    fn cancel(self: Pin<&mut Self>) {}

    fn poll_to_end(self: Pin<&mut Self>, _: &mut Context<'_>) -> bool {
        true
    }

    fn take_all(self: Pin<&mut Self>) {}
}

impl<F, T, E, R> TryGathered<E> for Link<Cancellable<F>, T, R>
where
    F: Future<Output = Result<T, E>>,
    R: TryGathered<E>,
{
    type Values = (T, R::Values);

    fn poll_until(mut self: Pin<&mut Self>, cx: &mut Context<'_>, failed: &mut Option<E>) -> bool {
        let this = self.as_mut().poll_this(cx, |ended, place| match ended {
            Some(Ok(value)) => *place = Some(value),
            Some(Err(error)) => *failed = Some(error),
            None => unreachable!("nobody has been cancelled yet"),
        });
        if failed.is_some() {
            return false;
        }
        let rest = self.rest().poll_until(cx, failed);
        this && rest
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

    fn take_all(mut self: Pin<&mut Self>) -> Self::Values {
        (self.as_mut().take(), self.rest().take_all())
    }
}

macro_rules! try_gather_tuple {
    ($($F:ident $T:ident $f:ident),*) => {
        impl<E, $($F, $T),*> TryGather<OfTuple> for ($($F,)*)
        where
            $($F: Future<Output = Result<$T, E>>,)*
        {
            type Values = ($($T,)*);
            type Error = E;

            fn try_gather(self) -> impl Future<Output = Result<Self::Values, E>> {
                let ($($f,)*) = self;
                TryGatherFew {
                    chain: linked!(Cancellable::new: $($f),*),
                    failed: None,
                    flatten: Some(|nested!($($f),*)| ($($f,)*)),
                }
            }
        }
    };
}

for_each_arity!(try_gather_tuple);
