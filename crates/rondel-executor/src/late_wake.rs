//! Wakes of tasks whose executor is closed: whoever wakes holds on to what is gone.
//!
//! ```text
//!   poll ── a waker on its stack ──clone──> LateWaker ──wake──> the task's own waker, while the executor is open
//!                                             │                 the report, once it is closed
//!                                             └── Fate: one a task; ended by itself, or told of once, it has no more to say
//! ```

#![allow(
    unsafe_code,
    reason = "a waker that borrows from the poll that it is passed to"
)]

use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{RawWaker, RawWakerVTable, Wake, Waker};

use crate::context;
use crate::core::Local;
use crate::spawner::Spawner;
use crate::task::header::Header;
use crate::task::info::TaskId;

/// A task was woken though its executor is closed, and it with it; see [`Spawner::set_late_wake_handler`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LateWake {
    /// The task's number.
    pub task: TaskId,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// The name that it had when it first waited, if it had one.
    pub name: Option<Arc<str>>,
}

/// `"name" spawned at src/main.rs:10:5`.
impl fmt::Display for LateWake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name:?}")?,
            None => write!(f, "Task-{}", self.task)?,
        }
        write!(f, " spawned at {}", self.site)
    }
}

/// Is told of wakes that come too late, on the thread that they come from.
pub type LateWakeHandler = Arc<dyn Fn(&LateWake) + Send + Sync>;

impl Spawner {
    /// Has `handler` told, once for each task, when somebody wakes a task that was pending when this executor was closed: a thread
    /// that has outlived what it works for, or another executor's task. Such a wake does nothing else. `None`: nobody is told,
    /// which is the default.
    ///
    /// It counts for tasks that are polled from now on, and costs one allocation for each clone of their wakers; those do not
    /// say of each other that they [wake the same](Waker::will_wake). The handler is called on whatever thread wakes, possibly long
    /// after the executor has gone, and must not panic.
    ///
    /// ```
    /// use rondel_executor::Executor;
    /// use std::{cell::Cell, future::poll_fn, rc::Rc, sync::Arc, sync::mpsc, task::Poll};
    ///
    /// let executor = Executor::new();
    /// let (send, told) = mpsc::channel();
    /// let handler = move |late: &rondel_executor::LateWake| drop(send.send(late.to_string()));
    /// executor.spawner().set_late_wake_handler(Some(Arc::new(handler)));
    /// let waker = Rc::new(Cell::new(None));
    /// let away = Rc::clone(&waker);
    /// let task = executor.spawn(poll_fn(move |cx| {
    ///     away.set(Some(cx.waker().clone()));
    ///     Poll::<()>::Pending
    /// }));
    /// task.set_name("sleeper");
    /// executor.run_until_idle();
    /// drop(executor);
    /// waker.take().unwrap().wake();
    /// assert!(told.recv().unwrap().starts_with("\"sleeper\" spawned at "));
    /// # drop(task);
    /// ```
    pub fn set_late_wake_handler(&self, handler: Option<LateWakeHandler>) {
        let local = self.local();
        if local.closed.get() {
            return;
        }
        let watch = handler.map(|handler| {
            Arc::new(Watch {
                closed: AtomicBool::new(false),
                handler,
            })
        });
        local.odd.set(if watch.is_some() { Local::WARY } else { 0 });
        // The one before never learns of the close, and so has nothing to tell.
        let before = std::mem::replace(&mut local.hooks.borrow_mut().late_wakes, watch);
        drop(before);
    }
}

/// One executor's, shared with every waker that was cloned while it was there.
pub(crate) struct Watch {
    closed: AtomicBool,
    handler: LateWakeHandler,
}

impl Watch {
    /// The executor is closed, and its tasks are gone.
    pub(crate) fn close(&self) {
        // Release: who sees it sees which tasks had ended before.
        self.closed.store(true, Ordering::Release);
    }
}

/// What became of a task.
pub(crate) struct Fate {
    about: LateWake,
    watch: Arc<Watch>,
    /// It ended while its executor was open, or has been told of: nothing (more) to tell.
    settled: AtomicBool,
}

impl Fate {
    /// The task has ended.
    pub(crate) fn end(&self) {
        // Relaxed: `Watch::close` publishes it.
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Whether a wake comes too late. If so, it has been told of.
    fn is_late(&self) -> bool {
        if !self.watch.closed.load(Ordering::Acquire) {
            return false;
        }
        if !self.settled.swap(true, Ordering::Relaxed) {
            (self.watch.handler)(&self.about);
        }
        true
    }
}

/// A task's waker that knows whether it comes too late.
struct LateWaker {
    inner: Waker,
    fate: Arc<Fate>,
}

impl Wake for LateWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.fate.is_late() {
            self.inner.wake_by_ref();
        }
    }
}

/// The waker to poll the task with that runs: it borrows the task's own, and is lent out for the time of the poll.
///
/// # Safety
/// It must not be used once `inner` is gone.
#[inline]
pub(crate) unsafe fn passed(inner: &Waker) -> ManuallyDrop<Waker> {
    let raw = RawWaker::new(ptr::from_ref(inner).cast(), &PASSED);
    // SAFETY: each function of the table takes the data for a reference to a waker, and the caller vouches that it is there, on
    // whatever thread they are called.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}

static PASSED: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: see `passed`.
        let inner = unsafe { inner(data) };
        let raw = ManuallyDrop::new(lasting(inner));
        RawWaker::new(raw.data(), raw.vtable())
    },
    // Owned by nobody but us, it is neither woken by value nor dropped.
    wake_passed,
    wake_passed,
    |_| {},
);

fn wake_passed(data: *const ()) {
    // SAFETY: see `passed`.
    let inner = unsafe { inner(data) };
    // The executor is open: it is polling this very task.
    inner.wake_by_ref();
}

/// # Safety
/// `data` must be what `passed` made its waker of, and that one must be there.
#[inline]
unsafe fn inner<'a>(data: *const ()) -> &'a Waker {
    // SAFETY: the caller vouches for it.
    unsafe { &*data.cast() }
}

/// A waker for after the poll. From any thread: the reference to the waker may be lent to another one.
fn lasting(inner: &Waker) -> Waker {
    let fate = context::with_task(|task| {
        // Only at home it is known who watches, and whose waker it is: that of the task that runs.
        let header = task?;
        fate_of(header, header.home.local.get()?)
    });
    let inner = inner.clone();
    match fate {
        Some(fate) => Waker::from(Arc::new(LateWaker { inner, fate })),
        None => inner,
    }
}

fn fate_of(header: &Header, local: &Local) -> Option<Arc<Fate>> {
    let watch = local.hooks.borrow().late_wakes.clone()?;
    Some(local.with_extras(header, |extras| {
        let about = || LateWake {
            task: TaskId(header.id()),
            site: header.site,
            name: extras.name.clone(),
        };
        let known = extras
            .fate
            .take()
            .filter(|fate| Arc::ptr_eq(&fate.watch, &watch));
        let fate = known.unwrap_or_else(|| {
            Arc::new(Fate {
                about: about(),
                watch,
                settled: AtomicBool::new(false),
            })
        });
        extras.fate = Some(Arc::clone(&fate));
        fate
    }))
}
