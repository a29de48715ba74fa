//! The executor from inside: what tasks and callbacks use to start others.

mod hooks;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use crate::callback::Callback;
use crate::callback::handle::Handle;
use crate::context;
use crate::core::{Core, Local};
use crate::lost::Lost;
use crate::schedule::schedule;
use crate::task::handle::Task;
use crate::task::header::{Header, NO_SLOT};
use crate::task::id::TaskId;
use crate::task::info::TaskInfo;
use crate::task::spawn;
use crate::task_group::info::ChildInfo;

/// A handle to an executor on its own thread: spawns tasks and schedules callbacks, `!Send` ones too. Cheap to clone.
///
/// ```
/// use rondel_executor::{Executor, Spawner};
///
/// let executor = Executor::new();
/// let outer = executor.spawn(async {
///     let here = Spawner::current().expect("inside a turn");
///     here.spawn(async { 42 }).await
/// });
/// executor.run_until_idle();
/// assert!(outer.is_finished());
/// ```
#[derive(Clone)]
pub struct Spawner {
    core: Arc<Core>,
    _stays_home: PhantomData<*const ()>,
}

impl Spawner {
    /// The executor whose turn it is on this thread; `None` outside a turn.
    pub fn current() -> Option<Self> {
        Self::of(&context::current_core()?)
    }

