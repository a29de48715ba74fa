//! Wakes of tasks whose executor is closed: whoever wakes holds on to what is gone.
//!
//! ```text
//!   poll ── a waker on its stack ──clone──> LateWaker ──wake──> the task's own waker, while the executor is open
//!                                             │                 the report, once it is closed
//!                                             └── Fate: ended by itself, or told of once, it has no more to say
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
use crate::task::id::TaskId;

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
    /// It counts for tasks that are polled from now on, and costs an allocation for each that is suspended. The waker of a poll does
    /// not say of those that were cloned from it that it [wakes the same](Waker::will_wake). The handler is called on whatever thread wakes, possibly long
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
struct Fate {
    about: LateWake,
    watch: Arc<Watch>,
    /// It ended while its executor was open, or has been told of: nothing (more) to tell.
    settled: AtomicBool,
}

impl Fate {
    /// The task has ended.
    fn end(&self) {
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

/// A task's waker that knows whether it comes too late. One a task, which keeps it until it ends.
pub(crate) struct LateWaker {
    inner: Waker,
    fate: Fate,
}

impl LateWaker {
    /// The task has ended.
    pub(crate) fn end(&self) {
        self.fate.end();
    }
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

/// The waker to poll the task with that runs, if it has one that others have been cloned from: whoever has such a clone sees that
/// it is the same.
#[inline]
pub(crate) fn kept(header: &Header, local: &Local) -> Option<Waker> {
    if !header.may_have_waker() {
        return None;
    }
    let late = local
        .extras(header, |extras| extras.late.clone())
        .flatten()?;
    let hooks = local.hooks.borrow();
    let watch = hooks.late_wakes.as_ref()?;
    Arc::ptr_eq(watch, &late.fate.watch).then(|| Waker::from(late))
}

/// The same for one that has none yet: it borrows the task's own, and is lent out for the time of the poll.
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
    let kept = context::with_task(|task| {
        // Only at home it is known who watches, and whose waker it is: that of the task that runs.
        let header = task?;
        let local = header.home.local.get()?;
        let watch = local.hooks.borrow().late_wakes.clone()?;
        let kept = local.extras(header, |extras| extras.late.clone()).flatten();
        let kept = kept.filter(|late| Arc::ptr_eq(&late.fate.watch, &watch));
        Some(kept.unwrap_or_else(|| keep(header, local, watch, inner)))
    });
    match kept {
        Some(late) => Waker::from(late),
        None => inner.clone(),
    }
}

/// Makes the waker that a task's wakers are clones of, and keeps it for the next time.
#[cold]
fn keep(header: &Header, local: &Local, watch: Arc<Watch>, inner: &Waker) -> Arc<LateWaker> {
    let name = local.extras(header, |extras| extras.name.clone()).flatten();
    let fate = Fate {
        about: LateWake {
            task: TaskId(header.id()),
            site: header.site,
            name,
        },
        watch,
        settled: AtomicBool::new(false),
    };
    let late = Arc::new(LateWaker {
        inner: inner.clone(),
        fate,
    });
    let own = Arc::clone(&late);
    header.note_waker();
    let before = local.with_extras(header, |extras| extras.late.replace(own));
    // Not under the borrow: a waker goes with it.
    drop(before);
    late
}
