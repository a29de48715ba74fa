//! Task-local values: what a task, and all it starts, carries along without being handed it.
//!
//! A task's values are in its side table, as one shared snapshot that is copied when it is written to. Starting a task or
//! scheduling a callback takes a share of the snapshot. Who uses no values pays one look at the thread's context for
//! each of those, and nothing a poll.

pub(crate) mod current;
pub(crate) mod snapshot;
pub(crate) mod values;

use std::any::type_name;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use current::{enter, lookup, replace};
use values::Value;

/// A value of its own for each task, inherited by what the task starts. Meant to be a `static`.
///
/// asyncio: `ContextVar`. A task that is spawned, a callback that is scheduled (`call_soon`, `call_later`, a done-callback) and
/// a cleanup that is left see the values that were current when that was done; what anybody sets afterwards is theirs
/// alone. The exception handler sees the values of the task or callback that failed. Threads see nothing, but a value
/// made with [`across_threads`](TaskLocal::across_threads) goes along into the jobs of a thread pool.
///
/// Values are shared by all who inherited them, so reading one gives a reference ([`with`](TaskLocal::with)) or a clone
/// ([`get`](TaskLocal::get)).
///
/// ```
/// use rondel_executor::{Executor, Spawner, TaskLocal};
///
/// static REQUEST: TaskLocal<u32> = TaskLocal::new();
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     REQUEST.set(7).unwrap();
///     let child = Spawner::current().unwrap().spawn(async {
///         let inherited = REQUEST.get();
///         REQUEST.set(8).unwrap(); // the child's own
///         inherited
///     });
///     (child.await.unwrap(), REQUEST.get())
/// });
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), (Some(7), Some(7)));
/// assert_eq!(REQUEST.get(), None, "outside of tasks there is none");
/// ```
#[doc(alias = "ContextVar")]
#[doc(alias = "task_local")]
#[doc(alias = "LocalKey")]
pub struct TaskLocal<T: 'static> {
    /// 0 until first used.
    id: AtomicUsize,
    wrap: fn(T) -> Value,
}

/// No task is running, so there is nothing whose value could be set.
///
/// A callback that inherited no values is such a place; [`TaskLocal::sync_scope`] works everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTask;

impl fmt::Display for NoTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot set a task-local value: no task is running here")
    }
}

impl Error for NoTask {}

