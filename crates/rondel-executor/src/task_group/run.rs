//! The group's own future: polls the body and those children that were woken, and sees all of them to their end.
//!
//! ```text
//!             a failure, a panic, cancel()          nobody left
//!   running ──────────────────────────────> stopping ─────────> cleaning up ──> ended
//!      └──────────────────────── nobody left ───────────────────────┘
//! ```

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::thread;

use pin_project_lite::pin_project;

use super::info::{About, ChildInfo};
use super::lineage::{Turns, chain_of, note, report_panic};
use super::member::Ended;
use super::post::post;
use super::{Boxed, Shared, TaskGroup};
use crate::cancellable::Cancellable;
use crate::cleanup::leave;
use crate::cleanup::scope::Scope;
use crate::context::{self, Who};
use crate::crowd::{Batch, Place};
use crate::error_group::{ErrorGroup, GroupError};
use crate::task::header::Header;
use crate::wait::Waits;

pin_project! {
    /// Dropped in this order: the body, then the children.
    pub(super) struct Running<'env, R, E, B>
    where
        E: 'env,
    {
        // `None` when it has ended.
        #[pin]
        body: Option<Cancellable<B>>,
        group: Owner<'env, E>,
        output: Option<R>,
        failures: Failures<E>,
        // Once the children are written down for others to see.
        alive: Option<Rc<()>>,
    }
}

/// What went wrong so far.
struct Failures<E> {
    errors: Vec<E>,
    /// With the chain of children that it came through.
    panic: Option<(Box<dyn Any + Send>, Vec<ChildInfo>)>,
    stopping: bool,
    /// Stopping has cut somebody short.
    cut: bool,
}

/// Dropped before it could go on in the caller, a panic has no other way out.
impl<E> Drop for Failures<E> {
    fn drop(&mut self) {
        if let Some((payload, chain)) = self.panic.take() {
            report_panic(payload, chain);
        }
    }
}

impl<'env, R, E: 'env, B> Running<'env, R, E, B>
where
    B: Future<Output = Result<R, E>>,
{
    pub(super) fn new(group: &TaskGroup<'env, E>, body: B) -> Self {
        Self {
            body: Some(Cancellable::new(body)),
            group: Owner {
                shared: Rc::clone(&group.0),
                scope: Scope::new(),
            },
            output: None,
            failures: Failures {
                errors: Vec::new(),
                panic: None,
                stopping: false,
                cut: false,
            },
            alive: None,
        }
    }
}

impl<'env, R, E: 'env, B> Future for Running<'env, R, E, B>
where
    B: Future<Output = Result<R, E>>,
{
    type Output = Result<R, GroupError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        context::with_task(|task| {
            let Owner { shared, scope } = this.group;
            let mut poll = Polling {
                body: this.body,
                shared,
                task,
                output: this.output,
                failures: this.failures,
            };
            scope.enter(|| poll.run_batch(cx));
            if shared.crowd.is_empty() {
                return poll.end(scope, cx);
            }
            if let Some(header) = task {
                let (waits, on) = shared.body_waits.get();
                header.label(waits, on);
                post(this.alive, &shared.crowd, header);
            }
            Poll::Pending
        })
    }
}

/// The place of the body, or of a child.
type Seat<'env, E> = Place<Boxed<'env, E>, About>;

/// One poll of the group.
struct Polling<'p, 'env, R, E, B> {
    body: Pin<&'p mut Option<Cancellable<B>>>,
    shared: &'p Shared<'env, E>,
    /// The task that the group is a part of.
    task: Option<&'p Header>,
    output: &'p mut Option<R>,
    failures: &'p mut Failures<E>,
}

