//! Cleaning up after a drop: whoever cancels waits.
//!
//! Dropping a future is how it is cancelled, and a destructor cannot await. What has to be awaited is therefore *left* to
//! the current scope: the combinator that is doing the dropping, else the task that is running, else the executor. The
//! scope runs what was left to it one after the other, inner before outer, and its owner does not finish before.
//!
//! These are the building blocks: a combinator that drops other people's futures does so inside [`Scope::enter`] and then
//! waits with [`Scope::wait`]; a future that needs cleaning calls [`leave`] from its destructor. What programs use is made of
//! them, in the files below: `bracket`, `defer`, `finally`.

pub(crate) mod bracket;
pub(crate) mod defer;
pub(crate) mod finally;
mod inline;
pub(crate) mod scope;

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::cleanup::scope::{Cleanup, Scope};
use crate::context;
use crate::core::{Core, Local};
use crate::lost::{Lost, LostKind};
use crate::task::header::Header;
use crate::task::join_error::PanicPayload;
use crate::task::spawn;
use crate::task_local::snapshot::carry;
use crate::wait::Waits;

/// Leaves a cleanup to the current scope: the one entered last, else the running task's, else the executor's whose turn it
/// is. It starts at the next turn; its scope's owner waits for it.
///
/// Outside any executor's turn, and after an executor has closed, there is nobody to run it: it is dropped, and reported.
///
/// ```
/// use rondel_executor::{Executor, leave};
/// use std::{cell::Cell, rc::Rc};
///
/// struct Connection(Rc<Cell<bool>>);
/// impl Drop for Connection {
///     fn drop(&mut self) {
///         let said_goodbye = Rc::clone(&self.0);
///         leave(Box::pin(async move { said_goodbye.set(true) }));
///     }
/// }
///
/// let executor = Executor::new();
/// let said_goodbye = Rc::new(Cell::new(false));
/// let connection = Connection(Rc::clone(&said_goodbye));
/// let task = executor.spawn(async move {
///     let _connection = connection;
///     std::future::pending::<()>().await
/// });
/// executor.run_until_idle();
/// task.cancel();
/// executor.run_until_idle();
/// assert!(said_goodbye.get());
/// assert!(task.is_finished());
/// ```
pub fn leave(cleanup: Cleanup) {
    let cleanup = carry(cleanup);
    match context::entered_scope().or_else(owner_scope) {
        Some(scope) => scope.push(cleanup),
        None => report_dropped(None, cleanup),
    }
}

/// The scope of the running task, else of the executor whose turn it is.
fn owner_scope() -> Option<Scope> {
    let core = context::current_core()?;
    let local = core.local.get()?;
    context::with_task(|task| match task {
        Some(header) => Some(local.with_extras(header, |extras| {
            extras.scope.get_or_insert_with(|| Scope::of(&core)).clone()
        })),
        // Not kept: it holds the core, and nobody would come to part the two again.
        None if local.closed.get() => Some(Scope::of(&core)),
        None => Some(
            local
                .root
                .borrow_mut()
                .get_or_insert_with(|| Scope::of(&core))
                .clone(),
        ),
    })
}

fn report_dropped(local: Option<&Local>, cleanup: Cleanup) {
    let lost = Lost::in_task(LostKind::CleanupDropped, None);
    match local {
        Some(local) => {
            local.report(lost);
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(cleanup)));
            report_panics(local, [dropped.err()]);
        }
        None => {
            lost.write_to_stderr();
            drop(cleanup);
        }
    }
}

fn report_panics(local: &Local, payloads: impl IntoIterator<Item = Option<Box<dyn Any + Send>>>) {
    for payload in payloads.into_iter().flatten() {
        let kind = LostKind::CleanupPanicked(PanicPayload::new(payload));
        local.report(Lost::in_task(kind, None));
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

impl Scope {
    /// A scope with nothing left to it. Allocates once.
    pub fn new() -> Self {
        Self::with(context::current_core())
    }

    /// Runs `f`; cleanups that are left meanwhile on this thread are left to this scope. Scopes nest.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        context::with_scope(self, f)
    }

    /// Ends when all that was left has been cleaned up, at once if nothing was. Stands on its own: it may outlive the
    /// frame that made the scope, so that a combinator which is itself dropped can leave it to its own canceller.
    pub fn done(&self) -> impl Future<Output = ()> + 'static {
        let scope = self.clone();
        poll_fn(move |cx| scope.poll_done(cx))
    }

    /// Waits until all that was left has been cleaned up.
    ///
    /// # Cancel safety
    /// Dropped while it waits, it leaves the rest of the wait to the scope around it: that one's owner waits instead.
    pub async fn wait(&self) {
        struct Waiting(Option<Scope>);
        impl Drop for Waiting {
            fn drop(&mut self) {
                if let Some(scope) = self.0.take()
                    && !scope.is_done()
                {
                    leave(Box::pin(scope.done()));
                }
            }
        }
        let mut waiting = Waiting(Some(self.clone()));
        self.done().await;
        waiting.0 = None;
    }

    /// What [`done`](Scope::done) does at a poll: labels the task that it leaves waiting.
    pub(crate) fn poll_done(&self, cx: &Context<'_>) -> Poll<()> {
        let polled = self.poll_clean(cx);
        if polled.is_pending() {
            Waits::CLEANUP.label(0);
        }
        polled
    }
}

