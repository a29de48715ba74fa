//! The executor from other threads.

mod bridge;

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use self::bridge::Bridge;
use crate::core::{Core, Message};
use crate::lost::{Lost, LostKind};
use crate::schedule::schedule;
use crate::site::Site;
use crate::spawner::Spawner;
use crate::task::handle::Task;
use crate::task::header::Header;
use crate::task::join_error::{JoinError, PanicPayload};
use crate::task::spawn;
use crate::task_local::snapshot::SendTaskLocals;
use crate::wait::Waits;

/// A handle to an executor that may be used from any thread: `Send + Sync`, cheap to clone.
///
/// ```
/// use rondel_executor::Executor;
///
/// let executor = Executor::new();
/// let remote = executor.remote();
/// let sum = std::thread::spawn(move || remote.spawn(async { 1 + 1 }).unwrap())
///     .join()
///     .unwrap();
/// executor.run_until_idle();
/// assert_eq!(std::thread::spawn(move || sum.result(None).unwrap()).join().unwrap(), 2);
/// ```
#[derive(Clone)]
pub struct Remote(Arc<Core>);

/// The executor is closed: it takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutorClosed;

impl fmt::Display for ExecutorClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the executor is closed")
    }
}

impl Error for ExecutorClosed {}

impl Spawner {
    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        Remote::of(self.core())
    }
}

impl Remote {
    pub(crate) fn of(core: &Arc<Core>) -> Self {
        Self(Arc::clone(core))
    }

    /// Schedules `callback` on the executor's thread, and has it notified. Called on that thread itself it goes straight
    /// to the end of the ready queue, so that the order of calls is kept. It inherits the [`TaskLocal`](crate::TaskLocal) values
    /// of the calling thread that may cross threads. asyncio: `call_soon_threadsafe`.
    ///
    /// # Errors
    /// [`ExecutorClosed`]; the closure is dropped on the calling thread.
    #[track_caller]
    pub fn call_soon(
        &self,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<(), ExecutorClosed> {
        if let Some(spawner) = Spawner::of(&self.0) {
            return if spawner.local().closed.get() {
                Err(ExecutorClosed)
            } else {
                spawner.call_soon(callback);
                Ok(())
            };
        }
        let site = Location::caller();
        let locals = SendTaskLocals::current();
        if locals.is_empty() {
            self.send_call(site, callback)
        } else {
            self.send_call(site, move || locals.run(callback))
        }
    }

    /// Runs `future` as a task of the executor. asyncio: `run_coroutine_threadsafe`.
    ///
    /// # Errors
    /// [`ExecutorClosed`]; the future is dropped on the calling thread.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Result<RemoteTask<F::Output>, ExecutorClosed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_with(move || future)
    }

    /// Calls `make` on the executor's thread and runs the future it gives, which may be `!Send`, as a task there.
    ///
    /// # Errors
    /// [`ExecutorClosed`]; the closure is dropped on the calling thread.
    #[track_caller]
    pub fn spawn_with<M, F>(&self, make: M) -> Result<RemoteTask<F::Output>, ExecutorClosed>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let site = Location::caller();
        let shared = Arc::new(Shared::default());
        let completer = Completer(Some(Arc::clone(&shared)));
        let home = self.0.clone();
        self.call_soon(move || {
            if let Some(local) = home.local.get() {
                let task = async move { make().await };
                let task = Task::new(spawn::spawn(&home, local, task, site, 0));
                spawn::spawn(
                    &home,
                    local,
                    deliver(task, completer),
                    site,
                    Header::DETACHED,
                )
                .detach();
            }
        })?;
        Ok(RemoteTask {
            shared,
            home: self.clone(),
        })
    }

    /// Whether the calling thread is the executor's own.
    pub fn is_home(&self) -> bool {
        self.0.local.is_home()
    }

    /// Whether the executor is closed.
    pub fn is_closed(&self) -> bool {
        self.0.inbox.is_closed()
    }

    /// Calls the executor's notification, without anything to go with it.
    pub fn notify(&self) {
        self.0.inbox.notify();
    }

    /// Values and tasks leaked because they reached this executor after it had closed.
    pub fn leaked(&self) -> usize {
        self.0.leaked.load(Ordering::Relaxed)
    }

    fn send_call(
        &self,
        site: Site,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<(), ExecutorClosed> {
        self.send(Message::Call(Box::new(move |core| {
            if let Some(local) = core.local.get() {
                schedule(local, site, callback);
            }
        })))
    }

    fn send(&self, message: Message) -> Result<(), ExecutorClosed> {
        if self.0.send(message) {
            Ok(())
        } else {
            Err(ExecutorClosed)
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("home", &self.0.local.home())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// A task of an executor on another thread, as [`Remote::spawn`] returns it. `Send`; dropping it detaches.
///
/// It is a future as well, for tasks of other executors to await.
pub struct RemoteTask<T> {
    shared: Arc<Shared<T>>,
    home: Remote,
}

/// Why [`RemoteTask::result`] gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum RemoteError<T> {
    /// The task was cancelled or panicked, or the executor closed.
    Join(JoinError),
    /// It has not finished within the time given; here it is, to be asked again.
    TimedOut(RemoteTask<T>),
    /// The calling thread is the one that the task runs on: waiting here, it could never finish.
    OwnThread(RemoteTask<T>),
}

type Shared<T> = Bridge<Result<T, JoinError>>;

/// Delivers the outcome; dropped before (the executor closed), it delivers that.
struct Completer<T>(Option<Arc<Shared<T>>>);

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            let _nobody_asks = shared.complete(Err(JoinError::Cancelled));
        }
    }
}

