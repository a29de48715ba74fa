//! The owner of a loop: makes it, runs it, closes it.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use rondel_executor::{BatchEnd, Cleanup, Executor, JoinError, Main, TaskFactory, TaskLocals};
use rondel_poll::{Events, ProcessMark, Selector, Wait, default_selector};

use crate::current::{self, Running};
use crate::debug::SLOW;
use crate::environment::is_no;
use crate::error::RunError;
use crate::exception::ExceptionContext;
use crate::handle::Shared;
use crate::inherit::apart;
use crate::signal;
use crate::signal::listeners::Signals;
use crate::state::{Limits, LocalLoop, State};
use crate::timer;
use crate::timer::timers::{FAR, Timers};
use crate::turn::{self, Budget, Look};
use crate::watchdog;
use crate::watchdog::options::Watchdog;

/// An event loop, owned by the thread that made it. `!Send`; dropping it closes it.
///
/// Everything that can be scheduled from inside is scheduled through [`LocalLoop`], to which it dereferences. Running takes
/// `&mut self`, so a loop cannot be run or closed from inside itself.
///
/// ```
/// use rondel_loop::EventLoop;
/// use std::{cell::RefCell, rc::Rc};
///
/// let mut lp = EventLoop::new()?;
/// let order = Rc::new(RefCell::new(vec![]));
/// for n in 0..3 {
///     let order = Rc::clone(&order);
///     lp.call_soon(move || order.borrow_mut().push(n));
/// }
/// let answer = lp.run_until_complete(async { order.borrow().len() })?;
/// assert_eq!(answer, 3);
///
/// // Again and again on the same loop; a task's result stays readable.
/// let mut task = lp.create_task(async { "done" });
/// lp.run_until_complete(task.done())?;
/// assert_eq!(*task.result().unwrap().as_ref().unwrap(), "done");
/// # Ok::<(), rondel_loop::RunError>(())
/// ```
pub struct EventLoop {
    local: LocalLoop,
}

/// Sets up an [`EventLoop`].
#[derive(Debug, Default)]
pub struct Builder {
    selector: Option<Box<dyn Selector>>,
    limits: Limits,
    debug: Option<bool>,
    watchdog: Option<Option<Watchdog>>,
    guest_hook: Option<GuestHook>,
    task_factory: Option<Factory>,
}

struct GuestHook(Box<dyn Fn()>);

struct Factory(TaskFactory);

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskFactory")
    }
}

impl fmt::Debug for GuestHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuestHook")
    }
}

impl Builder {
    /// What the loop waits with. Default: [`default_selector`]; or the virtual one if the environment says
    /// `RONDEL_CLOCK=virtual`.
    #[must_use]
    pub fn selector(mut self, selector: impl Selector + 'static) -> Self {
        self.selector = Some(Box::new(selector));
        self
    }

    /// After how many entries the loop looks at I/O, the clock and other threads though more is ready. Default: 64. At least 1.
    #[must_use]
    pub fn batch_entries(mut self, entries: u32) -> Self {
        self.limits.entries = entries.max(1);
        self
    }

    /// After how much time it does, measured now and then. Default: 100 µs. Under a virtual clock only entries count.
    #[must_use]
    pub fn batch_time(mut self, time: Duration) -> Self {
        self.limits.time = time;
        self
    }

    /// How long a cleanup may take before it is reported and dropped. Default: 10 s.
    #[must_use]
    pub fn cleanup_limit(mut self, limit: Duration) -> Self {
        self.limits.cleanup = limit;
        self
    }

    /// Debug mode from the start. Default: on if the environment says `RONDEL_DEBUG=1`.
    #[must_use]
    pub fn debug(mut self, on: bool) -> Self {
        self.debug = Some(on);
        self
    }

    /// A watchdog from the start, or none; see [`LocalLoop::set_watchdog`] for the default.
    #[must_use]
    pub fn watchdog(mut self, watchdog: Option<Watchdog>) -> Self {
        self.watchdog = Some(watchdog);
        self
    }

