//! What is running on this thread right now: the executor, the task, the scope that takes what is left behind.
//!
//! Set for the time of a turn and of a poll, and restored after, so that turns of different executors may nest. Plain
//! pointers in constant thread-locals without destructors: each is valid because the guard that set it also borrows what
//! it points to, and clears it before that borrow ends. The guards live in frames of this crate and are never handed out,
//! so none can be forgotten, or dropped out of order.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use crate::cleanup::scope::Scope;
use crate::core::{Core, Local};
use crate::shield::frame::{Frame, OpenShields};
use crate::task::header::Header;
use crate::task_group::info::ChildInfo;
use crate::task_local::values::Slot;
use crate::wait::Waits;

struct Context {
    core: Cell<*const Arc<Core>>,
    task: Cell<*const Header>,
    scope: Cell<*const Scope>,
    /// The innermost canceller around what is being polled.
    frame: Cell<*const Frame>,
    /// The innermost child of a group that is being polled.
    member: Cell<*const Member>,
    /// Task-local values that are current in place of the task's.
    slot: Cell<*const Slot>,
    /// Tasks in whose poll another one is being polled.
    suspended: Cell<*const Suspended>,
}

thread_local! {
    static CONTEXT: Context = const {
        Context {
            core: Cell::new(ptr::null()),
            task: Cell::new(ptr::null()),
            scope: Cell::new(ptr::null()),
            frame: Cell::new(ptr::null()),
            member: Cell::new(ptr::null()),
            slot: Cell::new(ptr::null()),
            suspended: Cell::new(ptr::null()),
        }
    };
}

/// A turn under way: the executor is current until this is dropped.
pub(crate) struct Turn<'a> {
    core: *const Arc<Core>,
    task: *const Header,
    scope: *const Scope,
    frame: *const Frame,
    member: *const Member,
    slot: *const Slot,
    _borrowed: std::marker::PhantomData<&'a Arc<Core>>,
}

impl<'a> Turn<'a> {
    pub(crate) fn enter(core: &'a Arc<Core>) -> Self {
        CONTEXT.with(|context| Self {
            core: context.core.replace(core),
            task: context.task.replace(ptr::null()),
            scope: context.scope.replace(ptr::null()),
            frame: context.frame.replace(ptr::null()),
            member: context.member.replace(ptr::null()),
            slot: context.slot.replace(ptr::null()),
            _borrowed: std::marker::PhantomData,
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        CONTEXT.with(|context| {
            context.core.set(self.core);
            context.task.set(self.task);
            context.scope.set(self.scope);
            context.frame.set(self.frame);
            context.member.set(self.member);
            context.slot.set(self.slot);
        });
    }
}

/// No executor is current on this thread any more, until one enters a turn.
pub(crate) fn forget_turn() {
    // Not what is being polled: its guards are further up the stack, and between `announce` and `begin` it must stay.
    CONTEXT.with(|context| context.core.set(ptr::null()));
}

/// Whether it is an executor's turn on this thread.
pub(crate) fn is_turn() -> bool {
    CONTEXT.with(|context| !context.core.get().is_null())
}

/// Runs `f` on the executor whose turn it is on this thread, if there is one.
#[inline]
pub(crate) fn with_core<R>(f: impl FnOnce(Option<&Arc<Core>>) -> R) -> R {
    let core = CONTEXT.with(|context| context.core.get());
    // SAFETY: non-null only while a `Turn` that borrows the `Arc` is alive on this very thread. That turn cannot end
    // before `f` does: it is further up the stack.
    f(unsafe { core.as_ref() })
}

/// The same with its local half, whose home this thread is.
#[inline]
pub(crate) fn with_local<R>(f: impl FnOnce(Option<(&Arc<Core>, &Local)>) -> R) -> R {
    with_core(|core| {
        f(core.map(|core| {
            // SAFETY: executors take their turns at home: those who enter one have the local half in their hands.
            (core, unsafe { core.local.get_at_home() })
        }))
    })
}

/// The executor whose turn it is on this thread.
pub(crate) fn current_core() -> Option<Arc<Core>> {
    with_core(|core| core.cloned())
}

/// Names the task that is about to be polled; [`Polling::begin`] picks it up inside.
#[inline]
pub(crate) fn announce(task: *const Header) {
    CONTEXT.with(|context| context.task.set(task));
}

/// Nothing is being polled any more, whether or not the harness got to run.
#[inline]
pub(crate) fn retire() {
    // Scope and frame need no care: `with_scope` and `with_frame` restore them, also when unwinding.
    CONTEXT.with(|context| context.task.set(ptr::null()));
}

/// Whether no task is being polled, nor announced.
pub(crate) fn is_between_polls() -> bool {
    CONTEXT.with(|context| context.task.get().is_null())
}

/// A poll under way. The task stays current until this is dropped, which must happen inside the poll: after it the
/// task's memory may go.
pub(crate) struct Polling<'a> {
    header: &'a Header,
}

impl<'a> Polling<'a> {
    /// Makes the announced task the one being polled.
    ///
    /// # Safety
    /// A task must have been announced, and must stay alive for `'a`.
    #[inline]
    pub(crate) unsafe fn begin() -> Self {
        let task = CONTEXT.with(|context| context.task.get());
        debug_assert!(!task.is_null(), "a task is polled only by its executor");
        // SAFETY: the caller vouches for it.
        let header = unsafe { &*task };
        Self { header }
    }

