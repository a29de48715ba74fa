//! What a scope is: cleanups that wait for their turn, and those who wait for the cleanups.
//!
//! How they come in and are run is told one level up, where tasks can be spawned.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::core::Core;

/// A cleanup: what has to be awaited after its owner is gone.
pub type Cleanup = Pin<Box<dyn Future<Output = ()>>>;

/// Puts a limit around each cleanup; see [`Builder::cleanup_limit`](crate::Builder::cleanup_limit).
pub type CleanupLimit = Rc<dyn Fn(Cleanup) -> Cleanup>;

/// A place for cleanups to be left to, and somebody to wait for them.
///
/// Made by a combinator that drops futures it was given. Cloning gives another handle to the same scope.
///
/// ```
/// use rondel_executor::{Executor, Scope, leave};
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let scope = Scope::new();
///     scope.enter(|| leave(Box::pin(async { /* say goodbye */ })));
///     scope.wait().await;
/// });
/// executor.run_until_idle();
/// assert!(task.is_finished());
/// ```
#[derive(Clone)]
pub struct Scope(pub(super) Rc<ScopeState>);

pub(super) struct ScopeState {
    /// `None` for a scope made outside any turn: it adopts the executor that is current when the first cleanup comes.
    pub(super) core: OnceCell<Arc<Core>>,
    pub(super) left: RefCell<VecDeque<Cleanup>>,
    /// Whether a task is on its way that runs what was left.
    pub(super) busy: Cell<bool>,
    pub(super) waiting: RefCell<Vec<Waker>>,
}

impl Scope {
    pub(super) fn of(core: &Arc<Core>) -> Self {
        Self::with(Some(Arc::clone(core)))
    }

    pub(super) fn with(core: Option<Arc<Core>>) -> Self {
        Self(Rc::new(ScopeState {
            core: core.map_or_else(OnceCell::new, OnceCell::from),
            left: RefCell::default(),
            busy: Cell::new(false),
            waiting: RefCell::default(),
        }))
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        !self.0.busy.get()
    }

    /// Ready when nothing is left to do; until then, `cx` is woken when that is so.
    pub(crate) fn poll_clean(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.0.busy.get() {
            return Poll::Ready(());
        }
        let known = self
            .0
            .waiting
            .borrow()
            .iter()
            .any(|waker| waker.will_wake(cx.waker()));
        if !known {
            // Before the borrow, and before the last look: cloning is the waker's own code.
            let waker = cx.waker().clone();
            if !self.0.busy.get() {
                return Poll::Ready(());
            }
            self.0.waiting.borrow_mut().push(waker);
        }
        Poll::Pending
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}