    /// Spawns on the executor whose turn it is on this thread, without making a `Spawner` first; see
    /// [`spawn`](Spawner::spawn).
    ///
    /// # Errors
    /// Gives the future back outside a turn.
    #[track_caller]
    #[inline]
    pub fn spawn_current<F>(future: F) -> Result<Task<F::Output>, F>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let site = Location::caller();
        context::with_local(|current| match current {
            Some((core, local)) => Ok(Task::new(spawn::spawn(core, local, future, site, 0))),
            None => Err(future),
        })
    }

    /// Schedules a callback on the executor whose turn it is on this thread; see [`call_soon`](Spawner::call_soon).
    ///
    /// # Errors
    /// Gives the closure back outside a turn.
    #[track_caller]
    #[inline]
    pub fn call_soon_current<F: FnOnce() + 'static>(callback: F) -> Result<Handle, F> {
        let site = Location::caller();
        context::with_local(|current| match current {
            Some((_, local)) => Ok(schedule(local, site, callback)),
            None => Err(callback),
        })
    }

    pub(crate) fn of(core: &Arc<Core>) -> Option<Self> {
        core.local.is_home().then(|| Self {
            core: Arc::clone(core),
            _stays_home: PhantomData,
        })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    #[inline]
    pub(crate) fn local(&self) -> &Local {
        self.core
            .local
            .get()
            .expect("a Spawner stays on its executor's thread")
    }

    /// Makes a task of `future` and puts it at the end of the ready queue. One allocation for futures below 2 KiB.
    ///
    /// After the executor has been closed the future is dropped at once, and the task answers `Cancelled`.
    #[track_caller]
    #[inline]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        Task::new(spawn::spawn(
            &self.core,
            self.local(),
            future,
            Location::caller(),
            0,
        ))
    }

    /// Makes a task of `future` and polls it here and now. If it finishes, it is done when this returns and has never been in
    /// the queue; else it goes on as any task. asyncio: `create_task(…, eager_start=True)`.
    ///
    /// It is a task from the beginning: [`current_task`](Spawner::current_task) says so, it has inherited task-local values of
    /// its own, panics stay inside it, and it can be cancelled. The caller is current again afterwards. Outside this
    /// executor's turn it is [spawned](Spawner::spawn) as usual: nothing is polled while the executor does not run.
    ///
    /// Worth it where most of them find what they need at once, in a cache say. It gives up what the queue is for: what
    /// the future does before its first wait happens before the caller goes on, and tasks that spawn each other so
    /// recurse on the stack.
    ///
    /// ```
    /// use rondel_executor::{Executor, Spawner};
    ///
    /// let executor = Executor::new();
    /// executor.call_soon(|| {
    ///     let task = Spawner::current().unwrap().spawn_eager(async { "cached" });
    ///     assert!(task.is_finished());
    /// });
    /// executor.run_until_idle();
    /// ```
    #[doc(alias = "eager_task_factory")]
    #[track_caller]
    pub fn spawn_eager<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let site = Location::caller();
        Task::new(spawn::spawn_eager(&self.core, self.local(), future, site))
    }

    /// Schedules `callback` behind everything that is ready now. No allocation for a closure of up to five words, once the
    /// executor has spare blocks for them (it keeps some 70 KB at most); one for a larger one.
    ///
    /// After the executor has been closed the closure is dropped, uncalled.
    #[track_caller]
    #[inline]
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) -> Handle {
        schedule(self.local(), Location::caller(), callback)
    }

    /// Puts a callback at the end of the ready queue as it is, without allocating. See [`Callback`].
    #[inline]
    pub fn push(&self, callback: Rc<dyn Callback>) {
        self.local().push_or_discard(callback);
    }

    /// Reports a failure that nobody awaits, as the executor does with its own.
    pub fn report(&self, lost: Lost) {
        self.local().report(lost);
    }

    /// Entries that are ready to run.
    pub fn ready_len(&self) -> usize {
        self.local().ready.len()
    }

    /// Every task alive, as it is now: the main one first, then those that have been suspended, the one on its first poll,
    /// and those not yet begun.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.tasks_up_to(usize::MAX)
    }

    /// The same, but no further ones are looked at once `most` have been found, the [children](TaskInfo::children) of their groups
    /// counted with them: for those who may not stop the loop for long, however many tasks there are.
    ///
    /// ```
    /// use rondel_executor::Executor;
    /// use std::future::pending;
    ///
    /// let executor = Executor::new();
    /// let tasks: Vec<_> = (0..5).map(|_| executor.spawn(pending::<()>())).collect();
    /// executor.run_until_idle();
    /// assert_eq!(executor.spawner().tasks_up_to(3).len(), 3);
    /// assert_eq!(executor.spawner().tasks_up_to(9).len(), 5);
    /// # drop(tasks);
    /// ```
    pub fn tasks_up_to(&self, most: usize) -> Vec<TaskInfo> {
        let local = self.local();
        let mut found = Found {
            infos: Vec::new(),
            left: most,
        };
        let main = local.main.borrow().clone();
        let main = main.as_ref().map(|main| &main.header);
        if let Some(header) = main.filter(|header| !header.has(Header::FINISHED)) {
            found.add(header, local);
        }
        for (header, _) in local.tasks.borrow().iter() {
            if found.is_full() {
                break;
            }
            found.add(header, local);
        }
        // Running for the first time, which the registry does not know yet.
        let first_poll = |header: &Header| {
            header.slot.get() == NO_SLOT
                && !header.has(Header::FINISHED)
                && !main.is_some_and(|main| ptr::eq(main, header))
                && header
                    .home
                    .local
                    .get()
                    .is_some_and(|home| ptr::eq(home, local))
        };
        context::with_task(|task| {
            if let Some(header) = task.filter(|header| first_poll(header)) {
                found.add(header, local);
            }
        });
        context::for_each_suspended(|header| {
            if first_poll(header) {
                found.add(header, local);
            }
        });
        local.ready.for_each_task_while(|header| {
            if header.slot.get() == NO_SLOT {
                found.add(header, local);
            }
            !found.is_full()
        });
        found.infos
    }

    /// The number of the task being polled on this thread, of whatever executor; `None` in callbacks and outside turns.
    pub fn current_task_id() -> Option<TaskId> {
        context::with_task(|task| task.map(|header| TaskId(header.id())))
    }

    /// The [number](ChildInfo::number) of the child of a group that is being polled on this thread, of the innermost one. 0 outside of
    /// groups, and in the body of one that the task itself has.
    ///
    /// ```
    /// use rondel_executor::{Executor, Spawner, task_scope};
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(task_scope(async |scope| {
    ///     let one = scope.spawn(async { Spawner::current_child() });
    ///     let other = scope.spawn(async { Spawner::current_child() });
    ///     assert_ne!(one.await, other.await);
    ///     Spawner::current_child()
    /// }));
    /// executor.run_until_idle();
    /// assert_eq!(task.into_result().unwrap().unwrap(), 0);
    /// ```
    pub fn current_child() -> u64 {
        context::member_number()
    }

    /// The children of groups that are being polled on this thread: the innermost first, each a child of a group inside the next,
    /// as far as the task that all are parts of. Empty outside of groups, and in the body of one.
    ///
    /// ```
    /// use rondel_executor::{Executor, Spawner, task_scope};
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(task_scope(async |outer| {
    ///     outer.spawn_named("outer", task_scope(async |inner| {
    ///         inner.spawn_named("inner", async {
    ///             let around = Spawner::current_children();
    ///             let names: Vec<_> = around.iter().map(|child| child.name()).collect();
    ///             assert_eq!(names, [Some("inner"), Some("outer")]);
    ///         });
    ///     }));
    /// }));
    /// executor.run_until_idle();
    /// task.into_result().unwrap().unwrap();
    /// ```
    pub fn current_children() -> Vec<ChildInfo> {
        context::members()
    }

    /// Makes no executor current on this thread, until one takes its next turn: [`current`](Spawner::current) gives `None`,
    /// though a turn is under way further up the stack.
    ///
    /// This is for the child of a fork, which has a copy of that stack and must not go on with it. Async-signal-safe, so that it can be
    /// called in a handler of `pthread_atfork`. What is scheduled already and what holds a spawner is as before.
    ///
    /// ```
    /// use rondel_executor::{Executor, Spawner};
    ///
    /// let executor = Executor::new();
    /// executor.spawner().call_soon(|| {
    ///     assert!(Spawner::current().is_some());
    ///     Spawner::forget_current();
    ///     assert!(Spawner::current().is_none() && Spawner::current_task().is_none());
    /// });
    /// executor.enter().unwrap().run_batch(|| true);
    /// ```
    pub fn forget_current() {
        context::forget_turn();
    }

    /// The task being polled on this thread, of whatever executor; `None` in callbacks and outside turns.
    pub fn current_task() -> Option<TaskInfo> {
        context::with_task(|task| {
            // In the child of a fork there may be the copy of a task, and no executor that runs it.
            let header = task.filter(|_| context::is_turn())?;
            Some(TaskInfo::of(header, header.home.local.get()?))
        })
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner")
            .field("ready", &self.ready_len())
            .field("tasks", &self.local().alive())
            .finish()
    }
}

/// Tasks that have been found, and how many more may be.
struct Found {
    infos: Vec<TaskInfo>,
    left: usize,
}

impl Found {
    const fn is_full(&self) -> bool {
        self.left == 0
    }

    fn add(&mut self, header: &Header, local: &Local) {
        if !self.is_full() {
            let info = TaskInfo::of(header, local);
            self.left = self.left.saturating_sub(1 + info.children().len());
            self.infos.push(info);
        }
    }
}
