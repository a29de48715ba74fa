//! How a task is driven: poll, cancel in place, wait for what was left behind, hand over the outcome.
//!
//! ```text
//!            poll              future returned, panicked,
//!   spawned ------> running --- or was dropped by cancel ---> cleaning ---> finished
//!                     |  ^                                   (only if something was left
//!                     +--+ Pending                            to the task's scope)
//! ```

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use async_task::{Builder, Runnable};
use pin_project_lite::pin_project;

use crate::claim::Claim;
use crate::context::{self, Polling, announce};
use crate::core::{Core, Local};
use crate::lost::Lost;
use crate::site::Site;
use crate::span::poll::poll_inside;
use crate::task::done::DoneCall;
use crate::task::header::{Header, NO_SLOT};
use crate::task::info::TaskInfo;
use crate::task::wary;
use crate::task_local::current::{bequeath, may_inherit, within};
use crate::wait::Waits;

pin_project! {
    /// The future that async-task polls. `None` once the user's future is gone; for most futures the `Option` takes no room.
    pub(crate) struct Harness<F> {
        #[pin]
        future: Option<F>,
    }
}

/// What is left of a spawned task for its handle: `None` for one that was cancelled or panicked.
pub(crate) type Raw<T> = async_task::Task<Option<T>, Header>;

/// Makes a task of `future`, in nobody's hands yet.
#[inline]
pub(super) fn create<F>(
    local: &Local,
    claim: (Claim, u64),
    future: F,
    site: Site,
    flags: u8,
) -> (Runnable<Header>, Raw<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
{
    let header = Header::new(claim, site, flags);
    let harness = Harness {
        future: Some(future),
    };
    // SAFETY: what `spawn_unchecked` asks beyond the types. The future may be `!Send`: its runnable is run on the home thread
    // only, because `Core::schedule` puts it either onto the local queue there or into the inbox that the home thread
    // drains, and it is never dropped elsewhere (what comes too late is leaked). It is `'static`, and so is the schedule
    // function, which is `Send + Sync` as any function.
    let (runnable, task) = unsafe {
        Builder::new()
            .metadata(header)
            .spawn_unchecked(move |_| harness, Core::schedule)
    };
    if may_inherit() {
        bequeath(task.metadata(), local);
    }
    (runnable, task)
}

/// Runs a task for one poll.
#[inline]
pub(crate) fn run(runnable: Runnable<Header>) {
    announce(runnable.metadata());
    // Polls the harness, which takes the announcement back, for no task is ever closed: handles to it are detached, never
    // dropped, and the registry keeps a waker until it has finished.
    runnable.run();
    debug_assert!(context::is_between_polls(), "a poll has ended");
}

impl<F> Future for Harness<F>
where
    F: Future,
    F::Output: 'static,
{
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: async-task polls a harness from `Runnable::run` only, which `run` above calls after announcing the
        // task; and the runnable keeps the task, header included, until this poll has returned.
        let polling = unsafe { Polling::begin() };
        let header = polling.header();
        // SAFETY: this is the home thread: `run` is called there alone, and what it announces is seen on its thread alone.
        let local = unsafe { header.home.local.get_at_home() };
        let polled = poll_inside(header, local, size_of::<F>(), cx, |cx| {
            self.poll_at_home(header, local, cx)
        });
        if polled.is_pending() && header.slot.get() == NO_SLOT {
            local.tasks.borrow_mut().enter(header, cx.waker().clone());
        }
        polled
    }
}

impl<F> Harness<F>
where
    F: Future,
    F::Output: 'static,
{
    #[inline]
    fn poll_at_home(
        self: Pin<&mut Self>,
        header: &Header,
        local: &Local,
        cx: &mut Context<'_>,
    ) -> Poll<Option<F::Output>> {
        let mut output = None;
        if !header.has(Header::CLEANING) {
            output = ready!(drive(header, local, self.project().future, cx));
        }
        if header.has(Header::EXTRAS) {
            if clean_up(header, local, cx).is_pending() {
                if let Some(output) = output {
                    local.with_extras(header, |extras| extras.parked = Some(Box::new(output)));
                }
                return Poll::Pending;
            }
            if let Some(parked) = local
                .extras(header, |extras| extras.parked.take())
                .flatten()
            {
                output = parked.downcast().ok().map(|output| *output);
            }
        }
        Poll::Ready(finish(header, local, output))
    }
}