impl<T: 'static> TaskLocal<T> {
    /// A key under which nothing is set.
    #[expect(
        clippy::new_without_default,
        reason = "made for statics, where `Default` is of no use"
    )]
    pub const fn new() -> Self {
        Self {
            id: AtomicUsize::new(0),
            wrap: |value| Value::Here(Rc::new(value)),
        }
    }

    /// A key whose values go along into thread pools: `to_thread` and `run_in_executor` hand them to the job.
    ///
    /// ```
    /// use rondel_executor::{SendTaskLocals, TaskLocal};
    ///
    /// static USER: TaskLocal<&str> = TaskLocal::across_threads();
    ///
    /// let seen = USER.sync_scope("ada", || {
    ///     let taken_along = SendTaskLocals::current();
    ///     std::thread::spawn(move || taken_along.run(|| USER.get())).join().unwrap()
    /// });
    /// assert_eq!(seen, Some("ada"));
    /// ```
    pub const fn across_threads() -> Self
    where
        T: Send + Sync,
    {
        Self {
            id: AtomicUsize::new(0),
            wrap: |value| Value::Anywhere(Arc::new(value)),
        }
    }

    /// Runs `f` on the value, `None` if there is none.
    pub fn with<R>(&self, f: impl FnOnce(Option<&T>) -> R) -> R {
        // A share of our own: `f` may set the value, and must not find anything borrowed.
        let value = lookup(self.id());
        f(value.as_ref().map(Value::get))
    }

    /// A clone of the value, if there is one.
    pub fn get(&self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }

    /// Sets the value for the running task from here on, or up to the end of the innermost [`scope`](TaskLocal::scope) of
    /// this key. Gives the value before. What was started before is not affected.
    ///
    /// In a callback that inherited values it lasts until the callback ends.
    ///
    /// # Errors
    /// [`NoTask`] where there is none to set it for.
    pub fn set(&self, value: T) -> Result<Option<T>, NoTask>
    where
        T: Clone,
    {
        self.exchange(Some((self.wrap)(value)))
    }

    /// Takes the value away, as [`set`](TaskLocal::set) would replace it.
    ///
    /// # Errors
    /// [`NoTask`] where there is none to take it from.
    pub fn unset(&self) -> Result<Option<T>, NoTask>
    where
        T: Clone,
    {
        self.exchange(None)
    }

    /// Runs `future` with `value` set, wherever it is polled; also its destructor. What `future` sets under this key is gone
    /// after it, what it sets under others stays.
    ///
    /// # Cancel safety
    /// Dropped, it drops the future within.
    ///
    /// ```
    /// # use rondel_executor::{Executor, TaskLocal};
    /// static DEPTH: TaskLocal<u8> = TaskLocal::new();
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(DEPTH.scope(1, async {
    ///     let inside = DEPTH.scope(2, async { DEPTH.get() }).await;
    ///     (inside, DEPTH.get())
    /// }));
    /// executor.run_until_idle();
    /// assert_eq!(task.into_result().unwrap().unwrap(), (Some(2), Some(1)));
    /// ```
    pub fn scope<F: Future>(&self, value: T, future: F) -> Scoped<F> {
        Scoped {
            future: Some(future),
            id: self.id(),
            value: Some((self.wrap)(value)),
        }
    }

    /// Calls `f` with `value` set: in a task, a callback, or outside of any loop.
    ///
    /// ```
    /// # use rondel_executor::TaskLocal;
    /// static DEPTH: TaskLocal<u8> = TaskLocal::new();
    /// assert_eq!(DEPTH.sync_scope(1, || DEPTH.get()), Some(1));
    /// assert_eq!(DEPTH.get(), None);
    /// ```
    pub fn sync_scope<R>(&self, value: T, f: impl FnOnce() -> R) -> R {
        enter(self.id(), &mut Some((self.wrap)(value)), f)
    }

    fn exchange(&self, value: Option<Value>) -> Result<Option<T>, NoTask>
    where
        T: Clone,
    {
        // The value before comes out of the table before anything of it is cloned or dropped; so does a refused one.
        match replace(self.id(), value) {
            Ok(before) => Ok(before.map(|before| before.get::<T>().clone())),
            Err(_refused) => Err(NoTask),
        }
    }

    /// The key's number, given at first use. Not its address: a key need not be a `static`, and addresses come back.
    fn id(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        // Relaxed: the number is all there is, nothing else is published with it.
        match self.id.load(Ordering::Relaxed) {
            0 => {
                let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
                self.id
                    .compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed)
                    .map_or_else(|taken| taken, |_| fresh)
            }
            id => id,
        }
    }
}

impl<T: 'static> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocal")
            .field("of", &format_args!("{}", type_name::<T>()))
            .field("set_here", &lookup(self.id()).is_some())
            .finish()
    }
}

pin_project! {
    /// A future with a task-local value of its own; see [`TaskLocal::scope`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Scoped<F> {
        #[pin]
        future: Option<F>,
        id: usize,
        // The scope's value while the future is not being polled.
        value: Option<Value>,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                enter(*this.id, this.value, || this.future.set(None));
            }
        }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        enter(*this.id, this.value, || {
            let Some(future) = this.future.as_mut().as_pin_mut() else {
                panic!("a scope was polled after it had given its output");
            };
            let polled = future.poll(cx);
            if polled.is_ready() {
                this.future.set(None);
            }
            polled
        })
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped")
            .field("finished", &self.future.is_none())
            .finish_non_exhaustive()
    }
}
