//! A future that can be cancelled where it is: what every combinator that drops other people's futures is made of.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::cleanup::scope::{Cleanup, Scope};
use crate::context;
use crate::shield::frame::Frame;

pin_project! {
    /// A future that whoever polls it can cancel in place.
    ///
    /// As a future it gives `Some` of the output; or `None` once it has been [cancelled](Cancellable::cancel): then the future
    /// inside was dropped where it was suspended, and what it left to clean up has been cleaned up. *Whoever cancels waits*:
    /// keep polling after `cancel`. If the future inside finishes first, its output stands. While a part of it is
    /// [`shielded`](crate::shielded), the drop is put off until that part has finished.
    ///
    /// This is how timeouts, groups and races of this workspace drop what they are given; take it for combinators of your own
    /// and they compose with ours in either order. Nothing is allocated unless something is left to clean up.
    ///
    /// # Cancel safety
    /// Dropped before it was cancelled, the future inside is dropped with it, and leaves its cleanup to the scope around.
    /// Dropped while it waits for cleanup, the rest of the wait is left to the scope around.
    ///
    /// ```
    /// use rondel_executor::{Cancellable, Executor};
    /// use std::{cell::Cell, future::pending, pin::pin, rc::Rc};
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(async {
    ///     let mut waiting = pin!(Cancellable::new(pending::<()>()));
    ///     waiting.as_mut().cancel();
    ///     waiting.await
    /// });
    /// executor.run_until_idle();
    /// assert_eq!(task.into_result().unwrap().unwrap(), None);
    /// ```
    #[must_use = "futures do nothing unless awaited"]
    pub struct Cancellable<F> {
        #[pin]
        future: Option<F>,
        frame: Frame,
        progress: Progress,
    }
}

enum Progress {
    Running,
    /// Asked to stop; the future inside is dropped at the next poll, shields permitting.
    Asked,
    Cleaning(Cleanup),
    Done,
}

impl<F> Cancellable<F> {
    /// Prepares `future` for being cancelled.
    pub fn new(future: F) -> Self {
        Self {
            future: Some(future),
            frame: Frame::default(),
            progress: Progress::Running,
        }
    }

    /// Asks for the future inside to be dropped, which happens at the next poll; so poll next. Does nothing if it was asked
    /// before or has finished.
    pub fn cancel(self: Pin<&mut Self>) {
        let progress = self.project().progress;
        if matches!(progress, Progress::Running) {
            *progress = Progress::Asked;
        }
    }

    /// Whether [`cancel`](Cancellable::cancel) was called before the future inside had finished.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.progress, Progress::Asked | Progress::Cleaning(_))
            || matches!(self.progress, Progress::Done) && self.future.is_none()
    }
}

impl<F: Future> Future for Cancellable<F> {
    type Output = Option<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut this = self.project();
        let cancelled = !matches!(this.progress, Progress::Running);
        if cancelled && !is_held_up(this.future.as_ref(), this.frame, this.progress, cx) {
            return poll_cancelled(this.future, this.progress, cx);
        }
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            unreachable!("it is running");
        };
        // The one call of it, so that the compiler may put it here as a whole.
        match context::with_frame(this.frame, || future.poll(cx)) {
            Poll::Ready(output) => {
                *this.progress = Progress::Done;
                Poll::Ready(Some(output))
            }
            Poll::Pending if cancelled && !this.frame.postpone(cx) => {
                poll_cancelled(this.future, this.progress, cx)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Whether the future inside is to be polled on, though it is to be dropped: a part of it is shielded.
#[cold]
fn is_held_up<F>(
    future: Pin<&Option<F>>,
    frame: &Frame,
    progress: &Progress,
    cx: &Context<'_>,
) -> bool {
    matches!(progress, Progress::Asked) && future.is_some() && frame.postpone(cx)
}

/// Drops the future inside, if that is still to be done, and waits for what it leaves.
#[cold]
fn poll_cancelled<F, T>(
    mut future: Pin<&mut Option<F>>,
    progress: &mut Progress,
    cx: &mut Context<'_>,
) -> Poll<Option<T>> {
    if matches!(progress, Progress::Asked) && future.is_some() {
        // Before the drop, which may panic: the future is gone either way.
        *progress = Progress::Done;
        if std::mem::needs_drop::<F>() {
            let scope = Scope::new();
            scope.enter(|| future.set(None));
            if !scope.is_done() {
                *progress = Progress::Cleaning(Box::pin(async move { scope.wait().await }));
            }
        } else {
            future.set(None);
        }
    }
    match progress {
        Progress::Cleaning(cleaning) => cleaning.as_mut().poll(cx).map(|()| {
            *progress = Progress::Done;
            None
        }),
        _ => {
            assert!(
                future.is_none(),
                "a `Cancellable` was polled after it had given its output"
            );
            Poll::Ready(None)
        }
    }
}

impl<F> fmt::Debug for Cancellable<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = match self.progress {
            Progress::Running => "running",
            Progress::Asked => "asked to stop",
            Progress::Cleaning(_) => "cleaning up",
            Progress::Done => "done",
        };
        f.debug_struct("Cancellable")
            .field("progress", &format_args!("{progress}"))
            .finish_non_exhaustive()
    }
}
