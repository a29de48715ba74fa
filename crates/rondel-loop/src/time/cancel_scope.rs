//! A region of code that can be cancelled as one: by a deadline, from elsewhere on the thread, or both.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use rondel_executor::{Cancellable, shielded};

use super::sleep::{Sleep, after, sleep_until};
use crate::current;

/// Cancels what is run inside it: when its deadline comes, or when [`cancel`](CancelScope::cancel) is called.
///
/// Nothing is spawned. [`run`](CancelScope::run) polls the future it is given, in place, and when the scope is cancelled drops
/// it where it is suspended, waits for what it left to clean up, and says why. Clones are handles to the same scope: keep one to
/// cancel, or to move the deadline, from outside. For one thread; from others, take a
/// `CancelToken`.
///
/// A scope that is [`shielded`](CancelScope::shielded) holds off cancellation from around it while something runs inside;
/// its own deadline and `cancel` still work. trio: `CancelScope`, and unlike there a cancelled future is gone at
/// its present point of suspension: there is nothing inside that could catch it and go on.
///
/// ```
/// use rondel_loop::{sleep, spawn, CancelScope, ScopeCancelled};
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// let scope = CancelScope::new();
/// let handle = scope.clone();
/// spawn(async move { handle.cancel() }).detach();
/// let outcome = scope.run(sleep(Duration::from_secs(3600))).await;
/// assert_eq!(outcome, Err(ScopeCancelled::Requested));
///
/// let scope = CancelScope::after(Duration::from_micros(1));
/// let outcome = scope.run(sleep(Duration::from_secs(3600))).await;
/// assert_eq!(outcome, Err(ScopeCancelled::Expired));
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct CancelScope(Rc<State>);

struct State {
    deadline: Cell<Option<Instant>>,
    /// Why it was cancelled, once it is.
    cause: Cell<Option<ScopeCancelled>>,
    shield: Cell<bool>,
    inside: RefCell<Inside>,
}

/// The futures that are run inside, each with a place that it keeps until it ends.
#[derive(Default)]
struct Inside {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// Why what ran inside a [`CancelScope`] did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeCancelled {
    /// The deadline of the scope came.
    Expired,
    /// [`CancelScope::cancel`] was called.
    Requested,
}

impl fmt::Display for ScopeCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the deadline of the cancel scope was reached",
            Self::Requested => "the cancel scope was cancelled",
        })
    }
}

impl Error for ScopeCancelled {}

impl From<ScopeCancelled> for std::io::Error {
    fn from(cancelled: ScopeCancelled) -> Self {
        let kind = match cancelled {
            ScopeCancelled::Expired => std::io::ErrorKind::TimedOut,
            ScopeCancelled::Requested => std::io::ErrorKind::Interrupted,
        };
        Self::new(kind, cancelled)
    }
}

impl Default for CancelScope {
    fn default() -> Self {
        Self::new()
    }
}

impl CancelScope {
    /// A scope without a deadline.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// A scope that is cancelled when `limit` has passed from now, on the running loop's clock.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    #[track_caller]
    pub fn after(limit: Duration) -> Self {
        let now = current::expect("CancelScope::after").time();
        Self::at(after(now, limit))
    }

    /// A scope that is cancelled at `deadline` on the loop's clock.
    pub fn at(deadline: Instant) -> Self {
        Self::with(Some(deadline))
    }

    fn with(deadline: Option<Instant>) -> Self {
        Self(Rc::new(State {
            deadline: Cell::new(deadline),
            cause: Cell::new(None),
            shield: Cell::new(false),
            inside: RefCell::default(),
        }))
    }

    /// Has the scope hold off cancellation from around it, for as long as something that is run from now on runs inside; see
    /// [`shielded`](rondel_executor::shielded).
    #[must_use]
    pub fn shielded(self) -> Self {
        self.0.shield.set(true);
        self
    }

    /// Cancels what runs inside, and whatever is run in it later. `false` if the scope was cancelled before; the first cause
    /// stands.
    pub fn cancel(&self) -> bool {
        let first = self.0.cause.get().is_none();
        if first {
            self.0.cancel(ScopeCancelled::Requested);
        }
        first
    }

    /// Why the scope was cancelled; `None` while it is not. A deadline counts once something inside has noticed it.
    pub fn cancelled(&self) -> Option<ScopeCancelled> {
        self.0.cause.get()
    }

