//! How long a connection may take for its next head, watched without a timer for each request.
//!
//! hyper asks for a sleep whenever it waits for a head, and drops it when the head is there: with every request, though hardly any
//! ever ends. So that sleep is only a note of its deadline. The connection's one timer is looked after by whoever drives it: it is
//! armed at the first deadline, finds when it fires that there is a later one, and is armed for that.
//!
//! ```text
//!   hyper ── sleep until d ──> Patience: the earliest moment that matters ──> Watched: one timer, mostly left alone
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use pin_project_lite::pin_project;
use rondel_loop::time::{Sleep as TimeSleep, sleep_until};

use crate::timer::LoopTimer;

/// Nothing is waited for.
const NEVER: u64 = u64::MAX;

/// What hyper is waiting for at a connection: its timer.
#[derive(Clone)]
pub(super) struct Patience(Arc<Watch>);

struct Watch {
    /// What deadlines are counted from.
    begin: Instant,
    /// In nanoseconds from there. Touched on the loop's thread only; atomic since hyper asks for `Send + Sync`.
    deadline: AtomicU64,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self(Arc::new(Watch {
            begin: LoopTimer.now(),
            deadline: AtomicU64::new(NEVER),
        }))
    }

    /// Drives `connection`, and wakes it when its deadline has come.
    pub(super) fn watch<C: Future>(&self, connection: C) -> Watched<C> {
        Watched {
            connection,
            watch: Arc::clone(&self.0),
            timer: None,
        }
    }
}

impl Watch {
    fn since_begin(&self, deadline: Instant) -> u64 {
        let nanos = deadline.saturating_duration_since(self.begin).as_nanos();
        u64::try_from(nanos).unwrap_or(NEVER)
    }

    /// What is waited for now.
    fn deadline(&self) -> Option<Instant> {
        match self.deadline.load(Ordering::Relaxed) {
            NEVER => None,
            nanos => self.begin.checked_add(Duration::from_nanos(nanos)),
        }
    }
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(LoopTimer.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Noted {
            deadline,
            watch: Arc::clone(&self.0),
        })
    }

    fn now(&self) -> Instant {
        LoopTimer.now()
    }
}

/// A sleep of hyper's: it says when it ends, and does not wake by itself.
struct Noted {
    deadline: Instant,
    watch: Arc<Watch>,
}

impl Sleep for Noted {}

impl Future for Noted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // hyper polls it in the connection's own task, which looks at the note right afterwards.
        let nanos = self.watch.since_begin(self.deadline);
        if self.watch.deadline.load(Ordering::Relaxed) != nanos {
            self.watch.deadline.store(nanos, Ordering::Relaxed);
            return Poll::Pending;
        }
        // Asked again about the same: only then the clock is worth a look.
        if LoopTimer.now() < self.deadline {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.watch.deadline.store(NEVER, Ordering::Relaxed);
    }
}

pin_project! {
    /// A connection, and the timer for what it is waiting for.
    pub(super) struct Watched<C> {
        #[pin]
        connection: C,
        watch: Arc<Watch>,
        // Armed for a deadline that was noted once; the present one is mostly later.
        timer: Option<Pin<Box<TimeSleep>>>,
    }
}

impl<C> Watched<C> {
    /// The connection inside.
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for Watched<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        // First, so that what the connection waits for is what is said to be waited for.
        let fired = this
            .timer
            .as_mut()
            .is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if let Poll::Ready(output) = this.connection.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        let Some(deadline) = this.watch.deadline() else {
            return Poll::Pending;
        };
        let is_early =
            |timer: &Pin<Box<TimeSleep>>| timer.deadline().is_some_and(|at| at <= deadline);
        if fired || !this.timer.as_ref().is_some_and(is_early) {
            let timer = this
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            timer.as_mut().get_mut().reset(deadline);
            if timer.as_mut().poll(cx).is_ready() {
                // Due already: hyper looks at the clock when it is asked again.
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience")
            .field("deadline", &self.0.deadline())
            .finish_non_exhaustive()
    }
}