    /// For guests of another loop: what is called when something becomes ready on the loop's own thread between turns.
    /// Default: the loop's descriptor becomes readable, which is as good where the host watches that.
    #[must_use]
    pub fn guest_hook(mut self, hook: impl Fn() + 'static) -> Self {
        self.guest_hook = Some(GuestHook(Box::new(hook)));
        self
    }

    /// Looks at every task before it begins; see [`LocalLoop::set_task_factory`]. Default: nothing does.
    #[must_use]
    pub fn task_factory(mut self, factory: TaskFactory) -> Self {
        self.task_factory = Some(Factory(factory));
        self
    }

    /// Makes the loop, at home on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Selector`] if the system refuses what waiting takes (descriptors, most likely).
    pub fn build(self) -> Result<EventLoop, RunError> {
        crate::labels::connect();
        crate::fork::watch()?;
        let process = ProcessMark::new()?;
        let selector = match self.selector {
            Some(selector) => selector,
            None if std::env::var_os("RONDEL_CLOCK").is_some_and(|clock| clock == "virtual") => {
                Box::new(rondel_poll::Virtual::new())
            }
            None => default_selector()?,
        };
        let debug = self.debug.unwrap_or_else(|| {
            std::env::var_os("RONDEL_DEBUG").is_some_and(|debug| !is_no(&debug))
        });
        let watchdog = self.watchdog.unwrap_or_else(Watchdog::by_default);
        let notifier = selector.notifier();
        let ring = selector.notifier();
        let hook = self.guest_hook;
        let limits = self.limits;
        let state = Rc::new_cyclic(|weak: &Weak<State>| {
            let reporter = weak.clone();
            let at_home = notifier.clone();
            let executor = Executor::builder()
                .notify(move || ring.notify())
                .nudge(move || match &hook {
                    Some(GuestHook(hook)) => hook(),
                    None => at_home.notify(),
                })
                .lost(move |lost| {
                    let context = ExceptionContext::from(lost);
                    match reporter.upgrade() {
                        Some(state) => state.call_exception_handler(&context),
                        None => context.report(),
                    }
                })
                .cleanup_limit(Rc::new(move |cleanup| limited(cleanup, limits.cleanup)))
                .build();
            State {
                process,
                executor,
                timers: Timers::new(selector.now()),
                selector,
                sources: RefCell::default(),
                watches: RefCell::default(),
                unflushed: RefCell::default(),
                events: Cell::new(Some(Events::new())),
                receive_buffer: Cell::default(),
                lent_buffer: Cell::new(false),
                shared: Arc::new(Shared {
                    notifier,
                    outstanding: AtomicUsize::new(0),
                    stop: AtomicBool::new(false),
                }),
                exception_handler: RefCell::default(),
                pool: RefCell::default(),
                running: Cell::new(false),
                attention: Cell::new(false),
                stopping: Cell::new(false),
                in_batch: Cell::new(false),
                batch_left: Cell::new(0),
                signals: Signals::default(),
                closed: Cell::new(false),
                modes: Cell::default(),
                timed: Cell::new(false),
                mode_changed: Cell::new(false),
                overseer: OnceCell::new(),
                notice_handler: RefCell::default(),
                watchdog: RefCell::new(watchdog),
                leash: RefCell::default(),
                after_look: RefCell::default(),
                kept: RefCell::default(),
                slow: Rc::new(Cell::new(SLOW)),
                received: Cell::new(0),
                sent: Cell::new(0),
                unlooked: Cell::new(0),
                turns: Cell::new(0),
                limits,
            }
        });
        let local = LocalLoop::of(&state);
        local.set_debug(debug);
        crate::inspect::by_environment(&local);
        if let Some(Factory(factory)) = self.task_factory {
            local.set_task_factory(Some(factory));
        }
        Ok(EventLoop { local })
    }
}

