//! Sleeping.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rondel_executor::Waits;

use crate::current;
use crate::state::State;
use crate::time::FAR;
use crate::timer::{Action, TimerKey};

/// Waits for `delay` on the running loop's clock, never shorter. A delay of zero yields once. asyncio: `sleep`.
///
/// The time counts from this call if a loop is running, else from the first poll. Precision is that of the system's timer
/// (tens of microseconds); timers that crowd within some 65 µs share a wake-up, at the end of it. `Duration::MAX` is for ever.
///
/// # Cancel safety
/// Dropped, it disarms its timer; nothing is left behind.
///
/// # Panics
/// When polled, if no loop is running on this thread.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let before = Instant::now();
/// rondel_loop::run(rondel_loop::sleep(Duration::from_micros(300)))?;
/// assert!(before.elapsed() >= Duration::from_micros(300));
/// # Ok::<(), rondel_loop::RunError>(())
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    Sleep {
        deadline: match current::get("sleep") {
            Ok(local) => Deadline::At(after(local.time(), delay)),
            Err(_) => Deadline::After(delay),
        },
        state: Progress::Created,
    }
}

/// Waits until `deadline` on the loop's clock. One that has passed yields once. See [`sleep`].
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline: Deadline::At(deadline),
        state: Progress::Created,
    }
}

/// `delay` after `now`; what cannot be expressed is far enough.
pub(super) fn after(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or_else(|| now + FAR)
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: Deadline,
    state: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Deadline {
    After(Duration),
    At(Instant),
}

enum Progress {
    Created,
    Armed(Rc<State>, TimerKey),
    /// The deadline had passed when it was first polled: it lets the others go first once.
    Yielding,
    Done,
}

impl Sleep {
    /// When it ends; `None` if that is only known once it is polled.
    pub fn deadline(&self) -> Option<Instant> {
        match self.deadline {
            Deadline::At(deadline) => Some(deadline),
            Deadline::After(_) => None,
        }
    }

    /// Whether the deadline has come and been noticed.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, Progress::Done)
    }

    /// Moves the deadline, also of one that has elapsed: it then sleeps again.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = Deadline::At(deadline);
        if let Progress::Armed(state, key) = &self.state
            && state.timers.reschedule(*key, deadline)
        {
            return;
        }
        self.state = Progress::Created;
    }

    /// Arms the timer at the first poll.
    fn begin(&mut self, cx: &Context<'_>) -> Poll<()> {
        let local = current::expect("sleep");
        let now = local.time();
        let deadline = match self.deadline {
            Deadline::At(deadline) => deadline,
            Deadline::After(delay) => after(now, delay),
        };
        self.deadline = Deadline::At(deadline);
        if deadline <= now {
            self.state = Progress::Yielding;
            cx.waker().wake_by_ref();
        } else {
            let state = Rc::clone(local.state());
            let key = state
                .timers
                .insert(deadline, Action::Wake(cx.waker().clone()));
            self.state = Progress::Armed(state, key);
            Waits::TIME.label(0);
        }
        Poll::Pending
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            Progress::Created => return self.begin(cx),
            Progress::Armed(state, key) => {
                if state.timers.refresh(*key, cx.waker()) {
                    Waits::TIME.label(0);
                    return Poll::Pending;
                }
            }
            Progress::Yielding | Progress::Done => {}
        }
        self.state = Progress::Done;
        Poll::Ready(())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Progress::Armed(state, key) = &self.state {
            state.timers.remove(*key);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("elapsed", &self.is_elapsed())
            .finish()
    }
}
