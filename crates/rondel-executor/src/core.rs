//! The heart that tasks, wakers and handles share: the ready queue, the tasks that live, the way in from elsewhere.
//!
//! ```text
//!   waker, Handle, Spawner ── home thread ──> Local: ready queue, task registry
//!   waker, Remote ────────── other threads ─> Inbox ──(drained by the home thread)──> ready queue
//! ```
//!
//! Tasks lead home to their executor, which keeps them: so this file, those of claims, headers, extras and the main task, the registry,
//! the queue and the scope are the one place where the modules of this crate name each other in a ring; all others are below or above.
//!
//! Nothing in here is borrowed while foreign code runs (polls, callbacks, destructors, wakers): each borrow below ends
//! in the statement that makes it, or is handed only to this crate's own code.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_task::Runnable;

use crate::callback::Callback;
use crate::callback::once::{Once, Spare};
use crate::claim::{Claims, LocalClaims};
use crate::cleanup::scope::{CleanupLimit, Scope};
use crate::home::HomeCell;
use crate::inbox::{Inbox, Notify};
use crate::late_wake::Watch;
use crate::lost::{Lost, Sink};
use crate::observer::Observer;
use crate::pulse::Pulse;
use crate::ready_queue::ReadyQueue;
use crate::site::Site;
use crate::task::account::Took;
use crate::task::extras::{Extras, IdHash};
use crate::task::factory::TaskFactory;
use crate::task::header::Header;
use crate::task::main_task::MainTask;
use crate::task::registry::Registry;

/// Something to be done at home.
pub(crate) type RemoteCall = Box<dyn FnOnce(&Arc<Core>) + Send>;

/// What other threads send.
pub(crate) enum Message {
    /// A task woken there.
    Task(Runnable<Header>),
    /// The future on the runner's stack, woken there.
    Main,
    /// Something to do here.
    Call(RemoteCall),
    /// A value that wants to be dropped here; see [`LoopBound`](crate::LoopBound).
    Parcel(Box<dyn Send>),
}

/// Shared by the executor and every handle and task of it; the local half only opens on the home thread.
pub(crate) struct Core {
    pub(crate) local: HomeCell<Local>,
    pub(crate) inbox: Inbox<Message>,
    pub(crate) claims: Claims,
    /// Values and tasks that came too late to be dropped at home.
    pub(crate) leaked: AtomicUsize,
}

/// What an executor's owner asked to be told.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    /// Something became ready between turns.
    pub(crate) nudge: Option<Rc<dyn Fn()>>,
    /// A failure that nobody awaits; without it, standard error.
    pub(crate) sink: Option<Sink>,
    /// Puts a time limit around a cleanup: the executor has no clock.
    pub(crate) cleanup_limit: Option<CleanupLimit>,
    /// Looks at every task before it begins.
    pub(crate) task_factory: Option<TaskFactory>,
    /// Is told of every entry.
    pub(crate) observer: Option<Rc<dyn Observer>>,
    /// Is told which entry ran when a counter moved.
    pub(crate) pulse: Option<Pulse>,
    /// Is told of wakes after the close.
    pub(crate) late_wakes: Option<Arc<Watch>>,
}

/// What has panicked, for the report: its site, or who knows it.
pub(crate) enum Culprit {
    Site(Site),
    Callback(Rc<dyn Callback>),
}

/// The half that belongs to the home thread.
pub(crate) struct Local {
    pub(crate) ready: ReadyQueue,
    /// Blocks for the closures of `call_soon`.
    pub(crate) spare: Spare,
    pub(crate) tasks: RefCell<Registry>,
    /// What few tasks have: names, callbacks, scopes. Apart from the header, so that the many pay nothing for it.
    pub(crate) extras: RefCell<HashMap<u64, Extras, IdHash>>,
    pub(crate) next_id: Cell<u64>,
    pub(crate) next_token: Cell<u64>,
    pub(crate) claims: LocalClaims,
    /// Tasks that have finished, or been given up; the rest of those made are alive.
    pub(crate) finished: Cell<u64>,
    /// Of those alive, cleanups on their way.
    pub(crate) cleanups: Cell<usize>,
    /// Whether a turn is under way: then nobody needs to be told of a push.
    pub(crate) turning: Cell<bool>,
    /// What the executor's owner asked to be told; gone once it is closed.
    pub(crate) hooks: RefCell<Hooks>,
    /// The scope of whatever is dropped outside any task.
    pub(crate) root: RefCell<Option<Scope>>,
    pub(crate) main: RefCell<Option<Rc<MainTask>>>,
    /// The callback that has just panicked.
    pub(crate) panicked: Cell<Option<Culprit>>,
    pub(crate) closed: Cell<bool>,
    /// Whether polling is not as usual: `WARY`, `SHUT`, or 0.
    pub(crate) odd: Cell<u8>,
    /// Whether somebody is told of entries: of every one, or of some.
    pub(crate) observed: Cell<bool>,
    /// Whether a counter is looked at after each.
    pub(crate) pulsed: Cell<bool>,
    /// The task with a name that went last, while that is so: it may be told of after it has gone.
    gone: RefCell<Option<(u64, Arc<str>)>>,
    /// Whether that one wants accounts of tasks.
    pub(crate) accounts: Cell<bool>,
    /// Tasks that were cancelled.
    pub(crate) cancelled: Cell<u64>,
    /// Whether spawning is not as usual: the executor is closed, accounts are kept, or there is a task factory. One flag for all,
    /// since every spawn looks at it.
    pub(crate) unusual: Cell<bool>,
}

