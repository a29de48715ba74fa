//! The main future: a task whose future lives on the stack of whoever runs it to its end.
//!
//! It may borrow, so it cannot be handed to the queue. What stands in the queue in its place is a marker; the runner polls
//! the future when it finds it. In every other respect (name, cancellation, cleanup) it is a task as any other.

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

use crate::claim::Claim;
use crate::context::{Polling, Turn};
use crate::core::Local;
use crate::executor::Executor;
use crate::executor::observed::{Observed, Who};
use crate::lost::Lost;
use crate::site::Site;
use crate::span::poll::poll_inside;
use crate::task::handle::cancel;
use crate::task::harness::{clean_up, drive, finish};
use crate::task::header::Header;
use crate::task::info::TaskInfo;
use crate::task::join_error::{JoinError, PanicPayload};
use crate::task::main_task::{MainTask, MainWaker};
use crate::task_local::current::bequeath;
use crate::task_local::snapshot::TaskLocals;

impl MainTask {
    pub(crate) fn cancel(&self) -> bool {
        let accepted = cancel(&self.header);
        if accepted {
            self.waker.wake_by_ref();
        }
        accepted
    }
}

/// A future being run to its end by an executor's owner, in place.
///
/// Make one with [`Executor::main`], then run batches; whenever one ends with [`BatchEnd::Main`](crate::BatchEnd::Main),
/// call [`poll`](Main::poll). Dropped before its end, the future is dropped, and what it leaves to clean up is left to the
/// executor.
pub struct Main<'e, 'f, F: Future> {
    executor: &'e Executor,
    task: Rc<MainTask>,
    future: Pin<&'f mut Option<F>>,
    /// The output while cleanup is under way.
    parked: Option<F::Output>,
    finished: bool,
}

impl Executor {
    /// Prepares to run `future`, in place, as this executor's main task. It is queued at once; whenever a batch ends with
    /// [`BatchEnd::Main`](crate::BatchEnd::Main), poll it. `None` if there is a main task already, or no future.
    ///
    /// ```
    /// use rondel_executor::{BatchEnd, Executor};
    /// use std::{pin::pin, task::Poll};
    ///
    /// let executor = Executor::new();
    /// let words = vec!["it", "borrows"];
    /// let mut future = pin!(Some(async { words.len() }));
    /// let mut main = executor.main(future.as_mut()).unwrap();
    /// let turn = executor.enter().unwrap();
    /// assert_eq!(turn.run_batch(|| true), BatchEnd::Main);
    /// assert!(matches!(main.poll(), Poll::Ready(Ok(2))));
    /// ```
    #[track_caller]
    pub fn main<'e, 'f, F: Future>(
        &'e self,
        future: Pin<&'f mut Option<F>>,
    ) -> Option<Main<'e, 'f, F>> {
        Main::new(self, future, Location::caller())
    }
}

impl<'e, 'f, F: Future> Main<'e, 'f, F> {
    pub(crate) fn new(
        executor: &'e Executor,
        future: Pin<&'f mut Option<F>>,
        site: Site,
    ) -> Option<Self> {
        let local = executor.local();
        if local.main.borrow().is_some() || future.is_none() {
            return None;
        }
        let core = Arc::clone(executor.core());
        let task = Rc::new(MainTask {
            header: Header::new(Claim::new(&core, local), site, 0),
            waker: Arc::new(MainWaker::new(core)),
        });
        bequeath(&task.header, local);
        *local.main.borrow_mut() = Some(Rc::clone(&task));
        task.waker.wake_by_ref();
        Some(Self {
            executor,
            task,
            future,
            parked: None,
            finished: false,
        })
    }

