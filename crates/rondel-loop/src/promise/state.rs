//! What both halves of a promise share.
//!
//! Nothing of it is borrowed while foreign code runs, be it the drop or clone of a value, a waker or a callback: those are
//! taken out first. The one exception is the clone of an outcome that several share: then it is borrowed for reading,
//! and while it is shared nobody writes it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use rondel_executor::{Callback, Spawner, Waits};

use crate::current;
use crate::exception::ExceptionContext;
use crate::promise::error::{DeferredError, Settled};
use crate::state::{LocalLoop, State as LoopState};

/// A callback that waits for a promise to be settled, whatever its closure.
pub(super) trait Done: Callback {
    fn schedule(self: Rc<Self>, how: Settled);
}

pub(super) struct State<T, E> {
    settled: Cell<Option<Settled>>,
    /// There from when it is settled until it is taken.
    outcome: RefCell<Option<Result<T, E>>>,
    /// Whether somebody has taken notice of the error, or declared not to care.
    noticed: Cell<bool>,
    /// Handles of the awaiting half.
    awaiting: Cell<usize>,
    /// The sole awaiter; or,
    awaiter: WakerSlot,
    /// of a shared one, all of them, in the order in which they came.
    awaiters: RefCell<BTreeMap<u64, Waker>>,
    /// Whoever works on the result and wants to know when to stop.
    canceller: WakerSlot,
    /// In the order of registration.
    callbacks: RefCell<BTreeMap<u64, Rc<dyn Done>>>,
    /// Says what the error is, should it have to be reported.
    describe: fn(E) -> Box<dyn Error>,
    site: &'static Location<'static>,
    /// The loop in which it was made, if that was in one.
    home: Weak<LoopState>,
}

impl<T, E> State<T, E> {
    pub(super) fn new(site: &'static Location<'static>, describe: fn(E) -> Box<dyn Error>) -> Self {
        let home = current::with(|current| current.map_or_else(Weak::new, Rc::downgrade));
        Self {
            settled: Cell::new(None),
            outcome: RefCell::new(None),
            noticed: Cell::new(false),
            awaiting: Cell::new(0),
            awaiter: WakerSlot::default(),
            awaiters: RefCell::default(),
            canceller: WakerSlot::default(),
            callbacks: RefCell::default(),
            describe,
            site,
            home,
        }
    }

    pub(super) fn settled(&self) -> Option<Settled> {
        self.settled.get()
    }

    pub(super) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    // The half that is kept.

    pub(super) fn set(&self, outcome: Result<T, E>) -> Result<(), Result<T, E>> {
        if self.settled.get().is_some() {
            return Err(outcome);
        }
        let how = if outcome.is_ok() {
            Settled::Finished
        } else {
            Settled::Failed
        };
        if self.awaiting.get() > 0 {
            // Empty so far, so this drops nothing.
            self.outcome.replace(Some(outcome));
            self.settle(how);
        } else {
            // Only callbacks are left. They are told how it went, and nobody will come for the rest.
            self.settle(how);
            if let Err(error) = outcome {
                self.report(error);
            }
        }
        Ok(())
    }

    /// The promise is gone: unless it was kept, it never will be.
    pub(super) fn abandon(&self) {
        self.forget_canceller();
        if self.settled.get().is_none() {
            self.settle(Settled::Dropped);
        }
    }