    /// The same for a header that somebody else keeps.
    pub(crate) fn of(header: &'a Header) -> Self {
        announce(header);
        Self { header }
    }

    #[inline]
    pub(crate) fn header(&self) -> &'a Header {
        self.header
    }
}

impl Drop for Polling<'_> {
    #[inline]
    fn drop(&mut self) {
        retire();
    }
}

/// Runs `f` on the header of the task being polled, if one is.
#[inline]
pub(crate) fn with_task<R>(f: impl FnOnce(Option<&Header>) -> R) -> R {
    let task = CONTEXT.with(|context| context.task.get());
    // SAFETY: non-null only between `announce` and `retire`, while the task is being polled and so alive; `f` cannot
    // keep the reference.
    f(unsafe { task.as_ref() })
}

/// Where task-local values are kept at the moment.
pub(crate) enum Place<'a> {
    Nowhere,
    Slot(&'a Slot),
    Task(&'a Header),
}

/// Runs `f` on the place of the current task-local values.
#[inline]
pub(crate) fn with_place<R>(f: impl FnOnce(Place<'_>) -> R) -> R {
    let (slot, task) = CONTEXT.with(|context| (context.slot.get(), context.task.get()));
    // SAFETY: non-null only inside `with_slot`, which borrows the slot and is still further up the stack.
    if let Some(slot) = unsafe { slot.as_ref() } {
        return f(Place::Slot(slot));
    }
    // SAFETY: non-null only while the task is being polled and so alive; `f` cannot keep the reference.
    match unsafe { task.as_ref() } {
        Some(task) => f(Place::Task(task)),
        None => f(Place::Nowhere),
    }
}

/// Runs `f` with task-local values in place of the task's.
pub(crate) fn with_slot<R>(slot: &Slot, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Slot);
    impl Drop for Restore {
        fn drop(&mut self) {
            CONTEXT.with(|context| context.slot.set(self.0));
        }
    }
    let _restore = Restore(CONTEXT.with(|context| context.slot.replace(slot)));
    f()
}

/// A task inside whose poll another one is being polled, and the one outside it.
struct Suspended {
    task: *const Header,
    outer: *const Self,
}

/// Runs `f`, which polls another task, and remembers the one that is being polled meanwhile.
pub(crate) fn suspend<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(*const Suspended);
    impl Drop for Restore {
        fn drop(&mut self) {
            CONTEXT.with(|context| context.suspended.set(self.0));
        }
    }
    let suspended = CONTEXT.with(|context| Suspended {
        task: context.task.get(),
        outer: context.suspended.get(),
    });
    let _restore = Restore(CONTEXT.with(|context| context.suspended.replace(&suspended)));
    f()
}

/// Calls `f` with every task inside whose poll another one is being polled, of whatever executor.
pub(crate) fn for_each_suspended(mut f: impl FnMut(&Header)) {
    let mut next = CONTEXT.with(|context| context.suspended.get());
    // SAFETY: non-null only inside `suspend`, in whose frame it lies; and each one's `outer` is that of a `suspend` which is
    // still further up the stack.
    while let Some(suspended) = unsafe { next.as_ref() } {
        // SAFETY: a task that was being polled when `suspend` was called still is.
        if let Some(header) = unsafe { suspended.task.as_ref() } {
            f(header);
        }
        next = suspended.outer;
    }
}

impl Waits {
    /// Labels the task that is being polled, if one is. `detail` tells apart things of the same kind.
    #[inline]
    pub fn label(self, detail: u32) {
        with_task(|task| {
            if let Some(header) = task {
                header.label(self, detail);
            }
        });
    }
}

/// Runs `f` with `scope` as the one that takes what is left behind.
pub(crate) fn with_scope<R>(scope: &Scope, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Scope);
    impl Drop for Restore {
        fn drop(&mut self) {
            CONTEXT.with(|context| context.scope.set(self.0));
        }
    }
    let _restore = Restore(CONTEXT.with(|context| context.scope.replace(scope)));
    f()
}

