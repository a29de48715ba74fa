//! The task factory: a look at every task before it begins.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_task::Runnable;

use crate::claim::Claim;
use crate::context;
use crate::core::{Core, Local};
use crate::site::Site;
use crate::spawner::Spawner;
use crate::task::harness::{self, Raw};
use crate::task::header::Header;
use crate::task::id::TaskId;

/// Called with every task that is spawned, before it begins; see [`Spawner::set_task_factory`].
pub type TaskFactory = Rc<dyn Fn(&mut NewTask)>;

/// A task's future without its output, as a [`TaskFactory`] may wrap it.
pub type TaskBody = Pin<Box<dyn Future<Output = ()>>>;

/// A task about to be spawned, in the hands of a [`TaskFactory`].
pub struct NewTask {
    id: TaskId,
    site: Site,
    name: Option<Arc<str>>,
    /// `None` only while a wrapper is being made.
    body: Option<TaskBody>,
}

impl NewTask {
    /// The number that the task will have.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Where it is being spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.site
    }

    /// The name given so far, else `Task-N`.
    pub fn name(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => format!("Task-{}", self.id),
        }
    }

    /// Names the task. Whoever spawns it may name it anew.
    pub fn set_name(&mut self, name: impl Into<String>) {
        let name: Arc<str> = name.into().into();
        self.name = Some(name);
    }

    /// Puts a future around the task's own: to time its polls, to enter a tracing span, to run something before and after. A
    /// wrapper that ends without having run the body to its end cancels the task.
    ///
    /// # Panics
    /// If `wrap` panicked before, on the same task.
    pub fn wrap<F>(&mut self, wrap: impl FnOnce(TaskBody) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let body = self
            .body
            .take()
            .expect("the body is gone only when an earlier wrapper panicked");
        self.body = Some(Box::pin(wrap(body)));
    }
}

impl fmt::Debug for NewTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTask")
            .field("id", &self.id.0)
            .field("name", &self.name())
            .field("spawned_at", &format_args!("{}", self.site))
            .finish_non_exhaustive()
    }
}

impl Spawner {
    /// Has `factory` called with every task that is spawned from now on, `None`: nothing. Gives the one before. asyncio:
    /// `set_task_factory`.
    ///
    /// It may name the task and put a future around its own; it sees neither the future's type nor its output, and cannot put
    /// another kind of task in its place, as asyncio's can. Nor can it start all tasks eagerly, which would reorder code
    /// that did not ask for it: see [`spawn_eager`](Spawner::spawn_eager). While one is set, a spawn costs two
    /// allocations more. The main future, which borrows, and cleanups, which must run as they are, do not pass through it.
    /// A factory that panics makes the spawning call panic; one that spawns is called for that task, too.
    ///
    /// ```
    /// use rondel_executor::Executor;
    /// use std::rc::Rc;
    ///
    /// let executor = Executor::new();
    /// executor.spawner().set_task_factory(Some(Rc::new(|task| {
    ///     let name = format!("job {}", task.id());
    ///     task.set_name(name);
    ///     task.wrap(async |body| body.await); // here: a span, a stopwatch
    /// })));
    /// let task = executor.spawn(async { 42 });
    /// assert_eq!(task.name(), "job 1");
    /// executor.run_until_idle();
    /// assert_eq!(task.into_result().unwrap().unwrap(), 42);
    /// ```
    pub fn set_task_factory(&self, factory: Option<TaskFactory>) -> Option<TaskFactory> {
        let local = self.local();
        if local.closed.get() {
            return factory;
        }
        let before = mem::replace(&mut local.hooks.borrow_mut().task_factory, factory);
        local.note_unusual();
        before
    }

    /// The task factory that is set.
    pub fn task_factory(&self) -> Option<TaskFactory> {
        self.local().hooks.borrow().task_factory.clone()
    }
}

/// Makes a task as the factory wants it.
#[cold]
pub(super) fn make<F>(
    core: &Arc<Core>,
    local: &Local,
    factory: &TaskFactory,
    future: F,
    site: Site,
) -> (Runnable<Header>, Raw<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
{
    let output = Rc::new(Cell::new(None));
    let leave = Rc::clone(&output);
    let (claim, id) = Claim::new(core, local);
    let counted = Counted(local);
    let mut new = NewTask {
        id: TaskId(id),
        site,
        name: None,
        body: Some(Box::pin(async move { leave.set(Some(future.await)) })),
    };
    factory(&mut new);
    let body = new
        .body
        .take()
        .expect("the body is gone only when a wrapper panicked");
    let made = Made {
        body: Some(body),
        output,
    };
    let (runnable, task) = harness::create(local, (claim, id), made, site, 0);
    mem::forget(counted);
    if let Some(name) = new.name {
        local.with_extras(task.metadata(), |extras| extras.name = Some(name));
    }
    (runnable, task)
}

/// A task that has its number, and does not come about after all if this is dropped.
struct Counted<'a>(&'a Local);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.count_finished();
    }
}

/// A wrapped body, and where its output will be.
struct Made<T> {
    body: Option<TaskBody>,
    output: Rc<Cell<Option<T>>>,
}

impl<T> Future for Made<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(body) = &mut self.body {
            if body.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let body = self.body.take();
            drop(body);
        }
        match self.output.take() {
            Some(output) => Poll::Ready(output),
            None => {
                // The wrapper has dropped the body: that is cancelling it, and the harness finishes so.
                context::with_task(|task| {
                    if let Some(header) = task {
                        header.set(Header::CANCEL);
                    }
                });
                Poll::Pending
            }
        }
    }
}
