//! The handle of a task.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::context;
use crate::core::Local;
use crate::lost::{Lost, LostKind};
use crate::task::awaited_by;
use crate::task::done::{DoneCall, OnDone};
use crate::task::harness::{Raw, report_panic};
use crate::task::header::{Header, NO_SLOT};
use crate::task::id::TaskId;
use crate::task::info::TaskInfo;
use crate::task::join_error::{JoinError, PanicPayload};
use crate::task::spawn;
use crate::task_local::current::inherited;
use crate::task_local::snapshot::{TaskLocals, call_with};
use crate::wait::Waits;

/// A task: a future that its executor drives, and the handle to its outcome.
///
/// Awaiting it gives the output, or [`JoinError`] if it was cancelled or panicked. Dropping it *detaches*: the task runs
/// on, and a panic of it goes to the executor's report of lost failures. A handle stays on its executor's thread.
///
/// asyncio: `Task`. tokio: `JoinHandle`, which detaches as well; smol's `Task` cancels when dropped, this one does not.
///
/// ```
/// use rondel_executor::Executor;
///
/// let executor = Executor::new();
/// let three = executor.spawn(async { 1 + 2 }).named("three");
/// let nine = executor.spawn(async move { 3 * three.await.unwrap() });
/// executor.run_until_idle();
/// assert_eq!(nine.into_result().unwrap().unwrap(), 9);
/// ```
///
/// # Cancel safety
/// Awaiting `&mut task` and dropping that future loses nothing: the task runs on and can be awaited again.
pub struct Task<T> {
    /// `None` once the outcome has been taken from the task. One word, so that handles move in registers; and by hand, so
    /// that dropping a handle that has served is one comparison.
    raw: ManuallyDrop<Option<Raw<T>>>,
    _stays_home: PhantomData<*const ()>,
}

/// Removes a done-callback; see [`Task::on_done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DoneToken(u64);

impl<T> Unpin for Task<T> {}

impl<T: 'static> Task<T> {
    pub(crate) fn new(raw: Raw<T>) -> Self {
        Self {
            raw: ManuallyDrop::new(Some(raw)),
            _stays_home: PhantomData,
        }
    }
}

impl<T> Task<T> {
    /// Asks the task to stop. At its turn its future is dropped where it is suspended, what that leaves to clean up is
    /// cleaned up, and then the task is done, as cancelled. If it finishes first, its result stands.
    ///
    /// Returns whether the request was accepted: `false` for a task that is done. Asking twice is the same as once.
    pub fn cancel(&self) -> bool {
        match &*self.raw {
            Some(raw) => cancel(raw.metadata()),
            None => false,
        }
    }

    /// Whether the task is done: its outcome is decided, and what it left behind is cleaned up.
    pub fn is_finished(&self) -> bool {
        self.raw
            .as_ref()
            .is_none_or(|raw| raw.metadata().has(Header::FINISHED))
    }

    /// The task's number.
    ///
    /// # Panics
    /// Never while the outcome has not been taken; a task that has given it away has nothing left to say, and answers 0.
    pub fn id(&self) -> TaskId {
        TaskId(self.raw.as_ref().map_or(0, |raw| raw.metadata().id()))
    }

    /// The task's name: the one it was given, else `Task-N`.
    pub fn name(&self) -> String {
        self.info().map_or_else(String::new, |info| info.name())
    }

