//! What a loop consists of, shared by its owner and the handles on its own thread, and a share of it: [`LocalLoop`].
//!
//! Of its subjects it names the tables alone, which know nothing of it; what works on them stands above. One leads back: a
//! registered source (`readiness/source.rs`) keeps its loop, so that a registration is no larger than a pointer.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rondel_executor::{Executor, ThreadPool};
use rondel_poll::{Events, ProcessMark, Selector};

use crate::exception::ExceptionContext;
use crate::flush::Flush;
use crate::handle::Shared;
use crate::notice::Notice;
use crate::overseer::{Modes, Overseer};
use crate::readiness::source::Sources;
use crate::signal::listeners::Signals;
use crate::timer::timers::Timers;
use crate::watch::watches::Watches;
use crate::watchdog::options::Watchdog;

/// A loop's exception handler, called on the loop's thread.
pub type ExceptionHandler = Rc<dyn Fn(&LocalLoop, &ExceptionContext)>;

/// Is told of every [`Notice`], on the loop's thread.
pub type NoticeHandler = Rc<dyn Fn(&LocalLoop, &Notice)>;

/// What wants to be done now and then.
pub(crate) type AfterLook = Rc<dyn Fn(&Rc<State>, Instant)>;

pub(crate) struct State {
    /// Where it was made. In the children of that process it is not to be run, and nothing of it to be dropped.
    pub(crate) process: ProcessMark,
    pub(crate) executor: Executor,
    pub(crate) selector: Box<dyn Selector>,
    pub(crate) timers: Timers,
    pub(crate) sources: RefCell<Sources>,
    pub(crate) watches: RefCell<Watches>,
    /// Connections with bytes to send before the loop goes on.
    pub(crate) unflushed: RefCell<Vec<Rc<dyn Flush>>>,
    /// The events of the last wait; taken out while they are handed on.
    pub(crate) events: Cell<Option<Events>>,
    /// The buffer that connections receive into; see [`ReceiveBuffer`](crate::ReceiveBuffer).
    pub(crate) receive_buffer: Cell<Option<Box<[u8]>>>,
    pub(crate) lent_buffer: Cell<bool>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) exception_handler: RefCell<Option<ExceptionHandler>>,
    pub(crate) pool: RefCell<Option<ThreadPool>>,
    pub(crate) running: Cell<bool>,
    /// Whether the entry that runs left something to see to: bytes to send, or the wish to stop.
    pub(crate) attention: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
    /// Whether the queue is being run; else the loop looks around, or does not run at all.
    pub(crate) in_batch: Cell<bool>,
    /// Entries that a stopping loop still runs, the one that is running now included.
    pub(crate) batch_left: Cell<usize>,
    pub(crate) signals: Signals,
    pub(crate) closed: Cell<bool>,
    /// What is watched of what runs.
    pub(crate) modes: Cell<Modes>,
    /// Whether the clock is read around entries and looks.
    pub(crate) timed: Cell<bool>,
    /// Whether the batch that is running was begun in another mode.
    pub(crate) mode_changed: Cell<bool>,
    /// Who watches, once something was to be watched.
    pub(crate) overseer: OnceCell<Rc<Overseer>>,
    pub(crate) notice_handler: RefCell<Option<NoticeHandler>>,
    pub(crate) watchdog: RefCell<Option<Watchdog>>,
    /// Keeps the loop watched until it is closed, or the watchdog is another.
    pub(crate) leash: RefCell<Option<Box<dyn Any>>>,
    /// Called after each look around, by a loop that is timed.
    pub(crate) after_look: RefCell<Option<AfterLook>>,
    /// What goes when the loop is closed.
    pub(crate) kept: RefCell<Vec<Box<dyn Any>>>,
    /// From when on an entry counts as slow.
    pub(crate) slow: Rc<Cell<Duration>>,
    /// Bytes that connections have received and sent.
    pub(crate) received: Cell<u64>,
    pub(crate) sent: Cell<u64>,
    /// Runs since the loop has looked around: many short ones must not keep it from that.
    pub(crate) unlooked: Cell<u32>,
    /// How often the loop has looked around.
    pub(crate) turns: Cell<u64>,
    pub(crate) limits: Limits,
}

/// How long the queue may run before I/O, the clock and other threads are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) entries: u32,
    pub(crate) time: Duration,
    pub(crate) cleanup: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 64,
            time: Duration::from_micros(100),
            cleanup: Duration::from_secs(10),
        }
    }
}

impl State {
    pub(crate) fn now(&self) -> Instant {
        self.selector.now()
    }

    /// Ends the run once what is ready now has been run.
    pub(crate) fn stop(&self) {
        self.attention.set(true);
        if !self.stopping.replace(true) {
            let running = usize::from(self.in_batch.get());
            self.batch_left
                .set(self.executor.spawner().ready_len() + running);
        }
    }

    /// Ends the run after the entry that is running, in the child of a fork. Async-signal-safe.
    pub(crate) fn abandon(&self) {
        self.batch_left.set(0);
        self.stopping.set(true);
        self.attention.set(true);
    }

    /// Whether the run goes on in the child of a fork, where nothing of the loop is to be done any more.
    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        // An abandoned loop is stopping, which few are.
        self.stopping.get() && !self.process.is_current()
    }

    /// A stopping loop has run one more entry; `false` if it was the last of its batch.
    pub(crate) fn finish_batch(&self) -> bool {
        let left = self.batch_left.get().saturating_sub(1);
        self.batch_left.set(left);
        left > 0
    }

    /// The loop's thread pool, made (without any thread) when it is first asked for.
    pub(crate) fn pool(&self) -> io::Result<ThreadPool> {
        if self.closed.get() {
            return Err(crate::error::LoopClosed.into());
        }
        Ok(self
            .pool
            .borrow_mut()
            .get_or_insert_with(ThreadPool::new)
            .clone())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("running", &self.running.get())
            .field("closed", &self.closed.get())
            .field("debug", &self.modes.get().debug)
            .field("executor", &self.executor)
            .field("timers", &self.timers.len())
            .field("selector", &self.selector)
            .finish_non_exhaustive()
    }
}

/// A loop as its own tasks and callbacks see it: takes `!Send` closures and futures. Cheap to clone, `!Send`.
///
/// It stays valid after the loop has been closed; what it schedules then is dropped, uncalled, and what can fail says
/// [`LoopClosed`](crate::LoopClosed).
///
/// ```
/// use rondel_loop::LocalLoop;
/// use std::time::Duration;
///
/// rondel_loop::run(async {
///     let lp = LocalLoop::current().unwrap();
///     let same = lp.clone();
///     lp.call_later(Duration::from_millis(1), move || same.stop());
///     rondel_loop::sleep(Duration::from_secs(3600)).await
/// }).unwrap_err();
/// ```
#[derive(Clone)]
pub struct LocalLoop(Rc<State>);

impl LocalLoop {
    pub(crate) fn of(state: &Rc<State>) -> Self {
        Self(Rc::clone(state))
    }

    #[inline]
    pub(crate) fn state(&self) -> &Rc<State> {
        &self.0
    }
}

impl fmt::Debug for LocalLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