/// Awaits the task at home, passing on the wish to cancel it.
async fn deliver<T>(mut task: Task<T>, mut completer: Completer<T>) {
    let info = task.info();
    let outcome = poll_fn(|cx| {
        if let Some(shared) = &completer.0
            && shared.deliver_by(cx.waker())
        {
            task.cancel();
        }
        Pin::new(&mut task).poll(cx)
    })
    .await;
    let unwanted = completer
        .0
        .take()
        .and_then(|shared| shared.complete(outcome));
    if let Some(Err(JoinError::Panicked(payload))) = unwanted
        && let Some(spawner) = Spawner::current()
    {
        spawner.report(Lost::in_task(LostKind::TaskPanicked(payload), info));
    }
}

impl<T> RemoteTask<T> {
    /// Waits on the calling thread until the task has finished, at most `timeout` (`None`: as long as it takes).
    ///
    /// # Errors
    /// [`RemoteError`]; when there is nothing to return yet, it gives the task back.
    pub fn result(self, timeout: Option<Duration>) -> Result<T, RemoteError<T>> {
        if self.home.is_home() && !self.is_finished() {
            return Err(RemoteError::OwnThread(self));
        }
        match self.shared.wait(timeout) {
            Some(outcome) => outcome
                .unwrap_or(Err(JoinError::Taken))
                .map_err(RemoteError::Join),
            None => Err(RemoteError::TimedOut(self)),
        }
    }

    /// Asks the task to stop, as [`Task::cancel`](crate::Task::cancel) does.
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// Whether the outcome is there, or has been taken.
    pub fn is_finished(&self) -> bool {
        self.shared.is_finished()
    }
}

impl<T> Future for RemoteTask<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.shared.poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.unwrap_or(Err(JoinError::Taken))),
            Poll::Pending => {
                Waits::TASK.label(0);
                Poll::Pending
            }
        }
    }
}

/// A panic that nobody has asked for is reported, as with a [`Task`](crate::Task).
impl<T> Drop for RemoteTask<T> {
    fn drop(&mut self) {
        if let Some(Err(JoinError::Panicked(payload))) = self.shared.detach() {
            let unread = Unread(Some(payload));
            let home = Arc::clone(&self.home.0);
            // If it is closed, the closure is dropped, and says it then.
            let _ = self.home.call_soon(move || unread.report(&home));
        }
    }
}

/// A panic on its way home to be reported; dropped on the way, it is reported there.
struct Unread(Option<PanicPayload>);

impl Unread {
    fn report(mut self, home: &Core) {
        if let (Some(local), Some(payload)) = (home.local.get(), self.0.take()) {
            local.report(Lost::in_task(LostKind::TaskPanicked(payload), None));
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(payload) = self.0.take() {
            Lost::in_task(LostKind::TaskPanicked(payload), None).write_to_stderr();
        }
    }
}

impl<T> fmt::Debug for RemoteTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTask")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for RemoteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(error) => fmt::Display::fmt(error, f),
            Self::TimedOut(_) => f.write_str("the task has not finished within the time given"),
            Self::OwnThread(_) => f.write_str(
                "waiting for a task on its own loop's thread would wait for ever; await it there instead",
            ),
        }
    }
}

impl<T: fmt::Debug> Error for RemoteError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Join(error) => Some(error),
            _ => None,
        }
    }
}
