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

use super::board;
use super::info::ChildInfo;
use super::lineage::{Seat, chain_of, note};
use super::member::Ended;
use super::{Boxed, Shared, TaskGroup};
use crate::cancellable::Cancellable;
use crate::cleanup::{Scope, leave};
use crate::context;
use crate::crowd::{Key, Turn};
use crate::error_group::{ErrorGroup, GroupError};
use crate::lost::Lost;
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
            Lost::report_panic(payload, chain);
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
        let mut this = self.project();
        let Owner { shared, scope } = &*this.group;
        let mut poll = Polling {
            body: this.body.as_mut(),
            shared,
            output: this.output,
            failures: this.failures,
        };
        scope.enter(|| poll.run_batch(cx));
        if !shared.crowd.is_empty() {
            Waits::CHILDREN.label(0);
            board::post(this.alive, &shared.crowd);
            return Poll::Pending;
        }
        shared.closed.set(true);
        ready!(scope.poll_done(cx));
        let failures = this.failures;
        if let Some((payload, chain)) = failures.panic.take() {
            note(&*payload, chain);
            resume_unwind(payload);
        }
        Poll::Ready(
            match (
                ErrorGroup::from_vec(mem::take(&mut failures.errors)),
                this.output.take(),
            ) {
                (Some(errors), _) => Err(GroupError::Failed(errors)),
                (None, Some(output)) if !failures.cut => Ok(output),
                _ => Err(GroupError::Cancelled),
            },
        )
    }
}

/// One poll of the group.
struct Polling<'p, 'env, R, E, B> {
    body: Pin<&'p mut Option<Cancellable<B>>>,
    shared: &'p Shared<'env, E>,
    output: &'p mut Option<R>,
    failures: &'p mut Failures<E>,
}

impl<'p, 'env, R, E: 'env, B> Polling<'p, 'env, R, E, B>
where
    B: Future<Output = Result<R, E>>,
{
    fn run_batch(&mut self, cx: &Context<'_>) {
        let crowd = &self.shared.crowd;
        // Only those that are ready now, and all of them, whatever fails meanwhile: see them fail together.
        let mut batch = crowd.batch(cx);
        while let Some(turn) = batch.next() {
            self.give_turn(turn);
        }
        if !self.failures.stopping && self.must_stop() {
            self.stop();
        }
        batch.end(cx);
    }

    fn must_stop(&self) -> bool {
        self.shared.cancelled.get()
            || !self.failures.errors.is_empty()
            || self.failures.panic.is_some()
    }

    /// Cancels the body, then the children in the order of spawning. Each is polled once, which drops it; from then on it is
    /// woken by its own cleanup.
    fn stop(&mut self) {
        self.failures.stopping = true;
        let crowd = &self.shared.crowd;
        // The body came first of all, and so its key does.
        for key in crowd.keys() {
            if let Some(mut turn) = crowd.call(key) {
                match &mut turn.member {
                    Some(child) => child.as_mut().cancel(),
                    None => {
                        if let Some(body) = self.body.as_mut().as_pin_mut() {
                            body.cancel();
                        }
                    }
                }
                self.give_last_turn(turn);
            }
        }
    }

    #[inline(always)]
    fn give_turn(&mut self, mut turn: Turn<Option<Boxed<'env, E>>>) {
        match self.poll(&mut turn) {
            None => {
                let waits = context::waits();
                self.shared
                    .crowd
                    .keep_noting(turn, |about| (about.waits, about.waits_on) = waits);
            }
            Some(ended) => self.leave(turn, ended),
        }
    }

    /// The same apart, so that the one above is part of the loop that wakes go through.
    #[cold]
    fn give_last_turn(&mut self, turn: Turn<Option<Boxed<'env, E>>>) {
        self.give_turn(turn);
    }

    /// How it ended, if it did.
    #[inline(always)]
    fn poll(
        &mut self,
        turn: &mut Turn<Option<Boxed<'env, E>>>,
    ) -> Option<thread::Result<Ended<E>>> {
        Waits::NOTHING.label(0);
        let seat = self.seat(turn.key);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            context::with_member(&seat, || self.poll_member(turn))
        }));
        match polled {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(ended)) => Some(Ok(ended)),
            Err(payload) => Some(Err(payload)),
        }
    }

    #[inline]
    fn poll_member(&mut self, turn: &mut Turn<Option<Boxed<'env, E>>>) -> Poll<Ended<E>> {
        let (member, mut cx) = turn.parts();
        match member {
            Some(child) => child.as_mut().poll(&mut cx),
            None => poll_body(self.body.as_mut(), &mut cx, self.output),
        }
    }

    fn seat(&self, key: Key) -> Seat<'p, Option<Boxed<'env, E>>> {
        let crowd = &self.shared.crowd;
        Seat { crowd, key }
    }

    fn leave(&mut self, turn: Turn<Option<Boxed<'env, E>>>, ended: thread::Result<Ended<E>>) {
        // Before anything else of theirs runs: no more children from here on.
        if !matches!(ended, Ok(Ended::Well | Ended::Cancelled)) {
            self.shared.closed.set(true);
        }
        let (gone, about) = self.shared.crowd.release_with(turn);
        let who = ChildInfo::of(about);
        // Inside the group's scope: what it leaves, the group waits for.
        let dropped = catch_unwind(AssertUnwindSafe(|| match gone {
            Some(child) => context::with_member(&who, || drop(child)),
            None => {
                self.shared.body.set(false);
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

    #[cold]
    fn panicked(&mut self, payload: Box<dyn Any + Send>, who: Option<ChildInfo>) {
        let chain = chain_of(&*payload, who);
        if self.failures.panic.is_none() {
            self.failures.panic = Some((payload, chain));
        } else {
            // Only one can go on in the caller.
            Lost::report_panic(payload, chain);
        }
    }
}

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
        let children = self.shared.crowd.clear_with();
        let mut scope = None;
        for (child, about) in children {
            let Some(child) = child else { continue };
            let who = ChildInfo::of(about);
            // A scope for each, so that they clean up side by side; the next one takes over what was not needed.
            let own: Scope = scope.take().unwrap_or_default();
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                own.enter(|| context::with_member(&who, || drop(child)));
            }));
            if let Err(payload) = dropped {
                let chain = chain_of(&*payload, who);
                Lost::report_panic(payload, chain);
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
