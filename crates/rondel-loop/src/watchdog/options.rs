//! What a watchdog does, and what it has to say.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::stack::Stack;
use crate::environment::is_no;

/// From when on a loop counts as blocked, unless set.
const LIMIT: Duration = Duration::from_secs(1);

/// What to do about a loop whose thread is held up by one task or callback; see [`LocalLoop::set_watchdog`](crate::LocalLoop::set_watchdog).
///
/// ```
/// use rondel_loop::{LocalLoop, Watchdog};
/// use std::{sync::mpsc, time::Duration};
///
/// rondel_loop::run(async {
///     let (send, receive) = mpsc::channel();
///     let watchdog = Watchdog::new()
///         .limit(Duration::from_millis(10))
///         .on_blocked(move |blocked| drop(send.send(blocked.to_string())));
///     LocalLoop::current().unwrap().set_watchdog(Some(watchdog));
///     rondel_loop::spawn(async move {
///         // Blocks the loop until the watchdog barks.
///         let report = receive.recv().unwrap();
///         assert!(report.contains("\"greedy\""));
///     })
///     .named("greedy")
///     .await
///     .unwrap();
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct Watchdog {
    pub(super) limit: Duration,
    pub(super) on_blocked: Option<OnBlocked>,
    pub(super) stack: bool,
}

pub(super) type OnBlocked = Arc<dyn Fn(&Blocked) + Send + Sync>;

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}

impl Watchdog {
    /// One that reports to standard error what has been running for a second.
    pub const fn new() -> Self {
        Self {
            limit: LIMIT,
            on_blocked: None,
            stack: false,
        }
    }

    /// For how long something must have been running. Default: 1 s; at least a millisecond. It is seen when the watchdog looks,
    /// up to a quarter of this later, or, after the loop has been idle, as much later again.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit.max(Duration::from_millis(1));
        self
    }

    /// What is called instead of writing to standard error: on the watchdog's thread, while the loop is blocked. A panic of it is
    /// ignored.
    #[must_use]
    pub fn on_blocked(mut self, report: impl Fn(&Blocked) + Send + Sync + 'static) -> Self {
        self.on_blocked = Some(Arc::new(report));
        self
    }

    /// Whether each report comes with the [stack](Blocked::stack) of the loop's thread: which function of the task or callback
    /// does not return. Default: no; for loops that were not told otherwise, `RONDEL_WATCHDOG=stack` says so.
    ///
    /// It needs the feature `stack`, and Linux on x86-64 or AArch64; elsewhere the stack says that it is missing. Frame
    /// pointers are not needed, names and lines come from the program's own debug information.
    ///
    /// The thread is asked by a signal, the highest real-time signal that is at its default action when it is first needed. Its
    /// handler copies the registers and up to 512 KiB of the stack and does nothing else; all the rest is done by the
    /// watchdog's thread. Once a report, and so seldom, it interrupts what the thread is doing: a system call of those that
    /// are not restarted (signal(7) lists them) then fails with `EINTR`, as with any other signal.
    ///
    /// ```
    /// use rondel_loop::{LocalLoop, Watchdog};
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// fn greedy(done: &mpsc::Receiver<String>) -> String {
    ///     done.recv().unwrap()
    /// }
    ///
    /// rondel_loop::run(async {
    ///     let (send, receive) = mpsc::channel();
    ///     let watchdog = Watchdog::new()
    ///         .limit(Duration::from_millis(10))
    ///         .stack(true)
    ///         .on_blocked(move |blocked| {
    ///             let stack = blocked.stack.as_ref().unwrap();
    ///             drop(send.send(stack.to_string()));
    ///         });
    ///     LocalLoop::current().unwrap().set_watchdog(Some(watchdog));
    ///     let stack = rondel_loop::spawn(async move { greedy(&receive) }).await.unwrap();
    ///     assert!(stack.contains("greedy") || stack.contains("no stack"), "{stack}");
    /// }).unwrap();
    /// ```
    #[must_use]
    pub const fn stack(mut self, wanted: bool) -> Self {
        self.stack = wanted;
        self
    }

    /// What a loop gets that was not told otherwise: one in debug builds, none in release builds; `RONDEL_WATCHDOG=1`,
    /// `RONDEL_WATCHDOG=stack` and `RONDEL_WATCHDOG=0` decide for both.
    pub(crate) fn by_default() -> Option<Self> {
        let word = std::env::var_os("RONDEL_WATCHDOG");
        let wanted = match &word {
            Some(word) => !is_no(word),
            None => cfg!(debug_assertions),
        };
        let stack = word.is_some_and(|word| word == "stack");
        wanted.then(|| Self::new().stack(stack))
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog")
            .field("limit", &self.limit)
            .field("stack", &self.stack)
            .finish_non_exhaustive()
    }
}

/// A loop that does not get on, at this moment; see [`Watchdog`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Blocked {
    /// The name of the loop's thread, if it has one.
    pub thread: Option<String>,
    /// The task that runs: its name, else `Task-N`; `None` for a callback.
    pub task: Option<String>,
    /// The task's number.
    pub task_id: Option<u64>,
    /// Where the task was spawned or the callback scheduled.
    pub site: &'static Location<'static>,
    /// For how long it has been running, at least.
    pub for_at_least: Duration,
    /// How often it has happened there since the last report and was not reported.
    pub unreported: u64,
    /// What the thread is doing, if the watchdog was to [say so](Watchdog::stack).
    pub stack: Option<Stack>,
}

/// `the loop on thread "main" has been blocked for 1.2 s by "name" spawned at src/main.rs:10:5`, and the stack in lines of its own.
impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.thread {
            Some(thread) => write!(f, "the loop on thread {thread:?}")?,
            None => f.write_str("a loop on a thread without a name")?,
        }
        let seconds = self.for_at_least.as_secs_f64();
        write!(f, " has been blocked for {seconds:.3} s by ")?;
        match &self.task {
            Some(task) => write!(f, "{task:?} spawned at {}", self.site)?,
            None => write!(f, "a callback scheduled at {}", self.site)?,
        }
        if self.unreported > 0 {
            write!(f, " (it was {} more times lately)", self.unreported)?;
        }
        if let Some(stack) = &self.stack {
            write!(f, "\n{stack}")?;
        }
        Ok(())
    }
}
