//! How a task comes about: as a rule, by way of the task factory, eagerly.

use std::cell::Cell;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_task::Runnable;

use crate::claim::Claim;
use crate::context::{self, Turn};
use crate::core::{Core, Local};
use crate::site::Site;
use crate::task::account::Account;
use crate::task::factory::{NewTask, TaskBody, TaskFactory};
use crate::task::harness::{Raw, create, run};
use crate::task::header::Header;
use crate::task::id::TaskId;

/// Makes a task of `future` and puts it at the end of the ready queue.
#[inline]
pub(crate) fn spawn<F>(
    core: &Arc<Core>,
    local: &Local,
    future: F,
    site: Site,
    flags: u8,
) -> Raw<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    if local.unusual.get() {
        return spawn_unusual(core, local, future, site, flags, false);
    }
    let (runnable, task) = create(local, Claim::new(core, local), future, site, flags);
    local.push_task(runnable);
    task
}

/// The same, but polls it here first if it is the executor's turn.
pub(crate) fn spawn_eager<F>(
    core: &Arc<Core>,
    local: &Local,
    future: F,
    site: Site,
) -> Raw<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    if local.unusual.get() {
        return spawn_unusual(core, local, future, site, 0, true);
    }
    let (runnable, task) = create(local, Claim::new(core, local), future, site, 0);
    if let Err(runnable) = run_here(core, runnable) {
        local.push_task(runnable);
    }
    task
}

/// Spawns on an executor that is closed or has a task factory.
#[cold]
fn spawn_unusual<F>(
    core: &Arc<Core>,
    local: &Local,
    future: F,
    site: Site,
    flags: u8,
    eager: bool,
) -> Raw<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let factory = local.hooks.borrow().task_factory.clone();
    let (runnable, task) = match factory {
        // Flags are those of tasks of our own: cleanups, and what brings an outcome to another thread.
        Some(factory) if flags == 0 && !local.closed.get() => {
            make(core, local, &factory, future, site)
        }
        _ => create(local, Claim::new(core, local), future, site, flags),
    };
    if local.accounts.get() {
        let parent = context::with_task(|parent| parent.map(|parent| TaskId(parent.id())));
        local.with_extras(task.metadata(), |extras| {
            extras.account = Some(Account::opened(parent));
        });
    }
    if local.closed.get() {
        // Nobody will run it any more: its future goes now, and the handle says `Cancelled`.
        let _turn = Turn::enter(core);
        run(runnable);
        return task;
    }
    let kept = if eager {
        run_here(core, runnable).err()
    } else {
        Some(runnable)
    };
    if let Some(runnable) = kept {
        local.push_task(runnable);
    }
    task
}

/// Runs a task for its first poll inside whatever runs now. Gives the task back outside the executor's turn.
fn run_here(core: &Arc<Core>, runnable: Runnable<Header>) -> Result<(), Runnable<Header>> {
    let our_turn = context::with_core(|turn| turn.is_some_and(|turn| Arc::ptr_eq(turn, core)));
    if !our_turn {
        return Err(runnable);
    }
    context::suspend(|| {
        let _turn = Turn::enter(core);
        run(runnable);
    });
    Ok(())
}

/// Makes a task as the factory wants it.
#[cold]
fn make<F>(
    core: &Arc<Core>,
    local: &Local,
    factory: &TaskFactory,
    future: F,
    site: Site,
) -> (Runnable<Header>, Raw<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
{
    let output = Rc::new(Cell::new(None));
    let leave = Rc::clone(&output);
    let (claim, id) = Claim::new(core, local);
    let counted = Counted(local);
    let mut new = NewTask {
        id: TaskId(id),
        site,
        name: None,
        body: Some(Box::pin(async move { leave.set(Some(future.await)) })),
    };
    factory(&mut new);
    let body = new
        .body
        .take()
        .expect("the body is gone only when a wrapper panicked");
    let made = Made {
        body: Some(body),
        output,
    };
    let (runnable, task) = create(local, (claim, id), made, site, 0);
    mem::forget(counted);
    if let Some(name) = new.name {
        local.with_extras(task.metadata(), |extras| extras.name = Some(name));
    }
    (runnable, task)
}

/// A task that has its number, and does not come about after all if this is dropped.
struct Counted<'a>(&'a Local);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.count_finished();
    }
}

/// A wrapped body, and where its output will be.
struct Made<T> {
    body: Option<TaskBody>,
    output: Rc<Cell<Option<T>>>,
}

impl<T> Future for Made<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(body) = &mut self.body {
            if body.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let body = self.body.take();
            drop(body);
        }
        match self.output.take() {
            Some(output) => Poll::Ready(output),
            None => {
                // The wrapper has dropped the body: that is cancelling it, and the harness finishes so.
                context::with_task(|task| {
                    if let Some(header) = task {
                        header.set(Header::CANCEL);
                    }
                });
                Poll::Pending
            }
        }
    }
}