    /// Polls the future once. Ready with its outcome, once what it left behind has been cleaned up.
    ///
    /// # Panics
    /// If it is polled again after it was ready.
    pub fn poll(&mut self) -> Poll<Result<F::Output, JoinError>> {
        assert!(!self.finished, "the main future has been run to its end");
        let core = Arc::clone(self.executor.core());
        let local = self.executor.local();
        let _turn = Turn::enter(&core);
        let task = Rc::clone(&self.task);
        // AcqRel: a wake that found the marker queued left its news to this poll, which must see them.
        task.waker.queued.swap(false, Ordering::AcqRel);
        let waker = Waker::from(Arc::clone(&task.waker));
        let mut cx = Context::from_waker(&waker);
        if !local.observed.get() {
            return self.poll_here(local, &task, &mut cx);
        }
        let (observer, pulse) = {
            let hooks = local.hooks.borrow();
            (hooks.observer.clone(), hooks.pulse.clone())
        };
        let observed = observer
            .as_ref()
            .map(|observer| Observed::task(local, observer, &task.header));
        let polled = self.poll_here(local, &task, &mut cx);
        drop(observed);
        if let Some(pulse) = pulse {
            pulse.ran(local, Who::task(&task.header));
        }
        polled
    }

    #[inline]
    fn poll_here(
        &mut self,
        local: &Local,
        task: &MainTask,
        cx: &mut Context<'_>,
    ) -> Poll<Result<F::Output, JoinError>> {
        let polling = Polling::of(&task.header);
        let header = polling.header();
        poll_inside(header, local, size_of::<F>(), cx, |cx| {
            self.poll_at_home(header, local, cx)
        })
    }

    #[inline]
    fn poll_at_home(
        &mut self,
        header: &Header,
        local: &Local,
        cx: &mut Context<'_>,
    ) -> Poll<Result<F::Output, JoinError>> {
        if !header.has(Header::CLEANING) {
            match drive(header, local, self.future.as_mut(), cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(output) => self.parked = output,
            }
        }
        if clean_up(header, local, cx).is_pending() {
            return Poll::Pending;
        }
        let output = finish(header, local, self.parked.take());
        self.finished = true;
        Poll::Ready(outcome(header, local, output))
    }

    /// Names the main task, for reports.
    pub fn set_name(&self, name: impl Into<String>) {
        let name: Arc<str> = name.into().into();
        self.task.header.span.rename(&name);
        self.executor
            .local()
            .with_extras(&self.task.header, |extras| extras.name = Some(name));
    }

    /// Gives it these task-local values instead of the ones it inherited where it was made.
    pub fn set_locals(&self, locals: &TaskLocals) {
        let header = &self.task.header;
        let local = self.executor.local();
        if !locals.is_empty() || header.has(Header::EXTRAS) {
            header.note_locals();
            let before = local.with_extras(header, |extras| {
                mem::replace(&mut extras.locals, locals.share())
            });
            // Not under the borrow: values may go with it.
            drop(before);
        }
    }

    /// What can be said about it.
    pub fn info(&self) -> TaskInfo {
        TaskInfo::of(&self.task.header, self.executor.local())
    }
}

fn outcome<T>(header: &Header, local: &Local, output: Option<T>) -> Result<T, JoinError> {
    let panic = local.extras(header, |extras| extras.panic.take()).flatten();
    match (output, panic) {
        (Some(output), _) => Ok(output),
        (None, Some(payload)) => Err(JoinError::Panicked(PanicPayload::new(payload))),
        (None, None) => Err(JoinError::Cancelled),
    }
}

impl<F: Future> Drop for Main<'_, '_, F> {
    fn drop(&mut self) {
        let local = self.executor.local();
        let core = Arc::clone(self.executor.core());
        if !self.finished {
            let _turn = Turn::enter(&core);
            // Outside its own scope, which nobody waits for any more: what it leaves goes to the executor.
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                self.future.set(None);
                self.parked = None;
            }));
            if let Err(payload) = dropped {
                local.report(Lost::drop_panicked(self.info(), payload));
            }
            local.count_finished();
        }
        local.forget_extras(&self.task.header);
        let gone = local.main.take();
        drop(gone);
        // The marker may still stand in the queue; the runner that finds it has no main future and skips it.
    }
}

impl<F: Future> fmt::Debug for Main<'_, '_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Main")
            .field("task", &self.info())
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}