    /// Names the task, for reports. Names need not be unique.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.set_name(name);
        self
    }

    /// Names the task, or names it anew.
    pub fn set_name(&self, name: impl Into<String>) {
        if let Some((header, local)) = self.reach() {
            let name: Arc<str> = name.into().into();
            header.span.rename(&name);
            local.with_extras(header, |extras| extras.name = Some(name));
        }
    }

    /// Where the task was spawned.
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.raw.as_ref().map(|raw| raw.metadata().site)
    }

    /// What can be said about the task now; `None` once its outcome has been taken.
    pub fn info(&self) -> Option<TaskInfo> {
        self.reach()
            .map(|(header, local)| TaskInfo::of(header, local))
    }

    /// The task-local values that the task has now; none once its outcome has been taken. asyncio: `Task.get_context`.
    #[doc(alias = "get_context")]
    pub fn locals(&self) -> TaskLocals {
        let shared = self.reach().and_then(|(header, local)| {
            local
                .extras(header, |extras| extras.locals.clone())
                .flatten()
        });
        TaskLocals::of(shared)
    }

    /// Calls `callback` when the task is done: through the ready queue, in the order of registration, also if it is done
    /// already. asyncio: `add_done_callback`.
    ///
    /// The callback learns how the task ended; its result stays for whoever awaits it.
    pub fn on_done(&self, callback: impl FnOnce(&TaskInfo) + 'static) -> Option<DoneToken> {
        let (header, local) = self.reach()?;
        let callback: OnDone = match inherited() {
            None => Box::new(callback),
            values => {
                let site = header.site;
                Box::new(move |info| call_with(values, site, || callback(info)))
            }
        };
        if header.has(Header::FINISHED) {
            let call = DoneCall::new(TaskInfo::of(header, local), callback);
            local.push_or_discard(Rc::new(call));
            return None;
        }
        let token = local.take_token();
        local.with_extras(header, |extras| {
            extras.done.push((token, callback));
        });
        Some(DoneToken(token))
    }

    /// Takes a done-callback back. `false` if it was taken back before or is on its way to be called.
    pub fn remove_on_done(&self, token: DoneToken) -> bool {
        let Some((header, local)) = self.reach() else {
            return false;
        };
        let removed = local.extras(header, |extras| {
            let place = extras
                .done
                .iter()
                .position(|(number, _)| *number == token.0)?;
            Some(extras.done.remove(place))
        });
        // Bound: the closure's destructor must not find the table borrowed.
        removed.flatten().is_some()
    }

    /// Waits until the task is done and leaves its outcome there, for [`result`](Task::result). At once if it was taken.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub fn done(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|cx| {
            let Some((header, local)) = self.reach() else {
                return Poll::Ready(());
            };
            if header.has(Header::FINISHED) {
                return Poll::Ready(());
            }
            let known = local.extras(header, |extras| {
                extras
                    .watchers
                    .iter()
                    .any(|waker| waker.will_wake(cx.waker()))
            });
            if known != Some(true) {
                // Outside the table, and before the last look: cloning is the waker's own code.
                let waker = cx.waker().clone();
                if header.has(Header::FINISHED) {
                    return Poll::Ready(());
                }
                local.with_extras(header, |extras| extras.watchers.push(waker));
            }
            Waits::TASK.label(header.id() as u32);
            awaited_by::note(header, local);
            Poll::Pending
        })
    }

    /// Notes for reports that the task `by` awaits this one: for combinators that wait for tasks in ways of their own. It
    /// stands in [`TaskInfo::awaited_by`](crate::TaskInfo::awaited_by) until it is taken back or this task is done. asyncio:
    /// `future_add_to_awaited_by`.
    ///
    /// Whoever awaits the handle itself needs none of this.
    ///
    /// ```
    /// use rondel_executor::Executor;
    /// use std::future::pending;
    ///
    /// let executor = Executor::new();
    /// let job = executor.spawn(pending::<()>());
    /// let boss = executor.spawn(pending::<()>());
    /// job.add_awaited_by(boss.id());
    /// assert_eq!(job.info().unwrap().awaited_by(), [boss.id()]);
    /// job.discard_awaited_by(boss.id());
    /// assert!(job.info().unwrap().awaited_by().is_empty());
    /// ```
    #[doc(alias = "future_add_to_awaited_by")]
    pub fn add_awaited_by(&self, by: TaskId) {
        if let Some((header, local)) = self.reach() {
            awaited_by::add(header, local, by);
        }
    }

    /// Takes back what [`add_awaited_by`](Task::add_awaited_by) noted. asyncio: `future_discard_from_awaited_by`.
    #[doc(alias = "future_discard_from_awaited_by")]
    pub fn discard_awaited_by(&self, by: TaskId) {
        if let Some((header, local)) = self.reach() {
            awaited_by::discard(header, local, by);
        }
    }

    /// The outcome of a task that is done, once: as awaiting it would give, without waiting. `None` while it is not done;
    /// [`JoinError::Taken`] if the outcome was taken before. asyncio: `Task.result()` and `Task.exception()`.
    pub fn result(&mut self) -> Option<Result<T, JoinError>> {
        if !self.is_finished() {
            return None;
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match Pin::new(self).poll(&mut cx) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// The outcome of a task that is done, otherwise the task itself.
    ///
    /// # Errors
    /// Gives the task back if it is not done.
    pub fn into_result(mut self) -> Result<Result<T, JoinError>, Self> {
        self.result().ok_or(self)
    }

    /// Lets go of the handle, as dropping it does: the task runs on.
    pub fn detach(self) {
        drop(self);
    }

    pub(super) fn reach(&self) -> Option<(&Header, &Local)> {
        let header = self.raw.as_ref()?.metadata();
        Some((header, at_home(header)))
    }
}

impl<T: 'static, E> Task<Result<T, E>>
where
    E: Into<Box<dyn Error>> + 'static,
{
    /// Lets the task run on, and reports its error, should it return one, like a lost panic. A cancelled task is not an
    /// error.
    #[track_caller]
    pub fn detach_reported(self) {
        let Some((header, local)) = self.reach() else {
            return;
        };
        let core = header.home.to_arc();
        let info = TaskInfo::of(header, local);
        let watch = async move {
            match self.await {
                Ok(Err(error)) => Some(Lost::in_task(
                    LostKind::TaskFailed(error.into()),
                    Some(info),
                )),
                Err(JoinError::Panicked(payload)) => {
                    Some(Lost::in_task(LostKind::TaskPanicked(payload), Some(info)))
                }
                _ => None,
            }
        };
        let watching = Arc::clone(&core);
        let report = async move {
            let lost = watch.await;
            if let (Some(lost), Some(local)) = (lost, watching.local.get()) {
                local.report(lost);
            }
        };
        if let Some(local) = core.local.get() {
            Task::new(spawn::spawn(&core, local, report, Location::caller(), 0)).detach();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(raw) = &mut *self.raw else {
            return Poll::Ready(Err(JoinError::Taken));
        };
        match Pin::new(&mut *raw).poll(cx) {
            Poll::Pending => {
                let header = raw.metadata();
                Waits::TASK.label(header.id() as u32);
                // Observed tasks all have extras.
                if header.has(Header::EXTRAS) {
                    awaited_by::note(header, at_home(header));
                }
                Poll::Pending
            }
            Poll::Ready(output) => {
                let header = raw.metadata();
                let outcome = match output {
                    Some(output) => Ok(output),
                    None => Err(why_not(header)),
                };
                if header.has(Header::EXTRAS) {
                    at_home(header).forget_extras(header);
                }
                if let Some(raw) = self.raw.take() {
                    // Cheaper than dropping it, which would first try to cancel.
                    raw.detach();
                }
                Poll::Ready(outcome)
            }
        }
    }
}

impl<T> Drop for Task<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(raw) = self.raw.take() {
            let_go(raw);
        }
    }
}

