//! The handle of a child.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::crowd::MemberWake;
use crate::wait::Waits;

/// A child of a group, from outside: awaits to its value.
///
/// Only the value passes here. A child's failure is the group's: it ends the group, and whoever awaited the child is cancelled
/// with it. Dropping the handle changes nothing.
///
/// # Cancel safety
/// Awaiting `&mut child` and dropping that loses nothing.
///
/// ```
/// use rondel_executor::{Executor, task_group};
/// use std::future::pending;
///
/// let executor = Executor::new();
/// let task = executor.spawn(task_group(async |g| {
///     let two = g.spawn(async { Ok::<_, ()>(2) });
///     let never = g.spawn(async { Ok(pending::<u8>().await) });
///     assert_eq!(two.await.unwrap(), 2);
///     never.cancel();
///     assert!(never.await.is_err());
///     Ok(())
/// }));
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), Ok(()));
/// ```
pub struct Child<T>(Rc<ChildState<T>>);

/// What a child and its handle share.
pub(super) struct ChildState<T> {
    value: Cell<Option<T>>,
    stage: Cell<Stage>,
    /// Who awaits the value.
    awaiter: Cell<Option<Waker>>,
    /// Has the group look at it; until it has ended, since its place would not be used again otherwise.
    wake: Cell<Option<Arc<MemberWake>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// To be cancelled at its turn.
    Asked,
    Ended,
}

impl<T> Child<T> {
    /// One that is about to be taken in, and is told what wakes it then.
    pub(super) fn running() -> Self {
        Self::at(Stage::Running)
    }

    /// One that never began.
    pub(super) fn refused() -> Self {
        Self::at(Stage::Ended)
    }

    fn at(stage: Stage) -> Self {
        Self(Rc::new(ChildState {
            value: Cell::new(None),
            stage: Cell::new(stage),
            awaiter: Cell::default(),
            wake: Cell::default(),
        }))
    }

    pub(super) fn state(&self) -> Rc<ChildState<T>> {
        Rc::clone(&self.0)
    }

    pub(super) fn set_wake(&self, wake: Arc<MemberWake>) {
        self.0.wake.set(Some(wake));
    }

    /// Asks this child alone to stop: at its turn its future is dropped where it is suspended. If it finishes first, its
    /// outcome stands. The group and the other children go on.
    ///
    /// Returns whether the request was accepted: `false` for a child that has ended. Asking twice is the same as once.
    pub fn cancel(&self) -> bool {
        match self.0.stage.get() {
            Stage::Ended => return false,
            Stage::Asked => {}
            Stage::Running => {
                self.0.stage.set(Stage::Asked);
                // Not put back: asked once is enough.
                if let Some(wake) = self.0.wake.take() {
                    wake.wake();
                }
            }
        }
        true
    }

    /// Whether the child has ended, in whatever way, and what it left behind when it was cancelled is cleaned up.
    pub fn is_finished(&self) -> bool {
        self.0.stage.get() == Stage::Ended
    }
}

impl<T> ChildState<T> {
    pub(super) fn is_asked(&self) -> bool {
        self.stage.get() == Stage::Asked
    }

    /// The end, with a value or without. The first call counts.
    pub(super) fn end(&self, value: Option<T>) {
        if self.stage.replace(Stage::Ended) == Stage::Ended {
            return;
        }
        drop(self.wake.take());
        self.value.set(value);
        if let Some(awaiter) = self.awaiter.take() {
            awaiter.wake();
        }
    }
}

impl<T> Future for Child<T> {
    type Output = Result<T, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Cancelled>> {
        let state = &*self.0;
        if state.stage.get() == Stage::Ended {
            return Poll::Ready(state.value.take().ok_or(Cancelled(())));
        }
        let known = state.awaiter.take();
        let known = match known {
            Some(known) if known.will_wake(cx.waker()) => known,
            other => {
                drop(other);
                cx.waker().clone()
            }
        };
        if state.stage.get() == Stage::Ended {
            // It ended inside the waker's own code.
            return Poll::Ready(state.value.take().ok_or(Cancelled(())));
        }
        state.awaiter.set(Some(known));
        Waits::CHILD.label(0);
        Poll::Pending
    }
}

/// The child has no value: it was cancelled, spawned into a group that had ended, or it failed, or its value was taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled(());

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the child of a task group was cancelled")
    }
}

impl Error for Cancelled {}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("stage", &self.0.stage.get())
            .finish_non_exhaustive()
    }
}
