//! Timers: armed and dropped, and armed to fire.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Lengths;
use super::rate::rate;
use super::runtime::Timers;
use crate::figure::{CPU_TOTAL, Figure, LATE_MAX, LATE_P50, LATE_P99};
use crate::process::own_cpu_time;
use crate::stats::quantile;

const SHORTEST: Duration = Duration::from_millis(1);
/// Longer than a run, shorter than what is cancelled.
const NEAREST: Duration = Duration::from_secs(5);
const LONGEST_CANCELLED: Duration = Duration::from_secs(60);

/// Sleeps that are armed, all of them, and then dropped, as timeouts mostly are.
///
/// Another task sleeps for less, as there is one in most programs. Without it each of tokio's sleeps
/// would write to an eventfd: its driver has not slept yet, and so knows of no earlier deadline.
pub(crate) fn cancel<R: Timers>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(R::unbudgeted(async move {
        let mut random = Random::new();
        let delays: Vec<_> = (0..lengths.timers)
            .map(|_| random.between(2 * NEAREST, LONGEST_CANCELLED))
            .collect();
        R::detach(R::spawn(R::sleep(NEAREST)));
        R::sleep(Duration::from_millis(1)).await;
        let mut sleeps = Vec::with_capacity(delays.len());
        rate(&lengths, lengths.timers, async || {
            sleeps.extend(delays.iter().map(|delay| R::sleep(*delay)));
            poll_fn(|cx| {
                for sleep in &mut sleeps {
                    // SAFETY: the sleeps stay where they are until `clear` drops them in place:
                    // the vector is neither grown nor moved between here and there.
                    let sleep = unsafe { Pin::new_unchecked(sleep) };
                    assert!(
                        sleep.poll(cx).is_pending(),
                        "a sleep of ten seconds is over"
                    );
                }
                Poll::Ready(())
            })
            .await;
            sleeps.clear();
        })
        .await
    }))
}

/// Tasks that sleep for random times, and note how late they were woken.
pub(crate) fn fire<R: Timers>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    let lateness = R::run(async move {
        let mut random = Random::new();
        let lateness = Rc::new(RefCell::new(Vec::with_capacity(lengths.timers)));
        let mut tasks = Vec::with_capacity(lengths.timers);
        for _ in 0..lengths.timers {
            let delay = random.between(SHORTEST, lengths.longest_sleep);
            let lateness = lateness.clone();
            tasks.push(R::spawn(async move {
                let due = Instant::now() + delay;
                R::sleep(delay).await;
                let late = Instant::now().saturating_duration_since(due);
                lateness.borrow_mut().push(late.as_secs_f64() * 1000.0);
            }));
        }
        for task in tasks {
            R::joined(task.await);
        }
        lateness.take()
    });
    let cpu = own_cpu_time();
    let mut sorted = lateness;
    sorted.sort_by(f64::total_cmp);
    vec![
        CPU_TOTAL.of(cpu.as_secs_f64()),
        LATE_P50.of(quantile(&sorted, 0.5)),
        LATE_P99.of(quantile(&sorted, 0.99)),
        LATE_MAX.of(quantile(&sorted, 1.0)),
    ]
}

/// The same sequence in every process: xorshift64*.
struct Random(u64);

impl Random {
    const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// Uniformly, in whole microseconds.
    fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        let span = (longest - shortest).as_micros() as u64 + 1;
        shortest + Duration::from_micros(random * span / (1 << 32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_delays_fill_their_range() {
        let mut random = Random::new();
        let longest = Duration::from_millis(1000);
        let delays: Vec<_> = (0..10_000)
            .map(|_| random.between(SHORTEST, longest))
            .collect();
        assert!(delays.iter().all(|d| (SHORTEST..=longest).contains(d)));
        let mean = delays.iter().sum::<Duration>() / 10_000;
        assert!((490..=511).contains(&mean.as_millis()), "mean {mean:?}");
    }
}