/// The scope entered last on this thread.
pub(crate) fn entered_scope() -> Option<Scope> {
    let scope = CONTEXT.with(|context| context.scope.get());
    // SAFETY: non-null only inside `with_scope`, which borrows the scope.
    unsafe { scope.as_ref() }.cloned()
}

/// Runs `f`, a poll, inside a canceller's frame.
#[inline]
pub(crate) fn with_frame<R>(frame: &Frame, f: impl FnOnce() -> R) -> R {
    struct Restore<'a>(&'a Frame);
    impl Drop for Restore<'_> {
        #[inline]
        fn drop(&mut self) {
            let outer = self.0.outer.replace(ptr::null());
            CONTEXT.with(|context| context.frame.set(outer));
        }
    }
    // A frame that polls inside itself would be its own outer one; it cannot, since a poll has its future to itself.
    debug_assert!(frame.outer.get().is_null(), "a frame is entered once");
    frame
        .outer
        .set(CONTEXT.with(|context| context.frame.replace(frame)));
    let _restore = Restore(frame);
    f()
}

/// Somebody who can say who it is.
pub(crate) trait Who {
    /// `None` for a group's body.
    fn who(&self) -> Option<ChildInfo>;

    /// What tells it from the others in the task; 0 for a body, which is a part of whatever has the group, and if there is nobody.
    fn number(&self) -> u64;
}

/// A child of a group while it is being polled, and the one around it.
struct Member {
    /// What the two below are called with.
    who: *const (),
    ask: unsafe fn(*const ()) -> Option<ChildInfo>,
    ask_number: unsafe fn(*const ()) -> u64,
    outer: *const Self,
}

/// Runs `f`, a poll or a drop, as that of a child.
#[inline]
pub(crate) fn with_member<W: Who, R>(who: &W, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Member);
    impl Drop for Restore {
        #[inline]
        fn drop(&mut self) {
            CONTEXT.with(|context| context.member.set(self.0));
        }
    }
    /// # Safety
    /// `who` must be a reference to a `W`.
    unsafe fn ask<W: Who>(who: *const ()) -> Option<ChildInfo> {
        // SAFETY: the caller vouches for it.
        unsafe { &*who.cast::<W>() }.who()
    }
    /// # Safety
    /// `who` must be a reference to a `W`.
    unsafe fn ask_number<W: Who>(who: *const ()) -> u64 {
        // SAFETY: the caller vouches for it.
        unsafe { &*who.cast::<W>() }.number()
    }
    let outer = CONTEXT.with(|context| context.member.get());
    let member = Member {
        who: ptr::from_ref(who).cast(),
        ask: ask::<W>,
        ask_number: ask_number::<W>,
        outer,
    };
    CONTEXT.with(|context| context.member.set(&raw const member));
    let _restore = Restore(outer);
    f()
}

/// The children that are being polled, each of a group inside the next, as far as the task.
pub(crate) fn members() -> Vec<ChildInfo> {
    let mut members = Vec::new();
    walk_members(|member| {
        // SAFETY: `with_member` borrows it, and made `ask` for its type.
        members.extend(unsafe { (member.ask)(member.who) });
        ControlFlow::Continue(())
    });
    members
}

/// The number of the innermost child that is being polled; 0 if there is none.
pub(crate) fn member_number() -> u64 {
    let mut number = 0;
    walk_members(|member| {
        // SAFETY: `with_member` borrows it, and made `ask_number` for its type.
        number = unsafe { (member.ask_number)(member.who) };
        if number == 0 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    number
}

/// Calls `f` with those that are being polled, from the innermost to the task.
fn walk_members(mut f: impl FnMut(&Member) -> ControlFlow<()>) {
    let mut next = CONTEXT.with(|context| context.member.get());
    // SAFETY: non-null only inside `with_member`, in whose frame it lies; and each one's `outer` is that of a `with_member`
    // which is still further up the stack.
    while let Some(member) = unsafe { next.as_ref() } {
        if f(member).is_break() {
            return;
        }
        next = member.outer;
    }
}

/// The shields of every canceller around the code that runs, from the innermost to the task.
pub(crate) fn shields_around() -> Vec<Rc<OpenShields>> {
    let mut around = Vec::new();
    let mut frame = CONTEXT.with(|context| context.frame.get());
    // SAFETY: non-null only inside `with_frame`, which borrows the frame; and each frame's `outer` is the one whose
    // `with_frame` is still further up the stack.
    while let Some(inside) = unsafe { frame.as_ref() } {
        around.push(inside.shields());
        frame = inside.outer.get();
    }
    with_task(|task| {
        if let Some(header) = task
            && let Some(local) = header.home.local.get()
        {
            around.push(local.with_extras(header, |extras| {
                Rc::clone(extras.shields.get_or_insert_default())
            }));
        }
    });
    around
}