/// Polls the user's future, or drops it in place if the task has been cancelled. Ready once it is gone.
#[inline]
pub(super) fn drive<F: Future>(
    header: &Header,
    local: &Local,
    future: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<Option<F::Output>> {
    let odd = local.odd.get();
    let plain = header.is_plain(Header::CANCEL);
    if odd != 0 || !plain {
        if odd == Local::SHUT || !plain {
            if odd == Local::SHUT || (header.has(Header::CANCEL) && !postponed(header, local, cx)) {
                return Poll::Ready(drop_cancelled(header, local, future));
            }
            header.unlabel();
        }
        if odd == Local::WARY {
            return poll_warily(header, local, future, cx);
        }
    }
    poll_user(header, local, future, cx)
}

/// The same with wakers that know whether they come too late.
#[inline(never)]
fn poll_warily<F: Future>(
    header: &Header,
    local: &Local,
    future: Pin<&mut Option<F>>,
    cx: &Context<'_>,
) -> Poll<Option<F::Output>> {
    if let Some(kept) = wary::kept(header, local) {
        return poll_user(header, local, future, &mut Context::from_waker(&kept));
    }
    // SAFETY: used in this function only, while the context is there that the task's own waker comes from.
    let wary = unsafe { wary::passed(cx.waker()) };
    poll_user(header, local, future, &mut Context::from_waker(&wary))
}

#[inline(always)]
fn poll_user<F: Future>(
    header: &Header,
    local: &Local,
    mut future: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<Option<F::Output>> {
    let Some(running) = future.as_mut().as_pin_mut() else {
        unreachable!("a task whose future is gone is cleaning up or finished");
    };
    match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
        Ok(Poll::Pending) if header.has(Header::CANCEL) && !postponed(header, local, cx) => {
            // Cancelled by itself, or by somebody it called: this is its suspension point.
            Poll::Ready(drop_cancelled(header, local, future))
        }
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => {
            drop_in_place(header, local, future);
            Poll::Ready(Some(output))
        }
        Err(payload) => {
            note_panic(header, local, payload);
            drop_in_place(header, local, future);
            Poll::Ready(None)
        }
    }
}

/// Whether the drop has to wait, because a part of the future is shielded.
#[cold]
fn postponed(header: &Header, local: &Local, cx: &Context<'_>) -> bool {
    let shields = local
        .extras(header, |extras| extras.shields.clone())
        .flatten();
    shields.is_some_and(|shields| shields.postpone(cx))
}

#[cold]
fn drop_cancelled<F, T>(header: &Header, local: &Local, future: Pin<&mut Option<F>>) -> Option<T> {
    header.clear(Header::CANCEL);
    header.set(Header::CANCELLED);
    local.cancelled.set(local.cancelled.get() + 1);
    drop_in_place(header, local, future);
    None
}

#[cold]
fn note_panic(header: &Header, local: &Local, payload: Box<dyn Any + Send>) {
    header.set(Header::PANICKED);
    local.with_extras(header, |extras| extras.panic = Some(payload));
}

/// Drops the future inside the task's scope; a destructor that panics is reported and goes no further.
#[inline]
fn drop_in_place<F>(header: &Header, local: &Local, mut future: Pin<&mut Option<F>>) {
    if std::mem::needs_drop::<F>() {
        let dropped = catch_unwind(AssertUnwindSafe(|| future.set(None)));
        if let Err(payload) = dropped {
            local.report(Lost::drop_panicked(TaskInfo::of(header, local), payload));
        }
    } else {
        future.set(None);
    }
}

/// Waits for what was left to the task's scope.
pub(super) fn clean_up(header: &Header, local: &Local, cx: &mut Context<'_>) -> Poll<()> {
    let scope = local
        .extras(header, |extras| extras.scope.clone())
        .flatten();
    let Some(scope) = scope else {
        return Poll::Ready(());
    };
    if local.closed.get() || scope.poll_clean(cx).is_ready() {
        return Poll::Ready(());
    }
    header.set(Header::CLEANING);
    header.label(Waits::CLEANUP, 0);
    Poll::Pending
}

/// Takes the task off the books and tells whoever wants to know.
#[inline]
pub(super) fn finish<T>(header: &Header, local: &Local, output: Option<T>) -> Option<T> {
    header.finish();
    local.count_finished();
    if header.slot.get() != NO_SLOT {
        let waker = local.tasks.borrow_mut().leave(header);
        drop(waker);
    }
    if header.has(Header::SHIELDED | Header::EXTRAS) {
        finish_special(header, local);
    }
    if header.has(Header::DETACHED) {
        finish_detached(header, local, output);
        return None;
    }
    output
}

#[cold]
fn finish_special(header: &Header, local: &Local) {
    if header.has(Header::SHIELDED) {
        local.cleanups.set(local.cleanups.get() - 1);
    }
    if header.has(Header::EXTRAS) {
        call_back(header, local);
    }
}

fn call_back(header: &Header, local: &Local) {
    // Taken first: the last handle to the scope may go here, and with it what is not ours.
    let mut late = None;
    let (done, watchers, _scope) = local
        .extras(header, |extras| {
            extras.awaited_by = Vec::new();
            late = extras.late.take();
            (
                std::mem::take(&mut extras.done),
                std::mem::take(&mut extras.watchers),
                extras.scope.take(),
            )
        })
        .unwrap_or_default();
    if let Some(late) = late
        && !local.closed.get()
    {
        late.end();
    }
    for (_, callback) in done {
        let info = TaskInfo::of(header, local);
        local.push_callback(Rc::new(DoneCall::new(info, callback)));
    }
    for waker in watchers {
        local.guarded(|| waker.wake());
    }
}

/// Nobody will ask: the output goes here, where a panicking destructor is caught, and a panic is reported. Out of line, so
/// that `finish` need not be.
#[inline(never)]
fn finish_detached<T>(header: &Header, local: &Local, output: Option<T>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(output))) {
        local.report(Lost::drop_panicked(TaskInfo::of(header, local), payload));
    }
    report_panic(header, local);
    local.forget_extras(header);
}

/// Reports what the task panicked with, if it did and nobody has taken it.
#[inline]
pub(super) fn report_panic(header: &Header, local: &Local) {
    if header.has(Header::PANICKED) {
        report_untaken(header, local);
    }
}

#[cold]
fn report_untaken(header: &Header, local: &Local) {
    let taken = local.extras(header, |extras| (extras.panic.take(), extras.origin.take()));
    if let Some((Some(payload), origin)) = taken {
        let groups = origin.map_or_else(Vec::new, |origin| origin.of(&*payload));
        let lost = Lost {
            groups,
            ..Lost::task_panicked(TaskInfo::of(header, local), payload)
        };
        within(header, local, || local.report(lost));
    }
}