/// Drops what `drop_it` drops, and waits for what that left to clean up: *whoever cancels waits*, in one call.
///
/// # Cancel safety
/// Dropped while it waits, it leaves the rest of the wait to the scope around.
///
/// ```
/// use rondel_executor::{Executor, cancel_and_wait, defer};
/// use std::{cell::Cell, rc::Rc};
///
/// let executor = Executor::new();
/// let cleaned = Rc::new(Cell::new(false));
/// let seen = Rc::clone(&cleaned);
/// let task = executor.spawn(async move {
///     let pending = Box::pin(async move {
///         let _goodbye = defer(async move { cleaned.set(true) });
///         std::future::pending::<()>().await
///     });
///     let mut pending = Some(pending);
///     std::future::poll_fn(|cx| {
///         let _ = pending.as_mut().unwrap().as_mut().poll(cx);
///         std::task::Poll::Ready(())
///     })
///     .await;
///     cancel_and_wait(|| drop(pending)).await;
///     seen.get()
/// });
/// executor.run_until_idle();
/// assert!(task.into_result().unwrap().unwrap());
/// ```
pub async fn cancel_and_wait(drop_it: impl FnOnce()) {
    let scope = Scope::new();
    scope.enter(drop_it);
    scope.wait().await;
}

impl Scope {
    /// Takes a cleanup in, and sees to it that somebody runs it.
    fn push(&self, cleanup: Cleanup) {
        let Some(core) = self.executor() else {
            return report_dropped(None, cleanup);
        };
        let Some(local) = core.local.get() else {
            return report_dropped(None, cleanup);
        };
        if local.closed.get() {
            return report_dropped(Some(local), cleanup);
        }
        self.0.left.borrow_mut().push_back(cleanup);
        if !self.0.busy.replace(true) {
            local.cleanups.set(local.cleanups.get() + 1);
            let flags = Header::SHIELDED | Header::DETACHED;
            let runner = Runner {
                scope: self.clone(),
                under_way: false,
            };
            spawn::spawn(&core, local, runner.run(), Location::caller(), flags).detach();
        }
    }

    /// The executor that was current when the scope was made, or when something was first left to it.
    fn executor(&self) -> Option<Arc<Core>> {
        if self.0.core.get().is_none() {
            let _ = self.0.core.set(context::current_core()?);
        }
        self.0.core.get().cloned()
    }
}

/// Runs what is left to a scope, one after the other, until nothing is.
struct Runner {
    scope: Scope,
    under_way: bool,
}

impl Runner {
    async fn run(mut self) {
        loop {
            let next = self.scope.0.left.borrow_mut().pop_front();
            let Some(cleanup) = next else { break };
            self.under_way = true;
            run_one(&self.scope, cleanup).await;
            self.under_way = false;
        }
    }
}

/// The end, whether all is done or the executor has closed: what is undone is reported, and nobody waits any longer.
impl Drop for Runner {
    fn drop(&mut self) {
        let Some(core) = self.scope.executor() else {
            return;
        };
        let Some(local) = core.local.get() else {
            return;
        };
        if self.under_way {
            local.report(Lost::in_task(LostKind::CleanupDropped, None));
        }
        let undone = self.scope.0.left.take();
        for cleanup in undone {
            report_dropped(Some(local), cleanup);
        }
        self.scope.0.busy.set(false);
        let waiting = self.scope.0.waiting.take();
        for waker in waiting {
            local.guarded(|| waker.wake());
        }
    }
}

/// Runs one cleanup within its limit. What it leaves in turn goes to the end of the same scope; if it panics, that is
/// reported and the next one runs.
async fn run_one(scope: &Scope, cleanup: Cleanup) {
    let Some(core) = scope.executor() else { return };
    let Some(local) = core.local.get() else {
        return;
    };
    let limit = local.hooks.borrow().cleanup_limit.clone();
    let limited = catch_unwind(AssertUnwindSafe(|| match limit {
        Some(limit) => limit(cleanup),
        None => cleanup,
    }));
    let mut limited = match limited {
        Ok(limited) => limited,
        Err(payload) => return report_panics(local, [Some(payload)]),
    };
    let ended = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            scope.enter(|| limited.as_mut().poll(cx))
        }));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await;
    let dropped = catch_unwind(AssertUnwindSafe(|| scope.enter(|| drop(limited))));
    report_panics(local, [ended.err(), dropped.err()]);
}
