//! What an executor is asked to tell of, while it runs: entries, tasks about to begin, wakes that come too late.

use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use super::Spawner;
use crate::core::Local;
use crate::late_wake::{LateWakeHandler, Watch};
use crate::observer::Observer;
use crate::pulse::Pulse;
use crate::task::factory::TaskFactory;

impl Spawner {
    /// Has `observer` told of every entry that runs; `None`: nobody. Gives the one before. Takes effect with the next batch of
    /// entries.
    pub fn set_observer(&self, observer: Option<Rc<dyn Observer>>) -> Option<Rc<dyn Observer>> {
        let local = self.local();
        if local.closed.get() {
            return observer;
        }
        let accounts = observer.as_ref().is_some_and(|o| o.keeps_accounts());
        local.accounts.set(accounts);
        local.note_unusual();
        let before = mem::replace(&mut local.hooks.borrow_mut().observer, observer);
        local.note_observed();
        before
    }

    /// Has `pulse` looked at after each entry; `None`: nothing. Takes effect with the next batch of entries. It goes with
    /// an [observer](Spawner::set_observer).
    pub fn set_pulse(&self, pulse: Option<Pulse>) {
        let local = self.local();
        if local.closed.get() {
            return;
        }
        local.pulsed.set(pulse.is_some());
        local.forget_gone();
        let before = mem::replace(&mut local.hooks.borrow_mut().pulse, pulse);
        drop(before);
        local.note_observed();
    }

    /// Has `factory` called with every task that is spawned from now on, `None`: nothing. Gives the one before. asyncio:
    /// `set_task_factory`.
    ///
    /// It may name the task and put a future around its own; it sees neither the future's type nor its output, and cannot put
    /// another kind of task in its place, as asyncio's can. Nor can it start all tasks eagerly, which would reorder code
    /// that did not ask for it: see [`spawn_eager`](Spawner::spawn_eager). While one is set, a spawn costs two
    /// allocations more. The main future, which borrows, and cleanups, which must run as they are, do not pass through it.
    /// A factory that panics makes the spawning call panic; one that spawns is called for that task, too.
    ///
    /// ```
    /// use rondel_executor::Executor;
    /// use std::rc::Rc;
    ///
    /// let executor = Executor::new();
    /// executor.spawner().set_task_factory(Some(Rc::new(|task| {
    ///     let name = format!("job {}", task.id());
    ///     task.set_name(name);
    ///     task.wrap(async |body| body.await); // here: a span, a stopwatch
    /// })));
    /// let task = executor.spawn(async { 42 });
    /// assert_eq!(task.name(), "job 1");
    /// executor.run_until_idle();
    /// assert_eq!(task.into_result().unwrap().unwrap(), 42);
    /// ```
    pub fn set_task_factory(&self, factory: Option<TaskFactory>) -> Option<TaskFactory> {
        let local = self.local();
        if local.closed.get() {
            return factory;
        }
        let before = mem::replace(&mut local.hooks.borrow_mut().task_factory, factory);
        local.note_unusual();
        before
    }

    /// The task factory that is set.
    pub fn task_factory(&self) -> Option<TaskFactory> {
        self.local().hooks.borrow().task_factory.clone()
    }

    /// Has `handler` told, once for each task, when somebody wakes a task that was pending when this executor was closed: a thread
    /// that has outlived what it works for, or another executor's task. Such a wake does nothing else. `None`: nobody is told,
    /// which is the default.
    ///
    /// It counts for tasks that are polled from now on, and costs an allocation for each that is suspended. The waker of a poll does
    /// not say of those that were cloned from it that it [wakes the same](std::task::Waker::will_wake). The handler is called on whatever thread wakes, possibly long
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
        let watch = handler.map(|handler| Arc::new(Watch::new(handler)));
        local.odd.set(if watch.is_some() { Local::WARY } else { 0 });
        // The one before never learns of the close, and so has nothing to tell.
        let before = mem::replace(&mut local.hooks.borrow_mut().late_wakes, watch);
        drop(before);
    }
}