impl<'env, R, E: 'env, B> Polling<'_, 'env, R, E, B>
where
    B: Future<Output = Result<R, E>>,
{
    #[inline]
    fn run_batch(&mut self, cx: &Context<'_>) {
        let shared = self.shared;
        // Only those that are ready now, and all of them, whatever fails meanwhile: see them fail together.
        let mut batch = shared.crowd.begin_batch(cx);
        // Panics are caught around all turns, since to catch them costs something.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            context::with_member(&Turns(&shared.crowd), || {
                let first = batch.first();
                self.give_turns(first, &mut batch);
            });
        }));
        if let Err(payload) = caught {
            self.reborrow().go_on_after(payload, &mut batch);
        }
        // Whatever makes the group stop has closed it.
        if shared.closed.get() {
            self.reborrow().stop_if_it_must();
        }
        batch.end(cx);
    }

    /// The same poll, for one of the ways it seldom takes: so it need not be there in memory for the one it mostly does.
    #[inline]
    fn reborrow(&mut self) -> Polling<'_, 'env, R, E, B> {
        Polling {
            body: self.body.as_mut(),
            shared: self.shared,
            task: self.task,
            output: self.output,
            failures: self.failures,
        }
    }

    /// Nobody is left: the group's own end, as soon as all is cleaned up.
    #[cold]
    fn end(self, scope: &Scope, cx: &Context<'_>) -> Poll<Result<R, GroupError<E>>> {
        self.shared.closed.set(true);
        ready!(scope.poll_done(cx));
        let failures = self.failures;
        if let Some((payload, chain)) = failures.panic.take() {
            note(&*payload, chain);
            resume_unwind(payload);
        }
        let errors = ErrorGroup::from_vec(mem::take(&mut failures.errors));
        Poll::Ready(match (errors, self.output.take()) {
            (Some(errors), _) => Err(GroupError::Failed(errors)),
            (None, Some(output)) if !failures.cut => Ok(output),
            _ => Err(GroupError::Cancelled),
        })
    }

    #[cold]
    fn stop_if_it_must(self) {
        let failures = &*self.failures;
        let must =
            self.shared.cancelled.get() || !failures.errors.is_empty() || failures.panic.is_some();
        if must && !failures.stopping {
            self.stop();
        }
    }

    /// Cancels the body, then the children in the order of spawning. Each is polled once, which drops it; from then on it is
    /// woken by its own cleanup.
    fn stop(mut self) {
        self.failures.stopping = true;
        // The body came first of all.
        for place in self.shared.crowd.members() {
            // It may have left meanwhile, and somebody else have its place.
            let Some(place) = self.shared.crowd.call(place.key()) else {
                continue;
            };
            match &mut *place.member() {
                Some(child) => child.as_mut().cancel(),
                None => {
                    if let Some(body) = self.body.as_mut().as_pin_mut() {
                        body.cancel();
                    }
                }
            }
            let turn = || context::with_member(&*place, || self.give_turn(&place));
            if let Err(payload) = catch_unwind(AssertUnwindSafe(turn)) {
                self.reborrow().end_interrupted(Some(place), payload);
            }
        }
    }

    /// The rest of a batch in which somebody has panicked.
    #[cold]
    fn go_on_after(
        mut self,
        payload: Box<dyn Any + Send>,
        batch: &mut Batch<'_, Boxed<'env, E>, About>,
    ) {
        let mut caught = Err(payload);
        while let Err(payload) = caught {
            let whose = batch.turn();
            self.reborrow().end_interrupted(whose, payload);
            caught = catch_unwind(AssertUnwindSafe(|| {
                context::with_member(&Turns(&self.shared.crowd), || {
                    let next = batch.next();
                    self.give_turns(next, batch);
                });
            }));
        }
    }

    /// Part of the loop that wakes go through, whoever else calls it.
    #[inline(always)]
    fn give_turns(
        &mut self,
        first: Option<Rc<Seat<'env, E>>>,
        batch: &mut Batch<'_, Boxed<'env, E>, About>,
    ) {
        let mut turn = first;
        while let Some(place) = turn {
            self.give_turn(&place);
            turn = batch.next();
        }
    }

    #[inline(always)]
    fn give_turn(&mut self, place: &Rc<Seat<'env, E>>) {
        if let Some(header) = self.task {
            header.unlabel();
        }
        let polled = {
            let mut cx = place.context();
            match &mut *place.member() {
                Some(child) => child.as_mut().poll(&mut cx),
                None => poll_body(self.body.as_mut(), &mut cx, self.output),
            }
        };
        match polled {
            Poll::Pending => {
                let waits = self.task.map_or((Waits::NOTHING, 0), Header::waits);
                if place.about().is_body() {
                    let known = waits.0 != Waits::NOTHING;
                    let waits = if known { waits } else { (Waits::CHILDREN, 1) };
                    self.shared.body_waits.set(waits);
                } else {
                    place.about().note(waits);
                }
            }
            Poll::Ready(ended) => self.reborrow().leave(place, Ok(ended)),
        }
    }

    /// A panic has come out of a turn.
    #[cold]
    fn end_interrupted(mut self, whose: Option<Rc<Seat<'env, E>>>, payload: Box<dyn Any + Send>) {
        match whose.and_then(|place| self.shared.crowd.call(place.key())) {
            Some(place) => self.leave(&place, Err(payload)),
            None => {
                self.shared.closed.set(true);
                self.panicked(payload, None);
            }
        }
    }

    #[cold]
    fn leave(mut self, place: &Seat<'env, E>, ended: thread::Result<Ended<E>>) {
        // Before anything else of theirs runs: no more children from here on.
        if !matches!(ended, Ok(Ended::Well | Ended::Cancelled)) {
            self.shared.closed.set(true);
        }
        self.shared.crowd.release(place);
        let who = place.who();
        let gone = place.member().take();
        // Inside the group's scope: what it leaves, the group waits for.
        let dropped = catch_unwind(AssertUnwindSafe(|| match gone {
            Some(child) => context::with_member(&who, || drop(child)),
            None => {
                self.shared.body.set(false);
                self.shared.body_waits.set((Waits::CHILDREN, 0));
                self.body.set(None);
            }
        }));
        match ended {
            Ok(Ended::Well) => {}
            Ok(Ended::Cancelled) => self.failures.cut |= self.failures.stopping,
            Ok(Ended::Failed(error)) => self.failures.errors.push(error),
            Err(payload) => self.panicked(payload, who.clone()),
        }
        if let Err(payload) = dropped {
            self.shared.closed.set(true);
            self.panicked(payload, who);
        }
    }

    fn panicked(&mut self, payload: Box<dyn Any + Send>, who: Option<ChildInfo>) {
        let chain = chain_of(&*payload, who);
        if self.failures.panic.is_none() {
            self.failures.panic = Some((payload, chain));
        } else {
            // Only one can go on in the caller.
            report_panic(payload, chain);
        }
    }
}