    pub(super) fn poll_cancelled(&self, cx: &Context<'_>) -> Poll<()> {
        if self.settled.get().is_none() {
            self.canceller.register(cx.waker());
            // Looked at again: the waker's code may have cancelled it.
            if self.settled.get().is_none() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Has `waker` woken when it is cancelled; at once if it is already.
    pub(super) fn on_cancel(&self, waker: Waker) {
        if self.settled.get().is_none() {
            self.canceller.put(waker);
        } else {
            waker.wake();
        }
    }

    pub(super) fn forget_canceller(&self) {
        drop(self.canceller.take());
    }

    // The half that awaits.

    pub(super) fn join(&self) {
        self.awaiting.set(self.awaiting.get() + 1);
    }

    /// A handle of the awaiting half is gone.
    pub(super) fn leave(&self) {
        let left = self.awaiting.get() - 1;
        self.awaiting.set(left);
        if left > 0 {
            return;
        }
        if self.settled.get().is_some() {
            let outcome = self.outcome.take();
            if let Some(Err(error)) = outcome
                && !self.noticed.get()
            {
                self.report(error);
            }
        } else if self.callbacks.borrow().is_empty() {
            self.settle(Settled::Cancelled);
        }
    }

    pub(super) fn cancel(&self) -> bool {
        self.noticed.set(true);
        let pending = self.settled.get().is_none();
        if pending {
            self.settle(Settled::Cancelled);
        }
        pending
    }

    /// The outcome, for the only one who waits; `None` while it is pending.
    pub(super) fn take(&self) -> Option<Result<T, DeferredError<E>>> {
        let how = self.settled.get()?;
        self.noticed.set(true);
        Some(match self.outcome.take() {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(DeferredError::Failed(error)),
            None => Err(without_value(how)),
        })
    }

    /// A clone of the outcome, which stays for the others.
    pub(super) fn copy(&self) -> Option<Result<T, DeferredError<E>>>
    where
        T: Clone,
        E: Clone,
    {
        let how = self.settled.get()?;
        self.noticed.set(true);
        Some(match &*self.outcome.borrow() {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(error)) => Err(DeferredError::Failed(error.clone())),
            None => Err(without_value(how)),
        })
    }

    /// Has the only one who waits woken. The caller looks again afterwards.
    pub(super) fn await_alone(&self, waker: &Waker) {
        self.awaiter.register(waker);
        Waits::PROMISE.label(0);
    }

    pub(super) fn stop_awaiting_alone(&self) {
        drop(self.awaiter.take());
    }

    /// Has one of several who wait woken; gives the number under which it is kept. The caller looks again afterwards.
    pub(super) fn await_together(&self, number: Option<u64>, waker: &Waker) -> u64 {
        Waits::PROMISE.label(0);
        if let Some(number) = number
            && self
                .awaiters
                .borrow()
                .get(&number)
                .is_some_and(|kept| kept.will_wake(waker))
        {
            return number;
        }
        let waker = waker.clone();
        let number = number.unwrap_or_else(unique);
        let mut replaced = Some(waker);
        // Settled by the waker's own code while it was cloned: nobody would take it out again.
        if self.settled.get().is_none() {
            replaced = replaced.and_then(|waker| self.awaiters.borrow_mut().insert(number, waker));
        }
        drop(replaced);
        number
    }

    pub(super) fn stop_awaiting(&self, number: u64) {
        let waker = self.awaiters.borrow_mut().remove(&number);
        drop(waker);
    }

    // Done-callbacks.

    pub(super) fn add_callback(&self, callback: Rc<dyn Done>) -> u64 {
        let number = unique();
        match self.settled.get() {
            Some(how) => callback.schedule(how),
            None => {
                // The number is new, so this drops nothing.
                self.callbacks.borrow_mut().insert(number, callback);
            }
        }
        number
    }

    pub(super) fn remove_callback(&self, number: u64) -> bool {
        let removed = self.callbacks.borrow_mut().remove(&number);
        removed.is_some()
    }

    /// The end: everybody is told, in the order in which they came.
    fn settle(&self, how: Settled) {
        self.settled.set(Some(how));
        let canceller = self.canceller.take();
        let awaiter = self.awaiter.take();
        let awaiters = self.awaiters.take();
        let callbacks = self.callbacks.take();
        // Who keeps the promise knows that it is settled; only a cancellation is news.
        let canceller = canceller.filter(|_| how == Settled::Cancelled);
        let mut panicked = None;
        for waker in awaiter
            .into_iter()
            .chain(awaiters.into_values())
            .chain(canceller)
        {
            contain(&mut panicked, || waker.wake());
        }
        for callback in callbacks.into_values() {
            contain(&mut panicked, || callback.schedule(how));
        }
        if let Some(payload) = panicked {
            pass_on(payload);
        }
    }

    fn report(&self, error: E) {
        let context = ExceptionContext {
            error: Some((self.describe)(error)),
            promise: Some(self.site),
            // Who let go of it, and could have asked.
            task: Spawner::current_task(),
            groups: Spawner::current_children(),
            ..ExceptionContext::new("a promise failed, and nobody retrieved its error")
        };
        let home = self.home.upgrade().filter(|home| !home.closed.get());
        let home = home.as_ref().map(LocalLoop::of);
        match home.or_else(|| current::get("promise").ok()) {
            Some(local) => local.call_exception_handler(&context),
            None => context.report(),
        }
    }
}

fn without_value<E>(how: Settled) -> DeferredError<E> {
    match how {
        Settled::Cancelled => DeferredError::Cancelled,
        Settled::Dropped => DeferredError::Dropped,
        Settled::Finished | Settled::Failed => DeferredError::Taken,
    }
}

/// A number that no other callback or awaiter of this thread has, so that a token used on the wrong promise does nothing.
fn unique() -> u64 {
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }
    NEXT.with(|next| next.replace(next.get() + 1))
}

/// Runs foreign code that must not keep the rest from being told.
fn contain(panicked: &mut Option<Box<dyn Any + Send>>, foreign: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) {
        panicked.get_or_insert(payload);
    }
}

/// A waker's panic goes to the loop's exception handler; without a loop, to whoever settled the promise.
fn pass_on(payload: Box<dyn Any + Send>) {
    match current::get("promise") {
        Ok(local) => local.state().guarded(|| resume_unwind(payload)),
        // A second panic while unwinding would end the process.
        Err(_) if std::thread::panicking() => std::mem::forget(payload),
        Err(_) => resume_unwind(payload),
    }
}

/// At most one waker. Its clone and drop are foreign code: they run while nothing is borrowed, and the owner looks at its
/// state again after [`register`](WakerSlot::register).
#[derive(Default)]
struct WakerSlot(Cell<Option<Waker>>);

impl WakerSlot {
    fn register(&self, waker: &Waker) {
        let present = self.0.take();
        let same = present
            .as_ref()
            .is_some_and(|present| present.will_wake(waker));
        // In place while the new one is cloned: what happens meanwhile still wakes someone.
        self.0.set(present);
        if !same {
            self.put(waker.clone());
        }
    }

    fn put(&self, waker: Waker) {
        drop(self.0.replace(Some(waker)));
    }

    fn take(&self) -> Option<Waker> {
        self.0.take()
    }
}
