//! Cancelling many things at once, from any thread.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

#[cfg(rondel_loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(rondel_loom))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use crate::cancellable::Cancellable;
use crate::wait::Waits;

/// A request to stop that any number of tasks, on any thread, can see and wait for. `Send + Sync`; clones are the same token.
///
/// Tokens form a tree: cancelling one cancels its [children](CancelToken::child), and theirs, but not its parent. A cancelled
/// token stays so. Hand one to whatever should end together: a server's connections, a request and the look-ups made for it.
///
/// asyncio has no counterpart; where a program there keeps a set of tasks to call `cancel` on, a token does. Other names:
/// .NET's and tokio-util's `CancellationToken`, Go's `context.Context`.
///
/// ```
/// use rondel_executor::{CancelToken, Executor};
/// use std::future::pending;
///
/// let executor = Executor::new();
/// let token = CancelToken::new();
/// let child = token.child();
/// let polite = executor.spawn(async move { child.run(pending::<()>()).await });
/// executor.run_until_idle();
///
/// std::thread::spawn(move || token.cancel()).join().unwrap();
/// executor.run_until_idle();
/// assert_eq!(polite.into_result().unwrap().unwrap(), None);
/// ```
#[doc(alias = "CancellationToken")]
#[doc(alias = "stop_token")]
#[derive(Clone, Default)]
pub struct CancelToken {
    node: Arc<Node>,
}

#[derive(Default)]
struct Node {
    /// Set under the lock, so that whoever looks while holding it knows whether `links` will still be gone through.
    cancelled: AtomicBool,
    links: Mutex<Links>,
    parent: Option<Parent>,
}

struct Parent {
    node: Arc<Node>,
    /// The child's number there.
    number: u64,
}

/// What hangs on a token. Taken whole when it is cancelled, and empty from then on.
#[derive(Default)]
struct Links {
    next: u64,
    /// Weak, and removed by the child's own end: a long-lived parent does not grow.
    children: BTreeMap<u64, Weak<Node>>,
    waiters: BTreeMap<u64, Waker>,
}

impl Links {
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

impl Node {
    /// Nothing foreign runs under the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its own links have been taken.
    fn is_done(&self) -> bool {
        // Acquire: what the canceller did before is seen by whoever stops because of it.
        self.cancelled.load(Ordering::Acquire)
    }

    /// Whether it, or one above it, is cancelled. Upwards, since a cancellation that another thread has begun may not have
    /// come down here yet.
    fn is_cancelled(&self) -> bool {
        let mut node = self;
        loop {
            if node.is_done() {
                return true;
            }
            match &node.parent {
                Some(parent) => node = &parent.node,
                None => return false,
            }
        }
    }
}

/// Takes it off its parent's list. Upwards in a loop: a chain of only children would overflow the stack otherwise.
impl Drop for Node {
    fn drop(&mut self) {
        let mut above = self.parent.take();
        while let Some(Parent { node, number }) = above {
            node.lock().children.remove(&number);
            above = Arc::into_inner(node).and_then(|mut node| node.parent.take());
        }
    }
}

impl CancelToken {
    /// A token that nobody has cancelled, and no child of any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the token and everything below it. Those who wait are woken once all of them are cancelled.
    ///
    /// From any thread. `false` if it was cancelled before.
    ///
    /// # Panics
    /// If a waker does, after the others have been woken.
    pub fn cancel(&self) -> bool {
        let mut first = false;
        let mut wakers = Vec::new();
        let mut left = vec![Arc::clone(&self.node)];
        while let Some(node) = left.pop() {
            let mut links = node.lock();
            // Release: pairs with `is_done`.
            if node.cancelled.swap(true, Ordering::AcqRel) {
                // Whoever did it goes through the links.
                continue;
            }
            first |= Arc::ptr_eq(&node, &self.node);
            let taken = std::mem::take(&mut *links);
            drop(links);
            wakers.extend(taken.waiters.into_values());
            left.extend(
                taken
                    .children
                    .into_values()
                    .filter_map(|child| child.upgrade()),
            );
        }
        wake_all(wakers);
        first
    }

    /// Whether the token, or one above it, is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// A token that is cancelled with this one, and can be cancelled by itself. Born cancelled if this one is.
    ///
    /// It costs its parent an entry until its last clone is dropped.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut links = self.node.lock();
        let number = links.number();
        let node = Arc::new(Node {
            cancelled: AtomicBool::new(self.node.is_done()),
            links: Mutex::default(),
            parent: Some(Parent {
                node: Arc::clone(&self.node),
                number,
            }),
        });
        if !self.node.is_done() {
            links.children.insert(number, Arc::downgrade(&node));
        }
        drop(links);
        Self { node }
    }

    /// Waits until the token is cancelled. Any number may wait, on any thread.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing, and leaves nothing behind.
    ///
    /// ```
    /// # use rondel_executor::{CancelToken, Executor};
    /// let executor = Executor::new();
    /// let token = CancelToken::new();
    /// let waiting = executor.spawn(token.cancelled());
    /// executor.run_until_idle();
    /// assert!(!waiting.is_finished());
    /// token.cancel();
    /// executor.run_until_idle();
    /// assert!(waiting.is_finished());
    /// ```
    pub fn cancelled(&self) -> WhenCancelled {
        WhenCancelled {
            token: self.clone(),
            number: None,
        }
    }

