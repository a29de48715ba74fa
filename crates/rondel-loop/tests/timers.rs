//! `call_later`, `call_at`: when, in which order, and what the selector is asked to wait for.

mod counting;
mod trace;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use counting::Counting;
use rondel_loop::{EventLoop, sleep, spawn, yield_now};
use rondel_poll::{Virtual, Wait, default_selector};
use trace::Trace;

const SECOND: Duration = Duration::from_secs(1);

fn virtual_loop() -> EventLoop {
    EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap()
}

/// Runs until `delay` from now, those that are due then included.
fn run_for(lp: &mut EventLoop, delay: Duration) {
    let stop = lp.local();
    lp.call_later(delay, move || stop.stop());
    lp.run_forever().unwrap();
}

#[test]
fn timers_fire_at_their_deadline_to_the_nanosecond() {
    let mut lp = virtual_loop();
    let start = lp.time();
    let trace = Trace::new();
    for delay in [
        5_000_000_000,
        1,
        0,
        1_000_000,
        999,
        3_600_000_000_000,
        1_000,
    ] {
        let (trace, local) = (trace.clone(), lp.local());
        lp.call_later(Duration::from_nanos(delay), move || {
            trace.note((delay, (local.time() - start).as_nanos() as u64));
        });
    }
    run_for(&mut lp, Duration::from_secs(7200));
    let delays = [
        0,
        1,
        999,
        1_000,
        1_000_000,
        5_000_000_000,
        3_600_000_000_000,
    ];
    assert_eq!(trace.take(), delays.map(|delay| (delay, delay)));
}

#[test]
fn equal_deadlines_are_called_in_the_order_in_which_they_were_scheduled() {
    let mut lp = virtual_loop();
    let trace = Trace::new();
    let at = lp.time() + SECOND;
    for number in 0..100 {
        let trace = trace.clone();
        // Some by instant, some by delay, some moved in between others.
        if number % 3 == 0 {
            lp.call_later(SECOND, move || trace.note(number));
        } else {
            lp.call_at(at, move || trace.note(number));
        }
        lp.call_later(SECOND, || unreachable!("cancelled")).cancel();
    }
    run_for(&mut lp, SECOND);
    assert_eq!(trace.take(), (0..100).collect::<Vec<_>>());
}

/// CPython: `test_call_later_negative_delays`.
#[test]
fn of_two_deadlines_in_the_past_the_earlier_runs_first_both_in_the_next_turn() {
    let mut lp = virtual_loop();
    let now = lp.time();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.call_at(now - SECOND, move || noted.note("a second ago"));
    let noted = trace.clone();
    lp.call_at(now - 2 * SECOND, move || noted.note("two seconds ago"));
    let noted = trace.clone();
    lp.call_at(now, move || noted.note("now"));
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["two seconds ago", "a second ago", "now"]);
    assert_eq!(lp.time(), now);

    // The same later in the life of a loop.
    run_for(&mut lp, 100 * SECOND);
    let now = lp.time();
    for ago in [1, 50, 2, 200] {
        let noted = trace.clone();
        lp.call_at(now - ago * SECOND, move || {
            noted.note(
                ["1", "50", "2", "200"][[1, 50, 2, 200].iter().position(|a| *a == ago).unwrap()],
            );
        });
    }
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["200", "50", "2", "1"]);
}

#[test]
fn a_delay_of_zero_lets_everything_ready_go_first() {
    let mut lp = virtual_loop();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.call_later(Duration::ZERO, move || noted.note("timer"));
    for _ in 0..2 {
        let noted = trace.clone();
        lp.call_soon(move || noted.note("soon"));
    }
    run_for(&mut lp, SECOND);
    assert_eq!(trace.take(), ["soon", "soon", "timer"]);
}

#[test]
fn the_ends_of_time_neither_overflow_nor_spin() {
    let (selector, waits) = Counting::over(default_selector().unwrap());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    let never = lp.call_later(Duration::MAX, || unreachable!("the end of time"));
    let far = lp.call_later(Duration::from_secs(u64::MAX / 4), || unreachable!("far"));
    let century = lp.call_later(100 * 365 * 24 * 3600 * SECOND, || unreachable!("a century"));
    assert!(never.when() > lp.time() + 50 * 365 * 24 * 3600 * SECOND);

    // Nothing to do but to wait: whoever waits this long must not wake up over and over.
    let handle = lp.handle();
    let (asleep, woken) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        woken.recv().unwrap();
        handle.stop();
    });
    lp.call_soon(move || asleep.send(()).unwrap());
    lp.run_forever().unwrap();
    other.join().unwrap();
    let waited = waits.take();
    assert!(waited.len() <= 4, "{waited:?}");

    assert!(never.cancel() && far.cancel() && century.cancel());
    assert_eq!(lp.next_deadline(), None);
}