impl Core {
    pub(crate) fn new(notify: Notify, hooks: Hooks) -> Arc<Self> {
        let hooked = hooks.task_factory.is_some();
        Arc::new(Self {
            local: HomeCell::new(Local {
                ready: ReadyQueue::default(),
                spare: Spare::default(),
                tasks: RefCell::default(),
                extras: RefCell::default(),
                next_id: Cell::new(1),
                next_token: Cell::new(0),
                claims: LocalClaims::default(),
                finished: Cell::new(0),
                cleanups: Cell::new(0),
                turning: Cell::new(false),
                hooks: RefCell::new(hooks),
                root: RefCell::default(),
                main: RefCell::default(),
                panicked: Cell::default(),
                closed: Cell::new(false),
                odd: Cell::new(0),
                observed: Cell::new(false),
                pulsed: Cell::new(false),
                gone: RefCell::default(),
                accounts: Cell::new(false),
                cancelled: Cell::new(0),
                unusual: Cell::new(hooked),
            }),
            inbox: Inbox::new(notify),
            claims: Claims::default(),
            leaked: AtomicUsize::new(0),
        })
    }

    /// The schedule function of every task: the whole cost of a wake on the home thread is in here.
    #[inline]
    pub(crate) fn schedule(runnable: Runnable<Header>) {
        let home = &raw const *runnable.metadata().home;
        // SAFETY: the runnable keeps the core; once it is moved into the core's own queue, the queue keeps both, and nothing
        // runs on this thread that could take it out before the nudge. The reference is not used after that.
        let local = unsafe { &(*home).local };
        match local.get() {
            Some(local) => {
                local.ready.push_task(runnable);
                if !local.turning.get() {
                    Local::nudge(local);
                }
            }
            None => Self::schedule_from_afar(runnable),
        }
    }

    #[cold]
    fn schedule_from_afar(runnable: Runnable<Header>) {
        // A reference of our own: once pushed, the task may be run and freed before `push` returns.
        let home = runnable.metadata().home.to_arc();
        home.send(Message::Task(runnable));
    }

    /// Sends something home; if home is gone, leaks it, for it must not be dropped on a thread that is not its own.
    pub(crate) fn send(&self, message: Message) -> bool {
        match self.inbox.push(message) {
            Ok(()) => true,
            Err(late) => {
                match late {
                    // Belongs to nobody's thread: `Send`, so it may be dropped right here.
                    Message::Call(call) => drop(call),
                    Message::Main => {}
                    Message::Task(runnable) => {
                        self.count_leak();
                        std::mem::forget(runnable);
                    }
                    Message::Parcel(parcel) => {
                        self.count_leak();
                        std::mem::forget(parcel);
                    }
                }
                false
            }
        }
    }

    pub(crate) fn count_leak(&self) {
        // Relaxed: a figure to look at, nothing is ordered by it.
        self.leaked.fetch_add(1, Ordering::Relaxed);
    }

    /// Moves what has come in from other threads to the ready queue.
    pub(crate) fn drain_inbox(self: &Arc<Self>, local: &Local) {
        // Bounded by what was there: threads that keep sending must not hold the turn.
        const AT_MOST: usize = 1024;
        for _ in 0..AT_MOST {
            match self.inbox.pop() {
                None => return,
                Some(Message::Task(runnable)) => local.push_task(runnable),
                Some(Message::Main) => local.push_main(),
                // One at a time, so that one that panics does not take the others with it.
                Some(Message::Call(call)) => local.guarded(|| call(self)),
                Some(Message::Parcel(parcel)) => local.guarded(|| drop(parcel)),
            }
        }
    }
}

impl Local {
    /// Wakes after the close are to be told of.
    pub(crate) const WARY: u8 = 1;
    /// The executor is closed.
    pub(crate) const SHUT: u8 = 2;

    #[inline]
    pub(crate) fn push_task(&self, runnable: Runnable<Header>) {
        self.ready.push_task(runnable);
        self.announce();
    }

    #[inline]
    pub(crate) fn push_once(&self, call: Once) {
        self.ready.push_once(call);
        self.announce();
    }

    #[inline]
    pub(crate) fn push_callback(&self, callback: Rc<dyn Callback>) {
        self.ready.push_callback(callback);
        self.announce();
    }

    /// Queues a callback, unless the executor has been closed.
    #[inline]
    pub(crate) fn push_or_discard(&self, callback: Rc<dyn Callback>) {
        if self.closed.get() {
            callback.discard();
        } else {
            self.push_callback(callback);
        }
    }

    pub(crate) fn push_main(&self) {
        self.ready.push_main();
        self.announce();
    }

