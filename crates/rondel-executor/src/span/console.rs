//! Tasks as tokio-console wants to be told of them.
//!
//! Its counterpart, the crate `console-subscriber`, goes by names and targets: a span `runtime.spawn` is a task, whose enterings
//! are its polls; an event of target `tokio::task::waker` is something done to a waker, `task.id` in it being the number of the
//! task's *span*, and a wake while that span is entered is a task waking itself. What is cloned less what is dropped is how many
//! wakers there are; a task with none, that is not about to run, is shown as lost. So each such task is polled with a waker of
//! ours around the task's own.

mod waiting;

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{RawWaker, RawWakerVTable, Waker};

use self::waiting::{Waiting, suspended};
use super::kept::{Kept, contained, enter, exit};
use crate::task::info::TaskInfo;
use crate::wait::Waits;

pub(super) struct ConsoleSpan {
    span: Kept,
    waker: Arc<ToldWaker>,
    /// Only ever locked by the home thread, and for a moment.
    waiting: Mutex<Option<Waiting>>,
}

impl ConsoleSpan {
    /// `None` if nobody wants it. `kind` is in tokio's words.
    pub(super) fn begin(
        task: &TaskInfo,
        kind: &'static str,
        size: usize,
        waker: &Waker,
    ) -> Option<Self> {
        let span = Kept::of(|| {
            tracing::trace_span!(
                target: "tokio::task",
                parent: None,
                "runtime.spawn",
                kind,
                task.name = task.name(),
                task.id = task.id.get(),
                original_size.bytes = size as u64,
                size.bytes = size as u64,
                loc.file = task.site.file(),
                loc.line = task.site.line(),
                loc.col = task.site.column(),
            )
        });
        let id = span.id()?.into_u64();
        let inner = waker.clone();
        let waker = Arc::new(ToldWaker { inner, task: id });
        Some(Self {
            span,
            waker,
            waiting: Mutex::default(),
        })
    }

    /// The task is about to be polled: with this waker, which tells what is done to it.
    pub(super) fn enter(&self) -> Lent {
        enter(&self.span);
        Lent::of(Arc::clone(&self.waker))
    }

    /// It has been polled, and this is what it waits for.
    pub(super) fn leave(&self, waits: (Waits, u32)) {
        let before = self.waiting().take();
        let waiting = suspended(before, waits);
        *self.waiting() = waiting;
        exit(&self.span);
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of a task, around which its clones, drops and wakes are told.
///
/// It is the same one at every poll, so that whoever keeps one recognises it. It keeps the task, as the task keeps it: until the
/// task has finished, when its spans are closed. So does the registry, which every suspended task is in.
struct ToldWaker {
    inner: Waker,
    /// The number of its span.
    task: u64,
}

/// A waker for the time of a poll. Lending it is no clone, and its end no drop.
pub(super) struct Lent {
    waker: ManuallyDrop<Waker>,
    /// What it wakes, kept as long as it is lent.
    _told: Arc<ToldWaker>,
}

impl Lent {
    fn of(told: Arc<ToldWaker>) -> Self {
        // SAFETY: the functions of the table take the pointer for one to the content of an `Arc<ToldWaker>` and account for one
        // reference of each waker, as `RawWaker` asks. This waker has none, and is never dropped; the reference beside it
        // stands for it as long as it is lent, and only references to it are handed out. They may be called on any thread:
        // `ToldWaker` is `Send + Sync`.
        let waker = unsafe { Waker::new(Arc::as_ptr(&told).cast(), &TABLE) };
        Self {
            waker: ManuallyDrop::new(waker),
            _told: told,
        }
    }
}

impl Deref for Lent {
    type Target = Waker;

    fn deref(&self) -> &Waker {
        &self.waker
    }
}

/// One for all, since wakers are compared by it.
static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// Tells of something done to a waker. As an event of its own for each word, as the console's counterpart wants it.
macro_rules! tell {
    ($op:literal, $told:expr) => {
        let task = $told.task;
        contained(|| {
            tracing::trace!(target: "tokio::task::waker", op = $op, task.id = task);
        });
    };
}

/// # Safety
/// `data` is that of a waker with this table which is alive.
unsafe fn clone(data: *const ()) -> RawWaker {
    let data = data.cast::<ToldWaker>();
    // SAFETY: the caller's waker is alive, and with it the `Arc` whose content this is.
    unsafe { Arc::increment_strong_count(data) };
    // SAFETY: as above.
    let told = unsafe { &*data };
    tell!("waker.clone", told);
    RawWaker::new(data.cast(), &TABLE)
}

/// # Safety
/// `data` is that of a waker with this table, which ends here.
unsafe fn wake(data: *const ()) {
    // SAFETY: the waker has a reference, which this takes over.
    let told = unsafe { Arc::from_raw(data.cast::<ToldWaker>()) };
    tell!("waker.wake", told);
    told.inner.wake_by_ref();
}

/// # Safety
/// `data` is that of a waker with this table which is alive.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the caller's waker is alive, and with it the `Arc` whose content this is.
    let told = unsafe { &*data.cast::<ToldWaker>() };
    tell!("waker.wake_by_ref", told);
    told.inner.wake_by_ref();
}

/// # Safety
/// `data` is that of a waker with this table, which ends here.
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker has a reference, which this takes over.
    let told = unsafe { Arc::from_raw(data.cast::<ToldWaker>()) };
    tell!("waker.drop", told);
}