    /// When it is cancelled at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    /// Moves the deadline, or takes it away. `false`, and without effect, if the scope was cancelled before.
    pub fn set_deadline(&self, deadline: Option<Instant>) -> bool {
        if self.0.cause.get().is_some() {
            return false;
        }
        self.0.deadline.set(deadline);
        self.0.wake_inside();
        true
    }

    /// Runs `future` inside the scope, in place. In a scope that is cancelled already it is dropped, not begun. A scope may
    /// run several futures, at once or one after the other; cancelling it cancels all.
    ///
    /// # Errors
    /// [`ScopeCancelled`] says why the future was dropped. If it finishes in the same turn, its result wins.
    ///
    /// # Cancel safety
    /// Dropped, it drops the future within.
    ///
    /// # Panics
    /// When polled, if the scope has a deadline and no loop is running on this thread.
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, ScopeCancelled> {
        let run = pin!(Run {
            inner: Cancellable::new(future),
            place: Place {
                state: Rc::clone(&self.0),
                number: None,
            },
            sleep: None,
        });
        if self.0.shield.get() {
            shielded(run).await
        } else {
            run.await
        }
    }
}

impl State {
    fn cancel(&self, cause: ScopeCancelled) {
        self.cause.set(Some(cause));
        self.wake_inside();
    }

    fn wake_inside(&self) {
        // One at a time: a waker may come back here, and futures may leave meanwhile.
        let mut next = 0;
        loop {
            let waker = {
                let inside = self.inside.borrow();
                let Some(place) = inside.places.get(next) else {
                    return;
                };
                place.clone()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
            next += 1;
        }
    }
}

/// A future's place among those inside.
struct Place {
    state: Rc<State>,
    number: Option<usize>,
}

impl Place {
    fn take(&mut self, waker: &Waker) {
        let known = self.number.is_some_and(|number| {
            let inside = self.state.inside.borrow();
            inside.places[number]
                .as_ref()
                .is_some_and(|known| known.will_wake(waker))
        });
        if known {
            return;
        }
        // Cloned, and the one before dropped, outside the borrow: both are the waker's own code.
        let waker = Some(waker.clone());
        let before = {
            let mut inside = self.state.inside.borrow_mut();
            let number = match self.number.or_else(|| inside.free.pop()) {
                Some(number) => number,
                None => {
                    inside.places.push(None);
                    inside.places.len() - 1
                }
            };
            self.number = Some(number);
            std::mem::replace(&mut inside.places[number], waker)
        };
        drop(before);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let waker = {
            let mut inside = self.state.inside.borrow_mut();
            inside.free.push(number);
            inside.places[number].take()
        };
        drop(waker);
    }
}

pin_project! {
    struct Run<F> {
        #[pin]
        inner: Cancellable<F>,
        place: Place,
        // Armed when there is a deadline.
        sleep: Option<Sleep>,
    }
}

impl<F: Future> Run<F> {
    /// Whether the deadline has come, as it stands now.
    fn is_due(sleep: &mut Option<Sleep>, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = deadline else {
            *sleep = None;
            return false;
        };
        match sleep {
            Some(armed) if armed.deadline() == Some(deadline) => {}
            Some(armed) => armed.reset(deadline),
            None => *sleep = Some(sleep_until(deadline)),
        }
        sleep
            .as_mut()
            .is_some_and(|sleep| sleep.poll_quietly(cx).is_ready())
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, ScopeCancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let state = Rc::clone(&this.place.state);
        if !this.inner.is_cancelled() {
            if state.cause.get().is_none() {
                // First, so that a `cancel` from inside the poll finds it.
                this.place.take(cx.waker());
                if let Poll::Ready(Some(output)) = this.inner.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
            }
            if state.cause.get().is_none() {
                if !Self::is_due(this.sleep, state.deadline.get(), cx) {
                    return Poll::Pending;
                }
                state.cancel(ScopeCancelled::Expired);
            }
            this.inner.as_mut().cancel();
        }
        this.inner.poll(cx).map(|output| match output {
            Some(output) => Ok(output),
            None => Err(state.cause.get().unwrap_or(ScopeCancelled::Requested)),
        })
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelScope")
            .field("deadline", &self.deadline())
            .field("cancelled", &self.cancelled())
            .field("shielded", &self.0.shield.get())
            .finish_non_exhaustive()
    }
}
