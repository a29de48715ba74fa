//! `sleep`, `sleep_until`, `yield_now`: on the virtual clock, and under one that moves only when told.

mod trace;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use rondel_loop::{EventLoop, LocalLoop, RunError, sleep, sleep_until, spawn, yield_now};
use rondel_poll::{Clocked, ManualClock, Virtual, default_selector};
use trace::Trace;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn virtual_loop() -> EventLoop {
    EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap()
}

fn on_virtual_time<F: Future>(main: F) -> F::Output {
    virtual_loop().run_until_complete(main).unwrap()
}

fn now() -> std::time::Instant {
    LocalLoop::current().unwrap().time()
}

#[test]
fn a_sleep_takes_as_long_as_it_says() {
    on_virtual_time(async {
        for delay in [
            HOUR,
            Duration::from_nanos(1),
            SECOND,
            Duration::from_micros(77),
        ] {
            let before = now();
            sleep(delay).await;
            assert_eq!(now() - before, delay);
            sleep_until(before + 3 * delay).await;
            assert_eq!(now() - before, 3 * delay);
        }
    });
}

#[test]
fn the_time_counts_from_the_call() {
    on_virtual_time(async {
        let before = now();
        let early = sleep(5 * SECOND);
        sleep(3 * SECOND).await;
        early.await;
        assert_eq!(now() - before, 5 * SECOND);
    });
}

#[test]
fn outside_a_loop_it_counts_from_the_first_poll() {
    let mut lp = virtual_loop();
    let early = sleep(SECOND);
    assert_eq!(early.deadline(), None);
    lp.run_until_complete(sleep(HOUR)).unwrap();
    let before = lp.time();
    lp.run_until_complete(early).unwrap();
    assert_eq!(lp.time() - before, SECOND);
}

#[test]
fn sleeping_outside_a_loop_says_what_to_do() {
    for sleep in [sleep(SECOND), sleep_until(std::time::Instant::now())] {
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _ = pin!(sleep).poll(&mut Context::from_waker(Waker::noop()));
        }));
        let payload = rondel_executor::PanicPayload::new(panicked.unwrap_err());
        let message = payload.message().unwrap();
        assert!(
            message.contains("sleep: no event loop is running"),
            "{message}"
        );
    }
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines_ties_in_the_order_of_arming() {
    let trace = Trace::new();
    on_virtual_time(async {
        let tasks: Vec<_> = [3, 1, 2, 1, 3, 2, 1]
            .into_iter()
            .enumerate()
            .map(|(number, seconds)| {
                let trace = trace.clone();
                spawn(async move {
                    sleep(seconds * SECOND).await;
                    trace.note((seconds, number));
                })
            })
            .collect();
        join_all(tasks).await;
    });
    assert_eq!(
        trace.take(),
        [(1, 1), (1, 3), (1, 6), (2, 2), (2, 5), (3, 0), (3, 4)]
    );
}

/// CPython: `test_sleep_zero`.
#[test]
fn sleeping_for_no_time_yields_exactly_once() {
    let trace = Trace::new();
    on_virtual_time(async {
        let others: Vec<_> = (0..3)
            .map(|number| {
                let trace = trace.clone();
                spawn(async move {
                    for round in 0..2 {
                        trace.note((number, round));
                        yield_now().await;
                    }
                })
            })
            .collect();
        let before = now();
        sleep(Duration::ZERO).await;
        trace.note((99, 0));
        assert_eq!(now(), before);
        join_all(others).await;
    });
    assert_eq!(
        trace.take(),
        [(0, 0), (1, 0), (2, 0), (99, 0), (0, 1), (1, 1), (2, 1)]
    );
}

