//! The loop that is running on this thread.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::rc::Rc;

use rondel_executor::{Handle, Spawner, Task};
use rondel_poll::ProcessMark;

use crate::state::{LocalLoop, State};

thread_local! {
    static CURRENT: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
    /// Runs under way on this thread, for the handler in `fork.rs`: a thread's first look at `CURRENT`, which has a destructor,
    /// may allocate.
    static RUNS: Cell<usize> = const { Cell::new(0) };
}

/// There is no event loop running on this thread, so what was asked for has nowhere to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRunningLoop {
    call: &'static str,
}

impl NoRunningLoop {
    /// What was called.
    pub const fn call(&self) -> &'static str {
        self.call
    }
}

impl fmt::Display for NoRunningLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: no event loop is running on this thread; call it from a task or callback, inside `rondel::run(…)` or \
             `EventLoop::run_until_complete(…)`, or use a `LoopHandle` from other threads",
            self.call
        )
    }
}

impl Error for NoRunningLoop {}

/// Makes a loop the current one until it is dropped.
pub(crate) struct Running {
    before: Option<Rc<State>>,
    /// What was current before is not so in the child of a fork.
    process: ProcessMark,
}

impl Running {
    pub(crate) fn enter(state: &Rc<State>) -> Self {
        // A loop that is kept in a thread-local may outlive this one, and closes without being current.
        let before = CURRENT
            .try_with(|current| current.replace(Some(Rc::clone(state))))
            .unwrap_or_default();
        // Only now that `CURRENT` is there for certain.
        RUNS.set(RUNS.get() + 1);
        Self {
            before,
            process: state.process,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNS.set(RUNS.get() - 1);
        let mut before = self.before.take();
        if !self.process.is_current() {
            // Not dropped either, as little as what `forget` takes away.
            mem::forget(before.take());
        }
        let left = CURRENT.try_with(|current| current.replace(before));
        drop(left);
    }
}

/// Makes no loop current in the child of a fork, and has the one that was end its run; `false` if there was none. Async-signal-safe.
pub(crate) fn forget() -> bool {
    if RUNS.get() == 0 {
        return false;
    }
    let _ = CURRENT.try_with(|current| {
        // Borrowed only within this file and by calls of ours, which do not fork.
        if let Ok(mut current) = current.try_borrow_mut()
            && let Some(state) = current.take()
        {
            state.abandon();
            // The child has no use for the loop, and dropping it is no matter for a handler.
            mem::forget(state);
        }
    });
    true
}

/// Whether a loop is current on this thread.
pub(crate) fn is_any() -> bool {
    CURRENT
        .try_with(|current| current.borrow().is_some())
        .unwrap_or(false)
}

pub(crate) fn get(call: &'static str) -> Result<LocalLoop, NoRunningLoop> {
    CURRENT
        .try_with(|current| current.borrow().as_ref().map(LocalLoop::of))
        .unwrap_or_default()
        .ok_or(NoRunningLoop { call })
}

/// The current loop, for calls that have no way to return an error.
#[track_caller]
pub(crate) fn expect(call: &'static str) -> LocalLoop {
    get(call).unwrap_or_else(|_| no_loop(call))
}

#[cold]
#[track_caller]
fn no_loop(call: &'static str) -> ! {
    panic!("{}", NoRunningLoop { call })
}

/// Runs `f` on the current loop, if there is one, without taking a share of it.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(Option<&Rc<State>>) -> R) -> R {
    CURRENT.with(|current| f(current.borrow().as_ref()))
}

/// Runs `future` as a task of the running loop. asyncio: `create_task`.
///
/// The task need not be `Send`; it starts at its turn, behind what is ready now. Dropping the handle detaches it.
///
/// # Panics
/// If no loop is running on this thread; [`LocalLoop::current`] tells beforehand.
///
/// ```
/// # rondel_loop::run(async {
/// let task = rondel_loop::spawn(async { 6 * 7 });
/// assert_eq!(task.await.unwrap(), 42);
/// # }).unwrap();
/// ```
#[doc(alias = "create_task")]
#[track_caller]
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    match Spawner::spawn_current(future) {
        Ok(task) => task,
        Err(_) => no_loop("spawn"),
    }
}

/// Schedules `callback` in the running loop; see [`LocalLoop::call_soon`].
///
/// # Panics
/// If no loop is running on this thread; [`LocalLoop::current`] tells beforehand.
///
/// ```
/// # rondel_loop::run(async {
/// rondel_loop::call_soon(|| println!("in a moment"));
/// rondel_loop::yield_now().await;
/// # }).unwrap();
/// ```
#[track_caller]
pub fn call_soon(callback: impl FnOnce() + 'static) -> Handle {
    match Spawner::call_soon_current(callback) {
        Ok(handle) => handle,
        Err(_) => no_loop("call_soon"),
    }
}
