//! `interval`: a steady pace, and what becomes of ticks that nobody waited for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rondel_loop::time::MissedTicks;
use rondel_loop::{EventLoop, LocalLoop, interval, interval_at, sleep, timeout, yield_now};
use rondel_poll::Virtual;

const SECOND: Duration = Duration::from_secs(1);

fn on_virtual_time<F: Future>(main: F) -> F::Output {
    let mut lp = EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap();
    lp.run_until_complete(main).unwrap()
}

fn now() -> Instant {
    LocalLoop::current().unwrap().time()
}

/// Seconds since `start`, of the tick's own time and of the time it came at.
async fn tick(ticks: &mut rondel_loop::time::Interval, start: Instant) -> (f64, f64) {
    let at = ticks.tick().await;
    ((at - start).as_secs_f64(), (now() - start).as_secs_f64())
}

#[test]
fn the_first_tick_comes_at_once_the_others_a_period_apart_without_drift() {
    on_virtual_time(async {
        let start = now();
        let mut ticks = interval(SECOND);
        assert_eq!(ticks.period(), SECOND);
        for number in 0..5 {
            assert_eq!(
                tick(&mut ticks, start).await,
                (number as f64, number as f64)
            );
            // Work that takes less than a period does not shift it.
            sleep(SECOND / 4).await;
        }
    });
}

#[test]
fn it_can_start_later_and_in_the_past() {
    on_virtual_time(async {
        let start = now();
        let mut later = interval_at(start + 5 * SECOND, SECOND);
        assert_eq!(tick(&mut later, start).await, (5.0, 5.0));
        assert_eq!(tick(&mut later, start).await, (6.0, 6.0));
        let mut past = interval_at(start + 4 * SECOND, SECOND);
        assert_eq!(tick(&mut past, start).await, (4.0, 6.0));
        assert_eq!(tick(&mut past, start).await, (5.0, 6.0));
        assert_eq!(tick(&mut past, start).await, (6.0, 6.0));
        assert_eq!(tick(&mut past, start).await, (7.0, 7.0));
    });
}

#[test]
fn burst_catches_up() {
    on_virtual_time(async {
        let start = now();
        let mut ticks = interval(SECOND);
        ticks.tick().await;
        sleep(Duration::from_millis(3500)).await;
        for expected in [(1.0, 3.5), (2.0, 3.5), (3.0, 3.5), (4.0, 4.0), (5.0, 5.0)] {
            assert_eq!(tick(&mut ticks, start).await, expected);
        }
    });
}

#[test]
fn delay_starts_the_pace_anew() {
    on_virtual_time(async {
        let start = now();
        let mut ticks = interval(SECOND).missed_ticks(MissedTicks::Delay);
        ticks.tick().await;
        sleep(Duration::from_millis(3500)).await;
        for expected in [(1.0, 3.5), (4.5, 4.5), (5.5, 5.5)] {
            assert_eq!(tick(&mut ticks, start).await, expected);
        }
    });
}

#[test]
fn skip_leaves_out_what_was_missed() {
    on_virtual_time(async {
        let start = now();
        let mut ticks = interval(SECOND).missed_ticks(MissedTicks::Skip);
        ticks.tick().await;
        sleep(Duration::from_millis(3500)).await;
        for expected in [(1.0, 3.5), (4.0, 4.0), (5.0, 5.0)] {
            assert_eq!(tick(&mut ticks, start).await, expected);
        }
        // Late by exactly some periods: that one counts as missed as well.
        sleep(3 * SECOND).await;
        for expected in [(6.0, 8.0), (9.0, 9.0)] {
            assert_eq!(tick(&mut ticks, start).await, expected);
        }
        // Late by less than a period: nothing is left out.
        sleep(Duration::from_millis(1200)).await;
        for expected in [(10.0, 10.2), (11.0, 11.0)] {
            assert_eq!(tick(&mut ticks, start).await, expected);
        }
    });
}

#[test]
fn a_tick_that_is_dropped_while_it_waits_is_not_used_up() {
    on_virtual_time(async {
        let start = now();
        let mut ticks = interval(2 * SECOND);
        ticks.tick().await;
        assert!(timeout(SECOND, ticks.tick()).await.is_err());
        assert_eq!(tick(&mut ticks, start).await, (2.0, 2.0));
    });
}

#[test]
fn reset_starts_anew() {
    on_virtual_time(async {
        let start = now();
        let mut ticks = interval(4 * SECOND);
        ticks.tick().await;
        sleep(SECOND).await;
        ticks.reset();
        assert_eq!(tick(&mut ticks, start).await, (5.0, 5.0));
        ticks.reset_at(start + 6 * SECOND);
        assert_eq!(tick(&mut ticks, start).await, (6.0, 6.0));
        ticks.reset_at(start);
        assert_eq!(tick(&mut ticks, start).await, (0.0, 6.0));
        // Also while somebody waits for it.
        let mut ticks = interval(4 * SECOND);
        ticks.tick().await;
        poll_fn(|cx| {
            assert!(ticks.poll_tick(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        ticks.reset_at(start + 7 * SECOND);
        assert_eq!(tick(&mut ticks, start).await, (7.0, 7.0));
    });
}

#[test]
fn a_period_of_zero_ticks_once_a_turn_and_starves_nobody() {
    on_virtual_time(async {
        for missed in [MissedTicks::Burst, MissedTicks::Delay, MissedTicks::Skip] {
            let start = now();
            let mut ticks = interval(Duration::ZERO).missed_ticks(missed);
            let mut others = 0;
            let mut other = pin!(async {
                loop {
                    yield_now().await;
                    others += 1;
                }
            });
            for _ in 0..50 {
                assert_eq!(ticks.tick().await, start);
                poll_fn(|cx| {
                    assert!(other.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            assert!(others > 40, "{others}");
        }
    });
}

#[test]
fn a_period_without_end_ticks_once() {
    on_virtual_time(async {
        let start = now();
        let mut ticks = interval(Duration::MAX);
        assert_eq!(ticks.tick().await, start);
        assert!(timeout(1_000_000 * SECOND, ticks.tick()).await.is_err());
    });
}

#[test]
fn it_is_a_stream() {
    on_virtual_time(async {
        let start = now();
        let ticks: Vec<_> = interval(SECOND).take(3).collect().await;
        assert_eq!(ticks, [start, start + SECOND, start + 2 * SECOND]);
    });
}
