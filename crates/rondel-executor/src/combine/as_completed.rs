//! One after the other, as they end.

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::task::{Context, Poll};

use super::many::Many;

/// Runs futures beside one another, and yields each output with its place in the argument, as they end.
///
/// They run as parts of whoever asks for the next one, and only then; each is woken and polled singly. Give it tasks for what is
/// to run meanwhile, and to go on when this is dropped. asyncio: `as_completed`. futures: `FuturesUnordered`.
///
/// ```
/// use rondel_executor::{Executor, as_completed};
///
/// # async fn yield_times(n: usize) {
/// #     for _ in 0..n {
/// #         let mut yielded = false;
/// #         std::future::poll_fn(|cx| {
/// #             if std::mem::replace(&mut yielded, true) { return std::task::Poll::Ready(()) }
/// #             cx.waker().wake_by_ref();
/// #             std::task::Poll::Pending
/// #         }).await
/// #     }
/// # }
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let mut ended = as_completed([3, 1, 2].map(|n| async move {
///         yield_times(n).await;
///         n
///     }));
///     let mut order = Vec::new();
///     while let Some((place, output)) = ended.next().await {
///         order.push((place, output));
///     }
///     order
/// });
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), [(1, 1), (2, 2), (0, 3)]);
/// ```
#[doc(alias = "FuturesUnordered")]
pub fn as_completed<I>(futures: I) -> AsCompleted<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    AsCompleted {
        futures: Many::new(futures.into_iter().collect(), 0),
    }
}

/// The stream of [`as_completed`].
///
/// # Cancel safety
/// Dropping what [`next`](AsCompleted::next) returns loses nothing. Dropping the stream drops the futures that have not ended;
/// whoever does so waits for what they leave to clean up.
#[must_use = "streams do nothing unless polled"]
pub struct AsCompleted<F> {
    futures: Many<F>,
}

impl<F: Future> AsCompleted<F> {
    /// The next to end, with its place in the argument; `None` when all have.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing: no output has left the stream, and the futures stay as far as they came. Nothing polls them
    /// until `next` is called again.
    #[expect(
        clippy::should_implement_trait,
        reason = "what streams call it; nobody iterates without waiting"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<(usize, F::Output)>> {
        poll_fn(|cx| self.poll(cx))
    }

    /// How many have not ended.
    pub fn len(&self) -> usize {
        self.futures.len()
    }

    /// Whether all have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        let mut ended = None;
        let _ = self.futures.run(cx, |place, output| {
            ended = Some((place, output));
            // The others keep their place in the queue.
            ControlFlow::Break(())
        });
        if ended.is_none() && self.futures.len() > 0 {
            return Poll::Pending;
        }
        Poll::Ready(ended)
    }
}

#[cfg(feature = "stream")]
#[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
impl<F: Future> futures_core::Stream for AsCompleted<F> {
    type Item = (usize, F::Output);

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<F: Future> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.len())
            .finish()
    }
}
