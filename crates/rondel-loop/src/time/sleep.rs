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
use crate::timer::TimerKey;
use crate::timer::timers::FAR;

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
#[inline]
pub fn sleep(delay: Duration) -> Sleep {
    current::with(|state| match state {
        Some(state) => Sleep {
            deadline: Deadline::At(after(state.now(), delay)),
            progress: if delay.is_zero() {
                Progress::Yielding
            } else {
                Progress::Created(Some(Rc::clone(state)))
            },
        },
        None => Sleep {
            deadline: Deadline::After(delay),
            progress: Progress::Created(None),
        },
    })
}

/// Waits until `deadline` on the loop's clock. One that has passed yields once. See [`sleep`].
///
/// ```
/// use rondel_loop::{LocalLoop, sleep_until};
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// let clock = LocalLoop::current().unwrap();
/// let begun = clock.time();
/// // Steps of equal length, however long the work between them takes.
/// for step in 1..=3 {
///     let deadline = begun + step * Duration::from_micros(200);
///     sleep_until(deadline).await;
///     assert!(clock.time() >= deadline);
/// }
/// # }).unwrap();
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline: Deadline::At(deadline),
        progress: Progress::Created(None),
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
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Deadline {
    After(Duration),
    At(Instant),
}

enum Progress {
    /// Not polled yet; the loop it was made in, if it was in one.
    Created(Option<Rc<State>>),
    Armed(Rc<State>, TimerKey),
    /// Not to sleep at all, but to let the others go first once.
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
        matches!(self.progress, Progress::Done)
    }

    /// Moves the deadline, also of one that has elapsed: it then sleeps again.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = Deadline::At(deadline);
        let made_in = match std::mem::replace(&mut self.progress, Progress::Done) {
            Progress::Armed(state, key) => {
                if state.timers.reschedule(key, deadline) {
                    self.progress = Progress::Armed(state, key);
                    return;
                }
                Some(state)
            }
            Progress::Created(made_in) => made_in,
            Progress::Yielding | Progress::Done => None,
        };
        self.progress = Progress::Created(made_in);
    }

    /// Arms the timer at the first poll. A deadline that has passed is due at the loop's next look.
    fn arm(&mut self, made_in: Option<Rc<State>>, cx: &Context<'_>) {
        let state = awaited_in(made_in);
        let deadline = match self.deadline {
            Deadline::At(deadline) => deadline,
            Deadline::After(delay) if delay.is_zero() => {
                cx.waker().wake_by_ref();
                self.progress = Progress::Done;
                return;
            }
            Deadline::After(delay) => after(state.now(), delay),
        };
        self.deadline = Deadline::At(deadline);
        let key = state.timers.wake_at(deadline, cx.waker().clone());
        self.progress = Progress::Armed(state, key);
    }

    /// Polls without saying that the task waits for time: for those to whom time is only the limit.
    pub(super) fn poll_quietly(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.progress, Progress::Done) {
            Progress::Created(made_in) => {
                self.arm(made_in, cx);
                Poll::Pending
            }
            Progress::Armed(state, key) => {
                if !state.timers.refresh(key, cx.waker()) {
                    return Poll::Ready(());
                }
                self.progress = Progress::Armed(state, key);
                Poll::Pending
            }
            Progress::Yielding => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Progress::Done => Poll::Ready(()),
        }
    }
}

/// The loop whose timer it is to be: the one that runs, even if the sleep was made in another, which may have ended.
fn awaited_in(made_in: Option<Rc<State>>) -> Rc<State> {
    let same = current::with(|running| match (running, &made_in) {
        (Some(running), Some(made_in)) => Rc::ptr_eq(running, made_in),
        (None, Some(made_in)) => !made_in.closed.get(),
        _ => false,
    });
    match made_in {
        Some(made_in) if same => made_in,
        _ => Rc::clone(current::expect("sleep").state()),
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.poll_quietly(cx);
        if matches!(self.progress, Progress::Armed(..)) {
            Waits::TIME.label(0);
        }
        polled
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Progress::Armed(state, key) = &self.progress {
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
