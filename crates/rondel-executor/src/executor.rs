//! The executor: owner of the tasks, driver of the ready queue.

mod batch;
pub(crate) mod observed;

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::callback::handle::Handle;
use crate::claim;
use crate::cleanup::scope::CleanupLimit;
use crate::context::Turn;
use crate::core::{Core, Hooks, Local};
use crate::inbox::Notify;
use crate::lost::{Lost, Sink};
use crate::ready_queue::Entry;
use crate::remote::Remote;
use crate::spawner::Spawner;
use crate::task::factory::TaskFactory;
use crate::task::handle::{Task, cancel_all};
use crate::task::harness;
use crate::task::info::TaskInfo;

/// Runs tasks and callbacks on the thread that made it, first in first out.
///
/// It has no clock and does no I/O, and it never waits: whoever owns it, an event loop or a game's frame, calls
/// [`run_until_idle`](Executor::run_until_idle), or enters a turn and runs batches, and is told by the two hooks of the
/// [`Builder`] when there is something to run again. `!Send`; dropping it closes it.
///
/// ```
/// use rondel_executor::Executor;
/// use std::{cell::RefCell, rc::Rc};
///
/// let executor = Executor::new();
/// let order = Rc::new(RefCell::new(Vec::new()));
/// for name in ["first", "second"] {
///     let order = Rc::clone(&order);
///     executor.call_soon(move || order.borrow_mut().push(name));
/// }
/// executor.run_until_idle();
/// assert_eq!(*order.borrow(), ["first", "second"]);
/// ```
pub struct Executor {
    spawner: Spawner,
}

/// Sets up an [`Executor`].
pub struct Builder {
    notify: Notify,
    hooks: Hooks,
}

/// Why a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    /// Nothing is ready any more.
    Dry,
    /// The caller's check said stop; entries may be left.
    Stopped,
    /// It is the main future's turn; see [`Main`](crate::Main).
    Main,
}

/// How an executor ended; see [`Executor::close`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Tasks whose future was dropped because they had not finished.
    pub cancelled: usize,
    /// Tasks that another thread was waking at that moment for longer than the executor waits; their futures are leaked,
    /// since nothing may drop them elsewhere.
    pub leaked: usize,
}

impl Builder {
    /// What is called, on the other thread, after something came in from there. Default: nothing is.
    #[must_use]
    pub fn notify(mut self, notify: impl Fn() + Send + Sync + 'static) -> Self {
        self.notify = Arc::new(notify);
        self
    }

    /// What is called when something becomes ready on the executor's own thread between turns, once for each entry: for
    /// guests, whose host would not look otherwise. Default: nothing is.
    #[must_use]
    pub fn nudge(mut self, nudge: impl Fn() + 'static) -> Self {
        self.hooks.nudge = Some(Rc::new(nudge));
        self
    }

    /// Where failures go that nobody awaits. Default: standard error.
    #[must_use]
    pub fn lost(mut self, sink: impl Fn(Lost) + 'static) -> Self {
        self.hooks.sink = Some(Rc::new(sink) as Sink);
        self
    }

    /// Wraps every cleanup before it runs, usually in a timeout. Default: no limit, since an executor has no clock.
    #[must_use]
    pub fn cleanup_limit(mut self, limit: CleanupLimit) -> Self {
        self.hooks.cleanup_limit = Some(limit);
        self
    }

    /// Looks at every task before it begins; see [`Spawner::set_task_factory`]. Default: nothing does.
    #[must_use]
    pub fn task_factory(mut self, factory: TaskFactory) -> Self {
        self.hooks.task_factory = Some(factory);
        self
    }