fn let_go<T>(raw: Raw<T>) {
    let header = raw.metadata();
    header.set(Header::DETACHED);
    if header.has(Header::FINISHED) && header.has(Header::EXTRAS) {
        let local = at_home(header);
        report_panic(header, local);
        local.forget_extras(header);
    }
    raw.detach();
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info() {
            Some(info) => f
                .debug_struct("Task")
                .field("id", &info.id.0)
                .field("name", &info.name())
                .field("outcome", &info.outcome())
                .field("spawned_at", &format_args!("{}", info.site))
                .finish(),
            None => f.write_str("Task(taken)"),
        }
    }
}

/// The local half of a task's executor: a `Task` never leaves its thread.
fn at_home(header: &Header) -> &Local {
    header
        .home
        .local
        .get()
        .expect("a Task stays on its executor's thread")
}

#[cold]
fn why_not(header: &Header) -> JoinError {
    let payload = at_home(header)
        .extras(header, |extras| extras.panic.take())
        .flatten();
    match payload {
        Some(payload) => JoinError::Panicked(PanicPayload::new(payload)),
        None => JoinError::Cancelled,
    }
}

/// Flags a task and puts it into the queue, whatever it is waiting for.
pub(crate) fn cancel(header: &Header) -> bool {
    if header.has(Header::FINISHED | Header::SHIELDED) {
        return false;
    }
    if header.has(Header::CLEANING) {
        return true;
    }
    header.set(Header::CANCEL);
    let slot = header.slot.get();
    if slot != NO_SLOT {
        // Cloned, so that the registry is not borrowed while the wake runs.
        let waker = at_home(header).tasks.borrow().waker(slot).cloned();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
    // Without a slot it has not been suspended yet: it is in the queue, or being polled, and sees the flag there.
    true
}

/// Cancels every task of an executor except cleanups; gives their number.
pub(crate) fn cancel_all(local: &Local) -> usize {
    let mut wakers = Vec::new();
    for (header, waker) in local.tasks.borrow().iter() {
        if !header.has(Header::FINISHED | Header::SHIELDED | Header::CLEANING) {
            header.set(Header::CANCEL);
            wakers.push(waker.clone());
        }
    }
    let mut cancelled = wakers.len();
    // Those that have not been suspended yet are in the queue, or the one that is running.
    let mut flag = |header: &Header| {
        if header.slot.get() == NO_SLOT
            && !header.has(Header::FINISHED | Header::SHIELDED | Header::CLEANING | Header::CANCEL)
        {
            header.set(Header::CANCEL);
            cancelled += 1;
        }
    };
    local.ready.for_each_task(&mut flag);
    // A running task may be another executor's; and the main future is cancelled apart.
    let mut flag_running = |header: &Header| {
        let is_main = local
            .main
            .borrow()
            .as_ref()
            .is_some_and(|main| std::ptr::eq(&main.header, header));
        if std::ptr::eq(local, at_home(header)) && !is_main {
            flag(header);
        }
    };
    context::with_task(|task| task.into_iter().for_each(&mut flag_running));
    context::for_each_suspended(flag_running);
    for waker in wakers {
        waker.wake();
    }
    cancelled
}
