//! Ticks at a steady pace.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::sleep::{Sleep, after, sleep_until};
use crate::current;

/// Ticks now and then every `period`, without drift. A period of zero ticks once a turn.
///
/// # Panics
/// If no loop is running on this thread.
///
/// ```
/// use rondel_loop::interval;
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// let mut ticks = interval(Duration::from_micros(200));
/// let first = ticks.tick().await;
/// let third = { ticks.tick().await; ticks.tick().await };
/// assert_eq!(third - first, Duration::from_micros(400));
/// # }).unwrap();
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(current::expect("interval").time(), period)
}

/// Ticks first at `start`, then every `period`; see [`interval`].
///
/// ```
/// use rondel_loop::{LocalLoop, interval_at};
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// let period = Duration::from_micros(200);
/// // The first tick only after a period.
/// let start = LocalLoop::current().unwrap().time() + period;
/// let mut ticks = interval_at(start, period);
/// assert_eq!(ticks.tick().await, start);
/// assert_eq!(ticks.tick().await, start + period);
/// # }).unwrap();
/// ```
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval {
        sleep: sleep_until(start),
        next: start,
        period,
        missed: MissedTicks::default(),
    }
}

/// A stream of ticks; see [`interval`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    next: Instant,
    period: Duration,
    missed: MissedTicks,
}

/// What happens to ticks that nobody waited for in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTicks {
    /// They follow at once, one after the other, until the interval has caught up.
    #[default]
    Burst,
    /// The pace starts anew: the next tick comes a period after the late one.
    Delay,
    /// They are left out: the next tick comes at the next multiple of the period.
    Skip,
}

impl Interval {
    /// What happens to ticks that are missed. Default: [`MissedTicks::Burst`].
    #[must_use]
    pub fn missed_ticks(mut self, missed: MissedTicks) -> Self {
        self.missed = missed;
        self
    }

    /// The time between ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick, and gives the time for which it was scheduled.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has used up no tick.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// As [`tick`](Interval::tick), for futures written by hand.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let tick = self.next;
        let now = current::expect("Interval::tick").time();
        self.next = match self.missed {
            MissedTicks::Burst => after(tick, self.period),
            MissedTicks::Delay => after(now.max(tick), self.period),
            MissedTicks::Skip => self.skip_to(tick, now),
        };
        self.sleep.reset(self.next);
        Poll::Ready(tick)
    }

    /// The first multiple of the period after `tick` that is not in the past.
    fn skip_to(&self, tick: Instant, now: Instant) -> Instant {
        let late = now.saturating_duration_since(tick);
        if late < self.period || self.period.is_zero() {
            return after(tick, self.period);
        }
        let into = late.as_nanos() % self.period.as_nanos();
        // Smaller than the period, which is a Duration.
        let into = Duration::new(
            (into / 1_000_000_000).try_into().unwrap_or(u64::MAX),
            (into % 1_000_000_000) as u32,
        );
        after(now, self.period - into)
    }

    /// Starts anew: the next tick comes a period from now.
    pub fn reset(&mut self) {
        let now = current::expect("Interval::reset").time();
        self.reset_at(after(now, self.period));
    }

    /// Starts anew: the next tick comes at `start`.
    pub fn reset_at(&mut self, start: Instant) {
        self.next = start;
        self.sleep.reset(start);
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}