#[test]
fn a_deadline_that_has_passed_lets_what_is_ready_go_first() {
    let trace = Trace::new();
    on_virtual_time(async {
        sleep(SECOND).await;
        for ago in [Duration::ZERO, Duration::from_nanos(1), SECOND, HOUR] {
            let noted = trace.clone();
            let before = now();
            let other = spawn(async move { noted.note("other") });
            sleep_until(before - ago).await;
            trace.note("sleeper");
            assert_eq!(now(), before, "no time has passed");
            other.await.unwrap();
        }
    });
    assert_eq!(trace.take(), ["other", "sleeper"].repeat(4));
}

#[test]
fn a_sleep_for_ever_can_be_dropped() {
    let mut lp = virtual_loop();
    lp.run_until_complete(async {
        let mut forever = pin!(sleep(Duration::MAX));
        let elapsed = poll_fn(|cx| Poll::Ready(forever.as_mut().poll(cx).is_ready())).await;
        assert!(!elapsed);
        sleep(HOUR).await;
        assert!(!forever.is_elapsed());
    })
    .unwrap();
    assert_eq!(lp.next_deadline(), None);
}

#[test]
fn dropping_a_sleep_disarms_it() {
    let mut lp = virtual_loop();
    let before = lp.time();
    lp.run_until_complete(async {
        let mut long = Box::pin(sleep(HOUR));
        poll_fn(|cx| {
            assert!(long.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(long);
        sleep(SECOND).await;
    })
    .unwrap();
    assert_eq!(lp.next_deadline(), None);
    assert_eq!(lp.time() - before, SECOND);
}

async fn polled_once(sleep: &mut rondel_loop::time::Sleep) {
    poll_fn(|cx| {
        assert!(Pin::new(&mut *sleep).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn reset_moves_a_sleep_later_and_earlier() {
    on_virtual_time(async {
        for polled in [false, true] {
            for (first, then) in [(2, 5), (5, 2), (2, 2)] {
                let before = now();
                let mut sleep = sleep(first * SECOND);
                if polled {
                    polled_once(&mut sleep).await;
                }
                sleep.reset(before + then * SECOND);
                assert_eq!(sleep.deadline(), Some(before + then * SECOND));
                (&mut sleep).await;
                assert_eq!(now() - before, then * SECOND);
                assert!(sleep.is_elapsed());
            }
        }
    });
}

#[test]
fn reset_makes_an_elapsed_sleep_sleep_again() {
    on_virtual_time(async {
        let before = now();
        let mut sleep = sleep(SECOND);
        (&mut sleep).await;
        sleep.reset(before + 3 * SECOND);
        assert!(!sleep.is_elapsed());
        (&mut sleep).await;
        assert_eq!(now() - before, 3 * SECOND);
        // Once more, from the deadline on.
        sleep.reset(before + 4 * SECOND);
        (&mut sleep).await;
        assert_eq!(now() - before, 4 * SECOND);
    });
}

#[test]
fn reset_into_the_past_ends_a_sleep_without_time_passing() {
    on_virtual_time(async {
        let before = now();
        let mut sleep = sleep(HOUR);
        polled_once(&mut sleep).await;
        sleep.reset(before - SECOND);
        (&mut sleep).await;
        assert_eq!(now(), before);
    });
}

#[test]
fn reset_while_the_wake_up_is_on_its_way_sleeps_on() {
    on_virtual_time(async {
        let before = now();
        let mut sleep = sleep(SECOND);
        polled_once(&mut sleep).await;
        // The timer fires, but its sleep is moved before it is polled.
        sleep_until(before + 2 * SECOND).await;
        sleep.reset(before + 5 * SECOND);
        (&mut sleep).await;
        assert_eq!(now() - before, 5 * SECOND);
    });
}

#[test]
fn a_sleep_dropped_after_a_reset_leaves_no_timer() {
    let mut lp = virtual_loop();
    lp.run_until_complete(async {
        let mut sleep = sleep(SECOND);
        polled_once(&mut sleep).await;
        sleep.reset(now() + HOUR);
        polled_once(&mut sleep).await;
        drop(sleep);
        yield_now().await;
    })
    .unwrap();
    assert_eq!(lp.next_deadline(), None);
}

#[test]
fn a_sleep_that_moves_to_another_task_wakes_that_one() {
    on_virtual_time(async {
        let before = now();
        let mut sleep = sleep(SECOND);
        polled_once(&mut sleep).await;
        let task = spawn(async move {
            sleep.await;
            now()
        });
        // Awake at another time than the sleep's end, so that nothing but its own wake-up can have helped.
        rondel_loop::sleep(HOUR).await;
        assert!(task.is_finished());
        assert_eq!(task.await.unwrap() - before, SECOND);
    });
}

#[test]
fn a_sleep_that_is_awaited_in_another_loop_than_it_was_made_in_ends_there() {
    // Made in a loop that has ended since, and in one that stands still.
    let made =
        rondel_loop::run(poll_fn(|_| Poll::Ready(sleep(Duration::from_micros(50))))).unwrap();
    rondel_loop::run(made).unwrap();
    let mut other = EventLoop::new().unwrap();
    let made = other
        .run_until_complete(poll_fn(|_| Poll::Ready(sleep(Duration::from_micros(50)))))
        .unwrap();
    rondel_loop::run(made).unwrap();
    assert_eq!(other.next_deadline(), None);
    let mut ticks = rondel_loop::run(async {
        let mut ticks = rondel_loop::interval(Duration::from_micros(50));
        ticks.tick().await;
        ticks
    })
    .unwrap();
    rondel_loop::run(async {
        ticks.tick().await;
        ticks.tick().await;
    })
    .unwrap();
}

#[test]
fn a_task_is_polled_once_for_its_sleep() {
    let trace = Trace::new();
    on_virtual_time(async {
        let mut sleep = pin!(sleep(SECOND));
        poll_fn(|cx| {
            trace.note(now());
            sleep.as_mut().poll(cx)
        })
        .await;
    });
    assert_eq!(trace.take().len(), 2);
}

#[test]
fn cancelling_a_sleeping_task_ends_it_at_once() {
    on_virtual_time(async {
        let before = now();
        let task = spawn(sleep(HOUR));
        yield_now().await;
        assert!(task.cancel());
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(now(), before);
    });
}

#[test]
fn under_a_manual_clock_time_passes_only_when_told() {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    let trace = Trace::new();
    let start = clock.now();
    lp.run_until_complete(async {
        let noted = trace.clone();
        let sleeper = spawn(async move {
            for seconds in [10, 20, 30] {
                sleep_until(start + seconds * SECOND).await;
                noted.note(seconds);
            }
        });
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(trace.take(), []);
        clock.advance(10 * SECOND - Duration::from_nanos(1));
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(trace.take(), []);
        clock.advance(Duration::from_nanos(1));
        while trace.take() != [10] {
            yield_now().await;
        }
        // From another thread, while this one is blocked.
        let clock = clock.clone();
        let other = std::thread::spawn(move || clock.advance(HOUR));
        sleeper.await.unwrap();
        other.join().unwrap();
    })
    .unwrap();
    assert_eq!(trace.take(), [20, 30]);
    assert_eq!(clock.now() - start, HOUR + 10 * SECOND);
}

#[test]
fn a_run_that_is_stopped_leaves_sleeping_tasks_asleep() {
    let mut lp = virtual_loop();
    let start = lp.time();
    let mut task = lp.create_task(async {
        sleep(10 * SECOND).await;
        "slept"
    });
    let local = lp.local();
    lp.call_later(SECOND, move || local.stop());
    assert!(matches!(
        lp.run_until_complete(&mut task),
        Err(RunError::Stopped)
    ));
    assert_eq!(lp.time() - start, SECOND);
    assert_eq!(lp.run_until_complete(&mut task).unwrap().unwrap(), "slept");
    assert_eq!(lp.time() - start, 10 * SECOND);
}
