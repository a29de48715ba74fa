//! Running a whole program: `run` and `Runner`.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use crate::error::RunError;
use crate::event_loop::EventLoop;
use crate::exception::ExceptionContext;
use crate::inherit::Kept;
use crate::signal::{self, Signal};

/// Runs `main` on a new loop and ends well. asyncio: `asyncio.run`.
///
/// When `main` has finished, what is left of other tasks is cancelled and waited for, cleanups included; then the thread pool
/// is shut down, at most 30 s; what would not end is reported. The first Ctrl-C cancels `main`, which still cleans up, and
/// the run ends with [`RunError::Interrupted`]; a second one ends the process. (SIGINT is left alone if the program has
/// changed what it does, or another loop listens to it.)
///
/// # Errors
/// - [`RunError::Interrupted`], [`RunError::Cancelled`], [`RunError::Panicked`], [`RunError::Stopped`]: how `main` ended.
/// - [`RunError::OtherLoopRunning`]: this thread runs a loop already. [`RunError::Selector`]: no loop could be made.
///
/// ```
/// let greeting = rondel_loop::run(async {
///     let task = rondel_loop::spawn(async { "hello" });
///     task.await.unwrap()
/// })?;
/// assert_eq!(greeting, "hello");
/// # Ok::<(), rondel_loop::RunError>(())
/// ```
#[track_caller]
pub fn run<F: Future>(main: F) -> Result<F::Output, RunError> {
    let mut runner = Runner::new()?;
    let outcome = runner.run(main);
    runner.close();
    outcome
}

/// How a [`Runner`] runs and ends.
#[derive(Clone, Debug)]
pub struct RunOptions {
    ctrl_c: bool,
    task_grace: Duration,
    pool_grace: Duration,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            ctrl_c: true,
            task_grace: Duration::from_secs(30),
            pool_grace: Duration::from_secs(30),
        }
    }
}

impl RunOptions {
    /// The defaults: Ctrl-C cancels, 30 s for tasks to end, 30 s for the pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether Ctrl-C cancels `main`. Default: yes.
    #[must_use]
    pub fn ctrl_c(mut self, cancels: bool) -> Self {
        self.ctrl_c = cancels;
        self
    }

    /// How long cancelled tasks, cleanups included, may take to end. Default: 30 s.
    #[must_use]
    pub fn task_grace(mut self, grace: Duration) -> Self {
        self.task_grace = grace;
        self
    }

    /// How long jobs in the loop's thread pool may take to end. Default: 30 s.
    #[must_use]
    pub fn pool_grace(mut self, grace: Duration) -> Self {
        self.pool_grace = grace;
        self
    }
}

/// Runs several main functions one after the other on the same loop, and ends as well as [`run`] does. asyncio: `Runner`.
///
/// ```
/// use rondel_loop::Runner;
///
/// let mut runner = Runner::new()?;
/// let one = runner.run(async { 1 })?;
/// let two = runner.run(async move { one + 1 })?;
/// assert_eq!(two, 2);
/// runner.close();
/// # Ok::<(), rondel_loop::RunError>(())
/// ```
#[derive(Debug)]
pub struct Runner {
    event_loop: EventLoop,
    options: RunOptions,
    locals: Kept,
}

impl Runner {
    /// A runner with a new loop and the default options.
    ///
    /// # Errors
    /// [`RunError::Selector`] if no loop could be made.
    pub fn new() -> Result<Self, RunError> {
        Ok(Self::with(EventLoop::new()?, RunOptions::default()))
    }

    /// A runner over a loop made elsewhere, with a selector of its own for example.
    pub fn with(event_loop: EventLoop, options: RunOptions) -> Self {
        Self {
            event_loop,
            options,
            locals: Kept::default(),
        }
    }

    /// The loop.
    pub fn event_loop(&mut self) -> &mut EventLoop {
        &mut self.event_loop
    }

    /// Runs `main` to its end. Other tasks stay, for the next run, and so do the [task-local](crate::TaskLocal) values that
    /// `main` has set: the next one begins with them.
    ///
    /// # Errors
    /// As [`run`].
    #[track_caller]
    pub fn run<F: Future>(&mut self, main: F) -> Result<F::Output, RunError> {
        let interrupted = Rc::new(Cell::new(false));
        let listening = self.options.ctrl_c && self.take_ctrl_c(&interrupted);
        let main = self.locals.keeping(main);
        let locals = self.locals.next();
        let outcome = self.event_loop.run_main(main, &locals);
        if listening {
            signal::set_once(self.event_loop.local().state(), Signal::INTERRUPT, false);
            self.event_loop.remove_signal_handler(Signal::INTERRUPT);
        }
        match outcome {
            Err(RunError::Cancelled) if interrupted.get() => Err(RunError::Interrupted),
            outcome => outcome,
        }
    }

    /// Has the first Ctrl-C cancel `main`, and the second end the process. `false` if SIGINT is somebody else's.
    fn take_ctrl_c(&self, interrupted: &Rc<Cell<bool>>) -> bool {
        if !signal::is_default(Signal::INTERRUPT) {
            return false;
        }
        let interrupted = Rc::clone(interrupted);
        let weak = Rc::downgrade(self.event_loop.local().state());
        let taken = self
            .event_loop
            .add_signal_handler(Signal::INTERRUPT, move || {
                interrupted.set(true);
                if let Some(state) = weak.upgrade() {
                    state.executor.cancel_main();
                }
            });
        // Refused under a virtual clock: there Ctrl-C keeps its default, and ends the process.
        if taken.is_ok() {
            signal::set_once(self.event_loop.local().state(), Signal::INTERRUPT, true);
        }
        taken.is_ok()
    }

    /// Cancels what is left, waits for it, shuts the pool down, and closes the loop; reports what would not end. Closing again
    /// does nothing. Dropping the runner does the same.
    pub fn close(&mut self) {
        if self.event_loop.is_closed() {
            return;
        }
        if !self.event_loop.local().state().process.is_current() {
            // The child of a fork: the tasks are the parent's to end, and the pool has no thread here that could be waited for.
            self.event_loop.close();
            return;
        }
        self.event_loop.cancel_all_tasks();
        let left = if self.event_loop.local().state().executor.alive() == 0 {
            Ok(0)
        } else {
            self.event_loop.run_until_idle(self.options.task_grace)
        };
        match left {
            Ok(0) => {}
            Ok(left) => self.report(format!(
                "{left} tasks had not ended {:?} after they were cancelled, and are dropped",
                self.options.task_grace
            )),
            Err(error) => self.report(format!("tasks could not be ended: {error}")),
        }
        self.shut_pool_down();
        self.event_loop.close();
    }

    fn shut_pool_down(&self) {
        let pool = self.event_loop.local().state().pool.borrow_mut().take();
        let Some(pool) = pool else { return };
        let report = pool.shutdown(Some(self.options.pool_grace));
        if !report.is_clean() {
            self.report(format!("the thread pool was left behind: {report}"));
        }
    }

    fn report(&self, message: String) {
        self.event_loop
            .call_exception_handler(&ExceptionContext::new(message));
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.close();
    }
}