/// A cleanup with the loop's limit around it. Not a `timeout`, which would wait for a shielded part inside: this is the last
/// word.
fn limited(mut cleanup: Cleanup, limit: Duration) -> Cleanup {
    Box::pin(async move {
        let mut sleep = crate::time::sleep(limit);
        let ended = poll_fn(|cx| match cleanup.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| false),
        })
        .await;
        drop(cleanup);
        if !ended && let Ok(local) = LocalLoop::current() {
            local.call_exception_handler(&ExceptionContext::new(format!(
                "a cleanup took longer than {limit:?}, and was dropped"
            )));
        }
    })
}

impl EventLoop {
    /// A loop with the system's selector and clock. asyncio: `new_event_loop`.
    ///
    /// # Errors
    /// [`RunError::Selector`] if the system refuses what waiting takes.
    pub fn new() -> Result<Self, RunError> {
        Self::builder().build()
    }

    /// Sets up a loop.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn state(&self) -> &Rc<State> {
        self.local.state()
    }

    /// The handle for use from inside.
    pub fn local(&self) -> LocalLoop {
        self.local.clone()
    }

    /// Runs the loop until `future` has finished, and gives its output. The future may borrow; a `&mut Task` is one, too.
    /// What else is scheduled runs on beside it, and stays scheduled afterwards. asyncio: `run_until_complete`.
    ///
    /// # Errors
    /// - [`RunError::Stopped`]: the loop was stopped first. A future given by value is dropped; a task given by reference can
    ///   be run on later.
    /// - [`RunError::Cancelled`], [`RunError::Panicked`]: how the future ended.
    /// - [`RunError::Closed`], [`RunError::OtherLoopRunning`], [`RunError::Selector`]: the loop cannot be run.
    #[doc(alias = "block_on")]
    #[track_caller]
    pub fn run_until_complete<F: Future>(&mut self, future: F) -> Result<F::Output, RunError> {
        self.run_main(future, &TaskLocals::current())
    }

    /// The same, for a main future that begins with these task-local values.
    #[track_caller]
    pub(crate) fn run_main<F: Future>(
        &mut self,
        future: F,
        locals: &TaskLocals,
    ) -> Result<F::Output, RunError> {
        let mut future = pin!(Some(future));
        let state = Rc::clone(self.state());
        let run = Run::begin(&state)?;
        let Some(mut main) = state.executor.main(future.as_mut()) else {
            return Err(RunError::Running);
        };
        main.set_locals(locals);
        apart(|| run.turn_until(Some(&mut main)))?
            .ok_or(RunError::Stopped)?
            .map_err(|error| match error {
                JoinError::Panicked(payload) => RunError::Panicked(payload),
                _ => RunError::Cancelled,
            })
    }

    /// Runs the loop until [`stop`](LocalLoop::stop). asyncio: `run_forever`.
    ///
    /// # Errors
    /// [`RunError::Closed`], [`RunError::OtherLoopRunning`], [`RunError::Selector`]: the loop cannot be run.
    pub fn run_forever(&mut self) -> Result<(), RunError> {
        let state = Rc::clone(self.state());
        let run = Run::begin(&state)?;
        apart(|| run.turn_until(None::<&mut Main<'_, '_, std::future::Ready<()>>>))?;
        Ok(())
    }

    /// One turn: looks at I/O, timers and other threads, waiting for them as `wait` says if nothing is ready, then runs what
    /// was ready at that moment. Gives whether there is more to run at once.
    ///
    /// This is how a loop is driven as a guest, with [`Wait::Poll`], whenever its [descriptor](EventLoop::as_fd) is readable or
    /// its [next deadline](EventLoop::next_deadline) has come. Between turns it counts as asleep: whatever becomes ready,
    /// here or by another thread, makes the descriptor readable.
    ///
    /// # Errors
    /// [`RunError::Closed`], [`RunError::OtherLoopRunning`], [`RunError::Selector`]: the loop cannot be run.
    pub fn run_once(&mut self, wait: Wait) -> Result<bool, RunError> {
        let state = Rc::clone(self.state());
        let run = Run::begin(&state)?;
        apart(|| run.once(wait))?;
        drop(run);
        Ok(!state.selector.doze() || state.executor.has_ready())
    }

    /// When the loop wants to be run again: now if something is ready, else at its earliest timer; `None`: not before its
    /// descriptor is readable.
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = self.state();
        if state.executor.has_ready() || state.stopping.get() {
            return Some(state.now());
        }
        state.timers.next_deadline()
    }

    /// The descriptor that a host watches for reading; `None` for selectors without one.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.state().selector.as_fd()
    }

    /// The selector.
    pub fn selector(&self) -> &dyn Selector {
        &*self.state().selector
    }

    /// Cancels every task, cleanups excepted; they end in the turns that follow. Gives their number.
    pub fn cancel_all_tasks(&mut self) -> usize {
        self.state().executor.cancel_all()
    }

    /// Runs the loop until every task has ended, cleanups included, at most `limit`. Gives the number of those left.
    ///
    /// # Errors
    /// As [`run_forever`](EventLoop::run_forever).
    pub fn run_until_idle(&mut self, limit: Duration) -> Result<usize, RunError> {
        let state = Rc::clone(self.state());
        let alive = || state.executor.alive();
        let now = state.now();
        let deadline = now.checked_add(limit).unwrap_or(now + FAR);
        // A timer of its own, so that the wait below ends with it.
        let alarm = self.call_at(deadline, || {});
        let run = Run::begin(&state)?;
        while alive() > 0 && state.now() < deadline {
            run.once(Wait::Forever)?;
        }
        drop(run);
        alarm.cancel();
        Ok(alive())
    }

    /// Closes the loop: drops every task, callback and timer, lets go of descriptors and signals, tells the pool to take no
    /// more jobs, without waiting for any of them. Closing again does nothing. asyncio: `close`.
    ///
    /// Tasks that should clean up first are [cancelled](EventLoop::cancel_all_tasks) and
    /// [waited for](EventLoop::run_until_idle); [`run`](crate::run) does all of that.
    ///
    /// In the child of a fork, a loop of the parent's is closed without dropping anything: what it holds stays until the child ends.
    pub fn close(&mut self) {
        let state = Rc::clone(self.state());
        if state.closed.get() {
            return;
        }
        if !state.process.is_current() {
            // The parent's: its tasks' destructors, its sockets and children are for the parent to end. So they stay as they are.
            state.closed.set(true);
            mem::forget(state);
            return;
        }
        let _current = Running::enter(&state);
        state.notice_unclosed();
        state.closed.set(true);
        signal::close(&state);
        let sources = state.sources.borrow_mut().take_all();
        for source in &sources {
            state.guarded(|| source.on_loop_closed());
        }
        let watches = state.watches.borrow_mut().take_all();
        let mut keys: Vec<_> = sources.iter().map(|source| source.key()).collect();
        for (key, callbacks) in watches {
            keys.push(key);
            state.guarded(|| drop(callbacks));
        }
        timer::clear(&state);
        state.executor.close();
        for key in keys {
            // Fails only for what the tasks' own destructors have deregistered in the meantime.
            let _ = state.selector.deregister(key);
        }
        for unflushed in state.unflushed.take() {
            state.guarded(|| drop(unflushed));
        }
        drop(state.receive_buffer.take());
        timer::clear(&state);
        let pool = state.pool.take();
        if let Some(pool) = pool {
            pool.close();
        }
        let handler = state.exception_handler.take();
        state.guarded(|| drop(handler));
        drop(state.leash.take());
        drop(state.after_look.take());
        drop(state.kept.take());
        let handler = state.notice_handler.take();
        state.guarded(|| drop(handler));
    }
}