    /// Makes the executor, at home on the calling thread.
    pub fn build(self) -> Executor {
        let core = Core::new(self.notify, self.hooks);
        Executor {
            spawner: Spawner::of(&core).expect("made on this thread"),
        }
    }
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor {
    /// An executor that tells nobody when it has work: its owner looks by itself.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Sets up an executor.
    pub fn builder() -> Builder {
        Builder {
            notify: Arc::new(|| {}),
            hooks: Hooks::default(),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        self.spawner.core()
    }

    #[inline]
    pub(crate) fn local(&self) -> &Local {
        self.spawner.local()
    }

    /// The handle for use from inside: by tasks, callbacks, and everything on this thread.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// The handle for use from other threads.
    pub fn remote(&self) -> Remote {
        Remote::of(self.core())
    }

    /// Makes a task of `future`; see [`Spawner::spawn`].
    #[track_caller]
    #[inline]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.spawner.spawn(future)
    }

    /// Makes a task of `future` and polls it at once, if it is this executor's turn; see [`Spawner::spawn_eager`].
    #[track_caller]
    pub fn spawn_eager<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.spawner.spawn_eager(future)
    }

    /// Schedules a callback; see [`Spawner::call_soon`].
    #[track_caller]
    #[inline]
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) -> Handle {
        self.spawner.call_soon(callback)
    }

    /// Every task alive; see [`Spawner::tasks`].
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.spawner.tasks()
    }

    /// Tasks that have not finished, cleanups among them.
    pub fn alive(&self) -> usize {
        self.local().alive()
    }

    /// Tasks made so far, cleanups and main ones among them.
    pub fn made(&self) -> u64 {
        self.local().made()
    }

    /// Of these, how many were cancelled: their futures dropped before they had finished.
    pub fn cancelled(&self) -> u64 {
        self.local().cancelled.get()
    }

    /// Cleanups under way.
    pub fn cleanups(&self) -> usize {
        self.local().cleanups.get()
    }

    /// Whether an entry is ready, or something has come in from another thread.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.local().ready.is_empty() || !self.core().inbox.is_empty()
    }

    /// Values and tasks leaked because they reached their home after it had closed; see [`LoopBound`](crate::LoopBound).
    pub fn leaked(&self) -> usize {
        self.core().leaked.load(Ordering::Relaxed)
    }

    /// Begins a turn: until it is dropped, nothing that becomes ready here is announced. While it runs entries, this
    /// executor is the current one on the thread. `None` if a turn is under way: an executor does not run inside itself.
    pub fn enter(&self) -> Option<Entered<'_>> {
        let local = self.local();
        if local.turning.replace(true) {
            return None;
        }
        Some(Entered { executor: self })
    }

    /// Runs until nothing is ready and nothing has come in. Does nothing if called from inside a turn of this executor.
    /// If it is the main future's turn, it still is afterwards: that one is polled by its owner.
    ///
    /// A task that wakes itself for ever keeps it here for ever: a loop with other things to do runs batches.
    pub fn run_until_idle(&self) {
        let Some(turn) = self.enter() else { return };
        let mut main = false;
        loop {
            turn.drain_inbox();
            match turn.run_batch(|| true) {
                BatchEnd::Main => main = true,
                BatchEnd::Dry if !self.has_ready() => break,
                _ => {}
            }
        }
        let local = self.local();
        if main && local.main.borrow().is_some() {
            local.push_main();
        }
    }

    /// Cancels the main task; `false` if there is none, or it is done.
    pub fn cancel_main(&self) -> bool {
        let main = self.local().main.borrow().clone();
        main.is_some_and(|main| main.cancel())
    }

    /// Cancels every task except cleanups, and gives their number. They end in the turns that follow.
    pub fn cancel_all(&self) -> usize {
        cancel_all(self.local())
    }

    /// Ends the executor: every task's future is dropped here and now, without waiting for cleanup (what is left undone is
    /// reported), callbacks are dropped uncalled, and from now on wakes do nothing. Closing twice does nothing.
    ///
    /// Owners that want tasks to end well call [`cancel_all`](Executor::cancel_all) first and go on turning until
    /// [`alive`](Executor::alive) is 0.
    pub fn close(&self) -> Closed {
        let local = self.local();
        let core = self.core();
        if local.closed.get() || local.turning.replace(true) {
            return Closed::default();
        }
        local.closed.set(true);
        local.odd.set(Local::SHUT);
        local.unusual.set(true);
        let leaked_before = core.leaked.load(Ordering::Relaxed);
        let cancelled = local.alive();
        self.drop_everything();
        // From here on, what other threads send is refused; what was sent before is dropped here, its home.
        core.inbox.close();
        self.drop_everything();
        let in_hand = usize::from(local.main.borrow().is_some());
        let stranded = local.alive().saturating_sub(in_hand);
        core.leaked.fetch_add(stranded, Ordering::Relaxed);
        // The root scope holds the core, which holds the scope.
        let root = local.root.take();
        drop(root);
        if stranded == 0 {
            // Remote handles may keep the core for long, and drop it where this room could not be given back.
            local.release_room();
        }
        local.turning.set(false);
        let hooks = local.hooks.take();
        if let Some(watch) = &hooks.late_wakes {
            watch.close();
        }
        drop(hooks);
        Closed {
            cancelled: cancelled - stranded,
            leaked: core.leaked.load(Ordering::Relaxed) - leaked_before,
        }
    }

    /// Drops what tasks hold, until no task is left or the rest is out of reach.
    fn drop_everything(&self) {
        let local = self.local();
        let core = self.core();
        let _turn = Turn::enter(core);
        // A task that another thread is waking at this moment is in no queue until that thread's push is done, which takes
        // it a few instructions, or a time slice if it was put to sleep in between.
        const PATIENCE: u32 = 100_000;
        let mut idle = 0;
        while idle < PATIENCE {
            let wakers: Vec<_> = local
                .tasks
                .borrow()
                .iter()
                .map(|(_, waker)| waker.clone())
                .collect();
            for waker in wakers {
                waker.wake();
            }
            core.drain_inbox(local);
            let mut progress = false;
            while let Some(entry) = local.ready.pop() {
                progress = true;
                match entry {
                    // The harness sees that the executor is closed and drops the future.
                    Entry::Task(runnable) => local.guarded(|| harness::run(runnable)),
                    // Let go of, since somebody may hold a handle to it.
                    Entry::Once(once) => {
                        local.guarded(|| {
                            once.cancel();
                        });
                    }
                    Entry::Callback(callback) => local.guarded(|| callback.discard()),
                    Entry::Main => {}
                }
            }
            let in_hand = local.main.borrow().is_some();
            // Until the inbox is closed, threads that keep sending would keep us here.
            let drained = !core.inbox.is_closed() || core.inbox.is_empty();
            if local.alive() <= usize::from(in_hand) && drained {
                return;
            }
            if progress {
                idle = 0;
            } else {
                idle += 1;
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Nobody borrows the executor, so a turn that seems to be under way was forgotten.
        self.local().turning.set(false);
        self.close();
        claim::settle(self.core(), self.local());
    }
}

/// A turn of an [`Executor`] under way.
pub struct Entered<'e> {
    executor: &'e Executor,
}

impl Entered<'_> {
    /// Moves what has come in from other threads to the end of the ready queue. `false` if nothing had.
    #[inline]
    pub fn drain_inbox(&self) -> bool {
        let core = self.executor.core();
        if core.inbox.is_empty() {
            return false;
        }
        let _turn = Turn::enter(core);
        core.drain_inbox(self.executor.local());
        true
    }

    /// The executor whose turn it is.
    pub fn executor(&self) -> &Executor {
        self.executor
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.executor.local().turning.set(false);
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("ready", &self.spawner.ready_len())
            .field("tasks", &self.alive())
            .field("closed", &self.local().closed.get())
            .finish()
    }
}

impl fmt::Debug for Entered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered")
            .field("executor", self.executor)
            .finish()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}