    /// Runs `future` until the token is cancelled: `Some` of its output, or `None` once it has been dropped and what it left
    /// to clean up has been cleaned up. A future that has shielded itself is dropped when the shield ends, and if it
    /// finishes first, its output stands; see [`Cancellable`].
    ///
    /// Whether the token is cancelled is looked at before each poll, so of a token that is cancelled already the future is
    /// not begun.
    ///
    /// # Cancel safety
    /// Dropped, it drops the future within.
    ///
    /// ```
    /// # use rondel_executor::{CancelToken, Executor};
    /// let executor = Executor::new();
    /// let token = CancelToken::new();
    /// let done = token.run(async { "in time" });
    /// let task = executor.spawn(done);
    /// executor.run_until_idle();
    /// assert_eq!(task.into_result().unwrap().unwrap(), Some("in time"));
    /// ```
    #[doc(alias = "run_until_cancelled")]
    pub fn run<F: Future>(&self, future: F) -> UntilCancelled<F> {
        UntilCancelled {
            future: Cancellable::new(future),
            cancelled: self.cancelled(),
            asked: false,
        }
    }

    /// Cancels the token when the guard is dropped.
    ///
    /// ```
    /// # use rondel_executor::CancelToken;
    /// let token = CancelToken::new();
    /// drop(token.drop_guard());
    /// assert!(token.is_cancelled());
    /// ```
    pub fn drop_guard(&self) -> CancelOnDrop {
        CancelOnDrop {
            token: self.clone(),
            armed: true,
        }
    }
}

fn wake_all(wakers: Vec<Waker>) {
    let mut panicked: Option<Box<dyn Any + Send>> = None;
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            panicked.get_or_insert(payload);
        }
    }
    if let Some(payload) = panicked {
        resume_unwind(payload);
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (children, waiters) = {
            let links = self.node.lock();
            (links.children.len(), links.waiters.len())
        };
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .field("children", &children)
            .field("waiters", &waiters)
            .finish()
    }
}

/// Ends when a token is cancelled; see [`CancelToken::cancelled`].
#[must_use = "futures do nothing unless awaited"]
pub struct WhenCancelled {
    token: CancelToken,
    /// Where its waker is kept: one, however often it is polled.
    number: Option<u64>,
}

impl WhenCancelled {
    fn poll_cancelled(&mut self, cx: &Context<'_>) -> Poll<()> {
        let node = &self.token.node;
        let mut fresh: Option<Waker> = None;
        loop {
            if node.is_cancelled() {
                return Poll::Ready(());
            }
            let mut links = node.lock();
            if node.is_done() {
                return Poll::Ready(());
            }
            let kept = self
                .number
                .and_then(|number| links.waiters.get(&number))
                .is_some_and(|waker| waker.will_wake(cx.waker()));
            if kept {
                return Poll::Pending;
            }
            // Outside the lock: cloning and dropping a waker is somebody else's code.
            let Some(waker) = fresh.take() else {
                drop(links);
                fresh = Some(cx.waker().clone());
                continue;
            };
            // The cancellation goes through these links after us, so it finds the waker.
            let number = *self.number.get_or_insert_with(|| links.number());
            let before = links.waiters.insert(number, waker);
            drop(links);
            drop(before);
            return Poll::Pending;
        }
    }
}

impl Future for WhenCancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.poll_cancelled(cx);
        if polled.is_pending() {
            Waits::CANCELLATION.label(0);
        }
        polled
    }
}

impl Drop for WhenCancelled {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // Bound: dropping a waker is foreign code, and the lock goes first.
            let waker = self.token.node.lock().waiters.remove(&number);
            drop(waker);
        }
    }
}

impl fmt::Debug for WhenCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhenCancelled")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// A future that a token can end; see [`CancelToken::run`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct UntilCancelled<F> {
        #[pin]
        future: Cancellable<F>,
        cancelled: WhenCancelled,
        asked: bool,
    }
}

impl<F: Future> Future for UntilCancelled<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !*this.asked && this.cancelled.poll_cancelled(cx).is_ready() {
            *this.asked = true;
            this.future.as_mut().cancel();
        }
        this.future.poll(cx)
    }
}

impl<F> fmt::Debug for UntilCancelled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilCancelled")
            .field("token", &self.cancelled.token)
            .finish_non_exhaustive()
    }
}

/// Cancels a token when it is dropped; see [`CancelToken::drop_guard`].
#[doc(alias = "DropGuard")]
#[derive(Debug)]
#[must_use = "dropped at once, it cancels at once"]
pub struct CancelOnDrop {
    token: CancelToken,
    armed: bool,
}

impl CancelOnDrop {
    /// Takes the guard away without cancelling.
    pub fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.armed {
            self.token.cancel();
        }
    }
}