/// A run under way: at most one a thread.
struct Run<'s> {
    state: &'s Rc<State>,
    _current: Running,
}

impl<'s> Run<'s> {
    fn begin(state: &'s Rc<State>) -> Result<Self, RunError> {
        if state.closed.get() {
            return Err(RunError::Closed);
        }
        if !state.process.is_current() {
            return Err(RunError::of_parent());
        }
        if state.running.get() {
            return Err(RunError::Running);
        }
        if current::is_any() {
            return Err(RunError::OtherLoopRunning);
        }
        state.running.set(true);
        watchdog::begin(state);
        if let Some(overseer) = state.overseer.get() {
            overseer.begin_run();
        }
        Ok(Self {
            state,
            _current: Running::enter(state),
        })
    }

    /// Turns until the main future has finished (its outcome), or the loop is stopped (`None`).
    fn turn_until<F: Future>(
        &self,
        mut main: Option<&mut Main<'_, '_, F>>,
    ) -> Result<Option<Result<F::Output, JoinError>>, RunError> {
        let state = self.state;
        let turn = state.executor.enter().ok_or(RunError::Running)?;
        let mut budget = Budget::new(state);
        if state.stopping.get() || state.shared.stop.load(Ordering::Acquire) {
            turn::look(state, &turn, &mut budget, Look::Around(Wait::Poll))?;
            state.stopping.set(false);
            state.stop();
        }
        turn::flush(state);
        if state.unlooked.get() >= state.limits.entries {
            turn::look(state, &turn, &mut budget, Look::Around(Wait::Poll))?;
        }
        state.unlooked.set(state.unlooked.get() + 1);
        state.in_batch.set(true);
        let outcome = loop {
            match turn::run_ready(state, &turn, &mut budget) {
                BatchEnd::Main => {
                    let polled = match &mut main {
                        Some(main) => main.poll(),
                        None => Poll::Pending,
                    };
                    let go_on = turn::after_entry(state, &mut budget);
                    if let Poll::Ready(outcome) = polled {
                        break Some(outcome);
                    }
                    if go_on {
                        continue;
                    }
                }
                BatchEnd::Dry => state.batch_left.set(0),
                BatchEnd::Stopped => {}
            }
            if state.stopping.get() && state.batch_left.get() == 0 {
                break None;
            }
            state.in_batch.set(false);
            turn::look(state, &turn, &mut budget, Look::Around(Wait::Forever))?;
            if state.shared.stop.load(Ordering::Acquire) {
                state.stop();
            }
            state.in_batch.set(true);
        };
        if outcome.is_none() && !state.process.is_current() {
            return Err(RunError::of_parent());
        }
        state.stopping.set(false);
        state.shared.stop.store(false, Ordering::Release);
        Ok(outcome)
    }

    /// One look and one batch: what is ready after the look, and no more.
    fn once(&self, wait: Wait) -> Result<(), RunError> {
        let state = self.state;
        let turn = state.executor.enter().ok_or(RunError::Running)?;
        let mut budget = Budget::new(state);
        turn::flush(state);
        turn::look(state, &turn, &mut budget, Look::AndListen(wait))?;
        let mut left = state.executor.spawner().ready_len();
        if left > 0 {
            turn.run_batch(|| {
                turn::after_entry(state, &mut budget);
                left -= 1;
                left > 0 && !state.is_abandoned()
            });
        }
        if !state.process.is_current() {
            return Err(RunError::of_parent());
        }
        // Who asked the loop to stop has what it wanted: this was all.
        state.stopping.set(false);
        state.shared.stop.store(false, Ordering::Release);
        Ok(())
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.state.running.set(false);
        self.state.in_batch.set(false);
        if let Some(overseer) = self.state.overseer.get() {
            overseer.end_run();
        }
    }
}

impl Deref for EventLoop {
    type Target = LocalLoop;

    fn deref(&self) -> &LocalLoop {
        &self.local
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.local, f)
    }
}
