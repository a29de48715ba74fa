//! Callbacks: the other kind of entry in the ready queue, not a task.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::core::Site;
use crate::task::info::TaskInfo;
use crate::task_local::snapshot::call_with;
use crate::task_local::values::inherited;

/// Something that can stand in the ready queue and be called at its turn.
///
/// Closures given to [`Spawner::call_soon`](crate::Spawner::call_soon) become one with a single allocation. Implement it
/// for what is called again and again, such as a connection whenever its socket is ready, and queue the same `Rc` each
/// time with [`Spawner::push`](crate::Spawner::push): then nothing is allocated at all.
pub trait Callback {
    /// Called once for each time it was queued, on the executor's thread.
    fn call(self: Rc<Self>);

    /// Called instead of [`call`](Callback::call) when the executor closes first: it should let go of what it holds, since
    /// handles to it may live on. Does nothing unless implemented.
    fn discard(&self) {}

    /// Where it comes from, for the report if it panics.
    fn site(&self) -> &'static std::panic::Location<'static>;
}

/// A closure to be called once, which its [`Handle`] can take back.
pub(crate) struct Once<F> {
    site: Site,
    closure: Cell<Option<F>>,
    state: Cell<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Called,
    Cancelled,
}

impl<F: FnOnce() + 'static> Once<F> {
    pub(crate) fn new(site: Site, closure: F) -> Rc<Self> {
        Rc::new(Self {
            site,
            closure: Cell::new(Some(closure)),
            state: Cell::new(State::Waiting),
        })
    }
}

impl<F: FnOnce() + 'static> Callback for Once<F> {
    fn call(self: Rc<Self>) {
        if let Some(closure) = self.closure.take() {
            self.state.set(State::Called);
            closure();
        }
    }

    fn discard(&self) {
        self.cancel();
    }

    fn site(&self) -> Site {
        self.site
    }
}

/// What a [`Handle`] can do to its callback, whatever the closure's type.
trait Cancel {
    fn cancel(&self) -> bool;
    fn state(&self) -> State;
    fn site(&self) -> Site;
}

impl<F> Cancel for Once<F> {
    fn cancel(&self) -> bool {
        // Taken before it is dropped: its destructor may come back here.
        let closure = self.closure.take();
        if closure.is_some() {
            self.state.set(State::Cancelled);
        }
        closure.is_some()
    }

    fn state(&self) -> State {
        self.state.get()
    }

    fn site(&self) -> Site {
        self.site
    }
}

/// A callback that has been scheduled, and can be cancelled until it is called. Dropping the handle changes nothing.
///
/// asyncio: `Handle`.
///
/// ```
/// use rondel_executor::Executor;
///
/// let executor = Executor::new();
/// let handle = executor.call_soon(|| unreachable!("cancelled in time"));
/// assert!(handle.cancel());
/// assert!(handle.cancelled());
/// executor.run_until_idle();
/// ```
#[derive(Clone)]
pub struct Handle(Rc<dyn Cancel>);

impl Handle {
    pub(crate) fn new<F: FnOnce() + 'static>(callback: Rc<Once<F>>) -> Self {
        Self(callback)
    }

    /// A callback that is scheduled by other means, a timer for example, and the handle that cancels it.
    ///
    /// ```
    /// use rondel_executor::{Executor, Handle};
    ///
    /// let executor = Executor::new();
    /// let (callback, handle) = Handle::schedule_later(|| println!("now"));
    /// executor.spawner().push(callback);
    /// executor.run_until_idle();
    /// assert!(!handle.is_pending() && !handle.cancelled());
    /// ```
    #[track_caller]
    pub fn schedule_later(closure: impl FnOnce() + 'static) -> (Rc<dyn Callback>, Self) {
        fn apart<F: FnOnce() + 'static>(once: Rc<Once<F>>) -> (Rc<dyn Callback>, Handle) {
            let handle = Handle::new(Rc::clone(&once));
            (once, handle)
        }
        let site = std::panic::Location::caller();
        match inherited() {
            None => apart(Once::new(site, closure)),
            values => apart(Once::new(site, move || call_with(values, site, closure))),
        }
    }

    /// Takes the callback back: the closure, and all it holds, is dropped before this returns. `false` if it has been
    /// called, is being called, or was cancelled before.
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }

    /// Whether the callback was cancelled before it was called.
    pub fn cancelled(&self) -> bool {
        self.0.state() == State::Cancelled
    }

    /// Whether the callback is still to be called.
    pub fn is_pending(&self) -> bool {
        self.0.state() == State::Waiting
    }

    /// Where the callback was scheduled.
    pub fn scheduled_at(&self) -> &'static std::panic::Location<'static> {
        self.0.site()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("state", &self.0.state())
            .field("scheduled_at", &format_args!("{}", self.0.site()))
            .finish()
    }
}

/// What is called with a task that is done.
pub(crate) type OnDone = Box<dyn FnOnce(&TaskInfo)>;

/// A done-callback of a task, at its turn.
pub(crate) struct DoneCall {
    info: TaskInfo,
    callback: Cell<Option<OnDone>>,
}

impl DoneCall {
    pub(crate) fn new(info: TaskInfo, callback: OnDone) -> Self {
        Self {
            info,
            callback: Cell::new(Some(callback)),
        }
    }
}

impl Callback for DoneCall {
    fn call(self: Rc<Self>) {
        if let Some(callback) = self.callback.take() {
            callback(&self.info);
        }
    }

    fn site(&self) -> Site {
        self.info.site
    }
}