    /// Between turns, whoever drives the executor wants to hear of a push.
    #[inline]
    fn announce(&self) {
        if !self.turning.get() {
            Self::nudge(self);
        }
    }

    /// Not by reference: what is called may let go of the last that keeps the executor.
    #[cold]
    fn nudge(local: *const Self) {
        // SAFETY: every caller has a reference, which ends with this call.
        let nudge = unsafe { &*local }.hooks.borrow().nudge.clone();
        if let Some(nudge) = nudge {
            nudge();
        }
    }

    /// Runs what came from elsewhere; a panic is reported and goes no further.
    pub(crate) fn guarded(&self, f: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
            self.report(Lost::in_callback(payload, None));
        }
    }

    /// Hands a failure to the sink. A sink that panics is not tried again with its own panic; the failure goes to
    /// standard error instead.
    #[cold]
    pub(crate) fn report(&self, lost: Lost) {
        let sink = self.hooks.borrow().sink.clone();
        match sink {
            None => lost.write_to_stderr(),
            Some(sink) => {
                let said = lost.to_string();
                if catch_unwind(AssertUnwindSafe(|| sink(lost))).is_err() {
                    // Nowhere to report a failing standard error to.
                    let _ = writeln!(
                        std::io::stderr(),
                        "the handler of lost failures panicked; it was told: {said}"
                    );
                }
            }
        }
    }

    /// Gives back the room that the queues took at their fullest. Only once they are empty for good.
    pub(crate) fn release_room(&self) {
        self.ready.release_room();
        self.spare.release_room();
        self.forget_gone();
        self.extras.borrow_mut().shrink_to_fit();
        let tasks = self.tasks.take();
        drop(tasks);
    }

    /// The next number of a done-callback.
    pub(crate) fn take_token(&self) -> u64 {
        let token = self.next_token.get();
        self.next_token.set(token + 1);
        token
    }

    /// The next task number: never used again by this executor. Every task made takes one, and makes one claim: so this is
    /// the count of both.
    #[inline]
    pub(crate) fn take_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id
    }

    /// Tasks that have not finished, the main one and cleanups among them.
    pub(crate) fn alive(&self) -> usize {
        (self.made() - self.finished.get()) as usize
    }

    /// Tasks made so far.
    pub(crate) fn made(&self) -> u64 {
        self.next_id.get() - 1
    }

    #[inline]
    pub(crate) fn count_finished(&self) {
        self.finished.set(self.finished.get() + 1);
    }

    /// Runs `f` on the extras of a task, making them if there are none.
    pub(crate) fn with_extras<R>(&self, header: &Header, f: impl FnOnce(&mut Extras) -> R) -> R {
        header.set(Header::EXTRAS);
        f(self.extras.borrow_mut().entry(header.id()).or_default())
    }

    /// Runs `f` on the extras of a task that has some.
    pub(crate) fn extras<R>(&self, header: &Header, f: impl FnOnce(&mut Extras) -> R) -> Option<R> {
        if !header.has(Header::EXTRAS) {
            return None;
        }
        self.extras.borrow_mut().get_mut(&header.id()).map(f)
    }

    /// Enters a poll in the account of a task, unless it is gone.
    pub(crate) fn enter_account(&self, task: u64, took: Took) {
        if let Some(extras) = self.extras.borrow_mut().get_mut(&task) {
            extras.account.get_or_insert_default().enter(took);
        }
    }

    /// The name that a task has, or had when it went just now.
    pub(crate) fn name_of(&self, task: u64) -> Option<Arc<str>> {
        let known = self
            .extras
            .borrow()
            .get(&task)
            .and_then(|extras| extras.name.clone());
        known.or_else(|| {
            let gone = self.gone.borrow();
            let (id, name) = gone.as_ref()?;
            (*id == task).then(|| Arc::clone(name))
        })
    }

    pub(crate) fn forget_gone(&self) {
        let gone = self.gone.take();
        drop(gone);
    }

    /// Says anew whether somebody is told of entries.
    pub(crate) fn note_observed(&self) {
        let hooks = self.hooks.borrow();
        self.observed
            .set(hooks.observer.is_some() || hooks.pulse.is_some());
    }

    /// Says anew whether spawning is as usual.
    pub(crate) fn note_unusual(&self) {
        let hooked = self.hooks.borrow().task_factory.is_some();
        self.unusual
            .set(hooked || self.closed.get() || self.accounts.get());
    }

    pub(crate) fn forget_extras(&self, header: &Header) {
        if header.has(Header::EXTRAS) {
            // Bound first: dropping extras may run foreign destructors, which must not find the map borrowed.
            let mut gone = self.extras.borrow_mut().remove(&header.id());
            if self.pulsed.get()
                && let Some(name) = gone.as_mut().and_then(|extras| extras.name.take())
            {
                *self.gone.borrow_mut() = Some((header.id(), name));
            }
            if let Some(late) = gone.as_ref().and_then(|extras| extras.late.as_ref())
                && !self.closed.get()
            {
                late.end();
            }
            drop(gone);
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("home", &self.local.home())
            .field("inbox", &self.inbox)
            .finish_non_exhaustive()
    }
}