#[cold]
fn poll_body<R, E, B>(
    body: Pin<&mut Option<Cancellable<B>>>,
    cx: &mut Context<'_>,
    into: &mut Option<R>,
) -> Poll<Ended<E>>
where
    B: Future<Output = Result<R, E>>,
{
    let Some(body) = body.as_pin_mut() else {
        unreachable!("the body has a place in the crowd until it has ended");
    };
    Poll::Ready(match ready!(body.poll(cx)) {
        Some(Ok(output)) => {
            *into = Some(output);
            Ended::Well
        }
        Some(Err(error)) => Ended::Failed(error),
        None => Ended::Cancelled,
    })
}

/// Owns the children: when this goes, so do they.
struct Owner<'env, E> {
    shared: Rc<Shared<'env, E>>,
    /// What is dropped in here without being cancelled, the group waits for at its end.
    scope: Scope,
}

impl<E> Drop for Owner<'_, E> {
    fn drop(&mut self) {
        self.shared.closed.set(true);
        self.shared.body.set(false);
        let children = self.shared.crowd.clear();
        let mut scope = None;
        for place in children {
            let Some(child) = place.member().take() else {
                continue;
            };
            let who = place.who();
            // A scope for each, so that they clean up side by side; the next one takes over what was not needed.
            let own: Scope = scope.take().unwrap_or_default();
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                own.enter(|| context::with_member(&who, || drop(child)));
            }));
            if let Err(payload) = dropped {
                let chain = chain_of(&*payload, who);
                report_panic(payload, chain);
            }
            if own.is_done() {
                scope = Some(own);
            } else {
                leave(Box::pin(own.done()));
            }
        }
        if !self.scope.is_done() {
            leave(Box::pin(self.scope.done()));
        }
    }
}

impl<R, E, B> fmt::Debug for Running<'_, R, E, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("stopping", &self.failures.stopping)
            .finish_non_exhaustive()
    }
}