#[test]
fn no_timer_fires_early_on_the_real_clock() {
    let mut lp = EventLoop::new().unwrap();
    let (count, early) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for micros in (0..2_000).step_by(7) {
        let deadline = Instant::now() + Duration::from_micros(micros);
        let (count, early) = (Rc::clone(&count), Rc::clone(&early));
        lp.call_at(deadline, move || {
            count.set(count.get() + 1);
            if Instant::now() < deadline {
                early.set(early.get() + 1);
            }
        });
    }
    run_for(&mut lp, Duration::from_millis(3));
    assert_eq!((count.get(), early.get()), (286, 0));
}

#[test]
fn no_sleep_ends_early_on_the_real_clock() {
    rondel_loop::run(async {
        for nanos in [1, 50_000, 300_000, 999_999, 1_000_000, 1_500_000, 2_000_001] {
            let before = Instant::now();
            sleep(Duration::from_nanos(nanos)).await;
            assert!(
                before.elapsed() >= Duration::from_nanos(nanos),
                "{nanos} ns"
            );
        }
    })
    .unwrap();
}

/// CPython: `test_timeout_rounding`. A wait that is rounded down would be repeated until the time has come.
#[test]
fn tiny_sleeps_take_few_waits() {
    let (selector, waits) = Counting::over(default_selector().unwrap());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    lp.run_until_complete(async {
        for nanos in [10_000_000, 100_000, 1_000, 10, 1, 0] {
            sleep(Duration::from_nanos(nanos)).await;
        }
    })
    .unwrap();
    let waited = waits.take();
    assert!(waited.len() <= 20, "{} waits: {waited:?}", waited.len());
}

/// CPython: `test__run_once`.
#[test]
fn a_cancelled_timer_does_not_shorten_the_wait() {
    let (selector, waits) = Counting::over(Virtual::new());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    let start = lp.time();
    let first = lp.call_later(5 * SECOND, || unreachable!("cancelled"));
    let stop = lp.local();
    lp.call_later(10 * SECOND, move || stop.stop());
    first.cancel();
    lp.run_forever().unwrap();
    let until = Wait::Until(start + 10 * SECOND);
    let waited = waits.take();
    assert!(waited.iter().all(|wait| *wait == until), "{waited:?}");
    assert!(!waited.is_empty());
}

#[test]
fn cancelling_a_sleeping_task_removes_its_timer() {
    let mut lp = virtual_loop();
    let start = lp.time();
    let task = lp.create_task(sleep(3600 * SECOND));
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(lp.next_deadline(), Some(start + 3600 * SECOND));
    task.cancel();
    assert!(
        lp.run_until_complete(task)
            .unwrap()
            .unwrap_err()
            .is_cancelled()
    );
    assert_eq!(lp.next_deadline(), None);
    assert_eq!(lp.time(), start);
}

#[test]
fn a_timer_scheduled_by_a_timer_for_now_comes_behind_those_that_are_due() {
    let mut lp = virtual_loop();
    let trace = Trace::new();
    for number in 0..3 {
        let (trace, local) = (trace.clone(), lp.local());
        lp.call_later(SECOND, move || {
            trace.note(number);
            let late = trace.clone();
            local.call_later(Duration::ZERO, move || late.note(10 + number));
            let late = trace.clone();
            local.call_at(local.time() - SECOND, move || late.note(20 + number));
        });
    }
    run_for(&mut lp, 2 * SECOND);
    // Of the second round those that should have been called long ago go first.
    assert_eq!(trace.take(), [0, 1, 2, 20, 21, 22, 10, 11, 12]);
}

#[test]
fn a_million_timers_are_called_in_order_and_half_of_them_taken_back() {
    const COUNT: u64 = 1_000_000;
    let mut lp = virtual_loop();
    let state = Rc::new(Cell::new((0_u64, Duration::ZERO)));
    let start = lp.time();
    for number in 0..COUNT {
        let (state, local) = (Rc::clone(&state), lp.local());
        // Scattered over an hour.
        let delay =
            Duration::from_nanos(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 3_600_000_000_000);
        let handle = lp.call_later(delay, move || {
            let (count, last) = state.get();
            let now = local.time() - start;
            assert_eq!(now, delay);
            assert!(now >= last);
            state.set((count + 1, now));
        });
        if number % 2 == 0 {
            assert!(handle.cancel());
        }
    }
    run_for(&mut lp, 2 * 3600 * SECOND);
    assert_eq!(state.get().0, COUNT / 2);
}

#[test]
fn timers_of_tasks_and_callbacks_keep_one_order() {
    let mut lp = virtual_loop();
    let trace = Trace::new();
    let noted = trace.clone();
    let local = lp.local();
    lp.run_until_complete(async move {
        let mut tasks = Vec::new();
        for number in 0..10 {
            let noted = noted.clone();
            if number % 2 == 0 {
                tasks.push(spawn(async move {
                    sleep(SECOND).await;
                    noted.note(number);
                }));
                // So that its timer is armed before the next one.
                yield_now().await;
            } else {
                local.call_later(SECOND, move || noted.note(number));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
    })
    .unwrap();
    assert_eq!(trace.take(), (0..10).collect::<Vec<_>>());
}
