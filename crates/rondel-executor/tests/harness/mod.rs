//! What the tests watch an executor with: a record of what happened, of what was lost, and of who dropped what where.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use rondel_executor::{Builder, Executor, Lost, LostKind, Spawner};

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&self, entry: impl Display) {
        self.0.borrow_mut().push(entry.to_string());
    }

    /// What happened since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// Logs `entry` when it is dropped.
    pub(crate) fn on_drop(&self, entry: impl Display) -> LogDrop {
        LogDrop(self.clone(), entry.to_string())
    }
}

/// Logs that it is dropped.
pub(crate) struct LogDrop(Log, String);

impl Drop for LogDrop {
    fn drop(&mut self) {
        self.0.add(&self.1);
    }
}

/// The failures that an executor reported.
#[derive(Clone, Default)]
pub(crate) struct Losses(Rc<RefCell<Vec<Lost>>>);

impl Losses {
    /// A builder whose executor reports here.
    pub(crate) fn builder(&self) -> Builder {
        let losses = self.clone();
        Executor::builder().lost(move |lost| losses.0.borrow_mut().push(lost))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Those reported since the last call.
    pub(crate) fn take(&self) -> Vec<Lost> {
        self.0.take()
    }

    /// The only one reported since the last call.
    #[track_caller]
    pub(crate) fn one(&self) -> Lost {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "reported: {all:?}");
        all.remove(0)
    }

    /// Their kinds and messages, since the last call.
    pub(crate) fn words(&self) -> Vec<String> {
        self.take()
            .iter()
            .map(|lost| match &lost.kind {
                LostKind::TaskPanicked(payload) => format!("task: {payload}"),
                LostKind::CallbackPanicked(payload) => format!("callback: {payload}"),
                LostKind::DropPanicked(payload) => format!("drop: {payload}"),
                LostKind::TaskFailed(error) => format!("failed: {error}"),
                LostKind::CleanupPanicked(payload) => format!("cleanup: {payload}"),
                LostKind::CleanupDropped => "cleanup dropped".to_owned(),
                other => format!("{other:?}"),
            })
            .collect()
    }
}

/// An executor, and what it loses.
pub(crate) fn executor() -> (Executor, Losses) {
    let losses = Losses::default();
    (losses.builder().build(), losses)
}

/// Runs a closure when it is dropped.
pub(crate) struct OnDrop<F: FnOnce()>(Option<F>);

pub(crate) fn on_drop<F: FnOnce()>(f: F) -> OnDrop<F> {
    OnDrop(Some(f))
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// A future that stays pending and keeps `held` until it is dropped.
pub(crate) async fn hold<T>(held: T) {
    let _held = held;
    std::future::pending::<()>().await;
}

/// Lets everything that is ready run once.
pub(crate) fn yield_now() -> impl Future<Output = ()> + Unpin {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

pub(crate) async fn yield_times(times: usize) {
    for _ in 0..times {
        yield_now().await;
    }
}

/// Something to wait for, on one thread: each opening lets those through that wait.
#[derive(Clone, Default)]
pub(crate) struct Gate(Rc<GateState>);

#[derive(Default)]
struct GateState {
    openings: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        self.0.openings.set(self.0.openings.get() + 1);
        let waiting = self.0.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Takes place in line at the first poll.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Unpin + use<> {
        let gate = self.clone();
        let mut since = None;
        poll_fn(move |cx| {
            let openings = gate.0.openings.get();
            if *since.get_or_insert(openings) < openings {
                return Poll::Ready(());
            }
            gate.0.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
    }

    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.borrow().len()
    }
}

/// Counts the polls of a future.
pub(crate) struct Polls<F> {
    count: Rc<Cell<usize>>,
    future: F,
}

pub(crate) fn count_polls<F: Future + Unpin>(future: F) -> (Polls<F>, Rc<Cell<usize>>) {
    let count = Rc::new(Cell::new(0));
    let polls = Polls {
        count: Rc::clone(&count),
        future,
    };
    (polls, count)
}

impl<F: Future + Unpin> Future for Polls<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.count.set(self.count.get() + 1);
        Pin::new(&mut self.future).poll(cx)
    }
}

/// Polls once with a waker that does nothing.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The executor of the turn under way.
#[track_caller]
pub(crate) fn here() -> Spawner {
    Spawner::current().expect("inside a turn")
}

/// The name of the task being polled.
pub(crate) fn running() -> Option<String> {
    Spawner::current_task().map(|task| task.name())
}

/// How many probes made of it are still there; for futures that threads carry about.
#[derive(Clone, Default)]
pub(crate) struct Alive(Arc<AtomicUsize>);

/// Counted as long as it lives.
pub(crate) struct Probe(Arc<AtomicUsize>);

impl Alive {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn probe(&self) -> Probe {
        self.0.fetch_add(1, Ordering::Relaxed);
        Probe(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}
