//! Parts of a future that are not to be interrupted: whoever would cancel around them waits.
//!
//! Everything of ours that cancels (a task, a [`Cancellable`](crate::Cancellable) in a timeout, a group, a race) polls what it
//! may have to drop inside a *frame*. Frames nest as polls do, and the outermost is the task itself. A [`Shielded`] future
//! counts itself in with every frame around it at its first poll, and out when it is gone; a canceller drops nothing while
//! something is counted in.

pub(crate) mod frame;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::context;
use frame::OpenShields;

/// Keeps `future` from being cancelled from around it: the task that runs it, a timeout, a group or a race that it is part
/// of can be asked to stop, but drop nothing until it has finished. Then they do, at the next point of suspension.
///
/// It need not be `'static`: nothing is spawned, the canceller waits. It does not hold off a plain `drop` (nothing can), the
/// closing of the executor, or cancellers inside the future itself. Keep what is inside short or give it a timeout of its own:
/// whoever cancels waits for as long as it takes.
///
/// For a part that is to run on after the drop, as asyncio's `shield` does, spawn it as a task.
///
/// The protection begins with the first poll.
///
/// ```
/// use rondel_executor::{Executor, shielded};
/// use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll};
///
/// let executor = Executor::new();
/// let written = Rc::new(Cell::new(0));
/// let pages = Rc::clone(&written);
/// let task = executor.spawn(async move {
///     let write_both = async {
///         pages.set(1);
///         yield_once().await;
///         pages.set(2);
///     };
///     shielded(write_both).await;
///     std::future::pending::<()>().await
/// });
/// # async fn yield_once() {
/// #     let mut yielded = false;
/// #     poll_fn(|cx| {
/// #         if std::mem::replace(&mut yielded, true) { return Poll::Ready(()) }
/// #         cx.waker().wake_by_ref();
/// #         Poll::Pending
/// #     }).await
/// # }
/// executor.call_soon(move || { task.cancel(); });
/// executor.run_until_idle();
/// assert_eq!(written.get(), 2);
/// assert_eq!(executor.alive(), 0);
/// ```
pub fn shielded<F: Future>(future: F) -> Shielded<F> {
    Shielded {
        future,
        counted: Counted::default(),
    }
}

pin_project! {
    /// The future of [`shielded`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Shielded<F> {
        // First, so that it is gone when the shields are taken down.
        #[pin]
        future: F,
        counted: Counted,
    }
}

/// Where a shield has been counted in.
#[derive(Default)]
struct Counted {
    begun: bool,
    around: Vec<Rc<OpenShields>>,
}

impl Counted {
    fn count_in(&mut self) {
        self.begun = true;
        self.around = context::shields_around();
        for shields in &self.around {
            shields.open();
        }
    }

    fn count_out(&mut self) {
        for shields in std::mem::take(&mut self.around) {
            shields.close();
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count_out();
    }
}

impl<F: Future> Future for Shielded<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !this.counted.begun {
            this.counted.count_in();
        }
        let polled = this.future.poll(cx);
        if polled.is_ready() {
            this.counted.count_out();
        }
        polled
    }
}

impl<F> fmt::Debug for Shielded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shielded")
            .field("open", &!self.counted.around.is_empty())
            .finish_non_exhaustive()
    }
}
