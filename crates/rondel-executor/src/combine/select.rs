//! The first of two that differ.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::race::race;

/// Which of two it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

/// Runs two futures beside each other, and gives what the first one to end gives; the other is cancelled and waited for.
///
/// [`race`](crate::race) for two different types, as fair as it, and with the same things to heed.
///
/// ```
/// use rondel_executor::{Either, Executor, select};
/// use std::future::{pending, ready};
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     match select(ready("a message"), pending::<u64>()).await {
///         Either::Left(message) => message,
///         Either::Right(_tick) => "a tick",
///     }
/// });
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), "a message");
/// ```
///
/// # Cancel safety
/// As [`race`](crate::race).
pub fn select<A, B>(left: A, right: B) -> impl Future<Output = Either<A::Output, B::Output>>
where
    A: Future,
    B: Future,
{
    race((
        Tagged {
            future: left,
            tag: Either::Left,
        },
        Tagged {
            future: right,
            tag: Either::Right,
        },
    ))
}

pin_project! {
    struct Tagged<F, M> {
        #[pin]
        future: F,
        tag: M,
    }
}

impl<F, M, O> Future for Tagged<F, M>
where
    F: Future,
    M: Fn(F::Output) -> O,
{
    type Output = O;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        let this = self.project();
        this.future.poll(cx).map(&*this.tag)
    }
}
