//! `timeout`: who expires, when, and what it waits for.

mod trace;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rondel_executor::{as_completed, leave};
use rondel_loop::time::Elapsed;
use rondel_loop::{
    EventLoop, LocalLoop, sleep, sleep_until, spawn, timeout, timeout_at, yield_now,
};
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

fn now() -> Instant {
    LocalLoop::current().unwrap().time()
}

/// Leaves a cleanup behind that takes a while and says when it is done.
struct Careful {
    takes: Duration,
    trace: Trace<&'static str>,
}

impl Drop for Careful {
    fn drop(&mut self) {
        let (takes, trace) = (self.takes, self.trace.clone());
        trace.note("dropped");
        leave(Box::pin(async move {
            sleep(takes).await;
            trace.note("cleaned up");
        }));
    }
}

#[test]
fn what_finishes_in_time_gives_its_result_and_leaves_no_timer() {
    let mut lp = virtual_loop();
    let start = lp.time();
    let value = lp.run_until_complete(timeout(HOUR, async {
        sleep(SECOND).await;
        7
    }));
    assert_eq!(value.unwrap(), Ok(7));
    assert_eq!(lp.time() - start, SECOND);
    assert_eq!(lp.next_deadline(), None);
}

#[test]
fn what_does_not_is_dropped_at_the_deadline() {
    let mut lp = virtual_loop();
    let start = lp.time();
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let outcome = lp.run_until_complete(async {
        let outcome = timeout(SECOND, async move {
            let _inside = inside;
            sleep(HOUR).await;
        })
        .await;
        assert_eq!(
            Rc::strong_count(&held),
            1,
            "dropped before the error is seen"
        );
        outcome
    });
    assert_eq!(outcome.unwrap(), Err(Elapsed));
    assert_eq!(lp.time() - start, SECOND);
    assert_eq!(
        lp.next_deadline(),
        None,
        "also the timer of the inner sleep"
    );
}

#[test]
fn an_elapsed_is_a_timed_out_io_error() {
    let error = std::io::Error::from(Elapsed);
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(error.get_ref().unwrap().is::<Elapsed>());
}

/// CPython: `test_wait_for_race_condition`.
#[test]
fn a_result_of_the_same_turn_as_the_deadline_wins() {
    on_virtual_time(async {
        // In either order of the two timers.
        let at = now() + SECOND;
        assert_eq!(timeout_at(at, sleep_until(at)).await, Ok(()));

        let mut inner = pin!(sleep_until(at + SECOND));
        let outer = timeout_at(at + SECOND, poll_fn(|cx| inner.as_mut().poll(cx)));
        assert_eq!(outer.await, Ok(()));

        // The result comes from elsewhere, scheduled behind the deadline.
        let at = at + 2 * SECOND;
        let done = Rc::new(Cell::new(false));
        let set = Rc::clone(&done);
        let limited = timeout_at(
            at,
            poll_fn(|_| {
                if done.get() {
                    Poll::Ready(1)
                } else {
                    Poll::Pending
                }
            }),
        );
        LocalLoop::current()
            .unwrap()
            .call_at(at, move || set.set(true));
        assert_eq!(limited.await, Ok(1));
    });
}

#[test]
fn a_limit_of_zero_gives_one_chance() {
    on_virtual_time(async {
        assert_eq!(timeout(Duration::ZERO, async { 3 }).await, Ok(3));
        assert_eq!(timeout(Duration::ZERO, pending::<()>()).await, Err(Elapsed));
        assert_eq!(timeout_at(now() - HOUR, async { 3 }).await, Ok(3));
        assert_eq!(
            timeout_at(now() - HOUR, pending::<()>()).await,
            Err(Elapsed)
        );
    });
}

#[test]
fn a_limit_without_end_never_expires() {
    let mut lp = virtual_loop();
    let start = lp.time();
    let value = lp.run_until_complete(timeout(Duration::MAX, sleep(1000 * HOUR)));
    assert_eq!(value.unwrap(), Ok(()));
    assert_eq!(lp.time() - start, 1000 * HOUR);
    assert_eq!(lp.next_deadline(), None);
}

#[test]
fn of_nested_timeouts_the_one_that_expired_says_so() {
    on_virtual_time(async {
        let inner_first = timeout(5 * SECOND, timeout(SECOND, pending::<()>())).await;
        assert_eq!(inner_first, Ok(Err(Elapsed)));
        let outer_first = timeout(SECOND, timeout(5 * SECOND, pending::<()>())).await;
        assert_eq!(outer_first, Err(Elapsed));
        // Both at once: the inner one is asked first, and what comes after it still gets its turn.
        let both = timeout(SECOND, timeout(SECOND, pending::<()>())).await;
        assert_eq!(both, Ok(Err(Elapsed)));
    });
}

/// CPython: `test_nested_timeouts_concurrent`, `test_nested_timeouts_loop_busy`.
#[test]
fn after_a_block_past_both_deadlines_both_are_told_each_at_its_place() {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    let trace = Trace::new();
    let outcome = lp.run_until_complete(async {
        timeout(SECOND, async {
            let inner = timeout(2 * SECOND, async {
                yield_now().await;
                // Blocks the loop, as far as its clock can tell.
                clock.advance(HOUR);
                pending::<()>().await;
            })
            .await;
            trace.note(("inner", inner.is_err()));
            sleep(SECOND).await;
            trace.note(("after", true));
        })
        .await
    });
    assert_eq!(outcome.unwrap(), Err(Elapsed));
    assert_eq!(trace.take(), [("inner", true)]);
}

#[test]
fn cancelled_from_outside_it_does_not_count_as_expired() {
    let trace = Trace::new();
    on_virtual_time(async {
        let noted = trace.clone();
        let task = spawn(async move {
            let outcome = timeout(HOUR, pending::<()>()).await;
            noted.note(outcome.is_err());
        });
        yield_now().await;
        task.cancel();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    assert_eq!(trace.take(), []);
}

/// CPython: `test_wait_for_waits_for_task_cancellation`.
#[test]
fn it_waits_for_what_was_left_to_clean_up() {
    let trace = Trace::new();
    on_virtual_time(async {
        let before = now();
        let careful = Careful {
            takes: 3 * SECOND,
            trace: trace.clone(),
        };
        let outcome = timeout(SECOND, async move {
            let _careful = careful;
            pending::<()>().await;
        })
        .await;
        trace.note("told");
        assert_eq!(outcome, Err(Elapsed));
        assert_eq!(now() - before, 4 * SECOND);
    });
    assert_eq!(trace.take(), ["dropped", "cleaned up", "told"]);
}

#[test]
fn a_cleanup_can_have_a_timeout_of_its_own() {
    let trace = Trace::new();
    on_virtual_time(async {
        let noted = trace.clone();
        struct Leaves(Trace<(&'static str, bool)>);
        impl Drop for Leaves {
            fn drop(&mut self) {
                let noted = self.0.clone();
                leave(Box::pin(async move {
                    let long = timeout(SECOND, sleep(HOUR)).await;
                    noted.note(("cut short", long.is_err()));
                    let short = timeout(SECOND, yield_now()).await;
                    noted.note(("in time", short.is_ok()));
                }));
            }
        }
        let before = now();
        let outcome = timeout(SECOND, async move {
            let _leaves = Leaves(noted);
            pending::<()>().await;
        })
        .await;
        assert_eq!(outcome, Err(Elapsed));
        assert_eq!(now() - before, 2 * SECOND);
    });
    assert_eq!(trace.take(), [("cut short", true), ("in time", true)]);
}

#[test]
fn an_outer_timeout_that_cuts_the_inner_ones_wait_waits_in_its_place() {
    let trace = Trace::new();
    on_virtual_time(async {
        let before = now();
        let careful = Careful {
            takes: 5 * SECOND,
            trace: trace.clone(),
        };
        let noted = trace.clone();
        let outcome = timeout(2 * SECOND, async move {
            let _ = timeout(SECOND, async move {
                let _careful = careful;
                pending::<()>().await;
            })
            .await;
            noted.note("inner told");
        })
        .await;
        trace.note("outer told");
        assert_eq!(outcome, Err(Elapsed));
        assert_eq!(now() - before, 6 * SECOND);
    });
    assert_eq!(trace.take(), ["dropped", "cleaned up", "outer told"]);
}

#[test]
fn a_cancelled_task_waits_for_the_cleanup_its_timeout_waited_for() {
    let trace = Trace::new();
    on_virtual_time(async {
        let before = now();
        let careful = Careful {
            takes: 5 * SECOND,
            trace: trace.clone(),
        };
        let task = spawn(timeout(SECOND, async move {
            let _careful = careful;
            pending::<()>().await;
        }));
        sleep(2 * SECOND).await;
        task.cancel();
        assert!(task.await.unwrap_err().is_cancelled());
        trace.note("joined");
        assert_eq!(now() - before, 6 * SECOND);
    });
    assert_eq!(trace.take(), ["dropped", "cleaned up", "joined"]);
}

#[test]
fn reschedule_moves_the_deadline_while_it_runs() {
    on_virtual_time(async {
        for (first, then) in [(1, 5), (5, 1)] {
            let before = now();
            let mut limited = pin!(timeout(first * SECOND, pending::<()>()));
            poll_fn(|cx| {
                assert!(limited.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            assert!(limited.as_mut().reschedule(before + then * SECOND));
            assert_eq!(limited.deadline(), Some(before + then * SECOND));
            assert!(!limited.expired());
            assert_eq!(limited.as_mut().await, Err(Elapsed));
            assert_eq!(now() - before, then * SECOND);
            assert!(limited.expired());
            assert!(!limited.as_mut().reschedule(before + HOUR), "too late");
        }
    });
}

#[test]
fn reschedule_comes_too_late_while_it_waits_for_cleanup() {
    let trace = Trace::new();
    on_virtual_time(async {
        let before = now();
        let careful = Careful {
            takes: 5 * SECOND,
            trace: trace.clone(),
        };
        let mut limited = pin!(timeout(SECOND, async move {
            let _careful = careful;
            pending::<()>().await;
        }));
        let mut alarm = pin!(sleep(2 * SECOND));
        let mut asked = false;
        let outcome = poll_fn(|cx| {
            if !asked && alarm.as_mut().poll(cx).is_ready() {
                asked = true;
                assert!(limited.expired());
                assert!(!limited.as_mut().reschedule(before + HOUR));
            }
            limited.as_mut().poll(cx)
        })
        .await;
        assert!(asked);
        assert_eq!(outcome, Err(Elapsed));
        assert_eq!(now() - before, 6 * SECOND);
    });
}

async fn busy() {
    loop {
        yield_now().await;
    }
}

#[test]
fn it_expires_though_its_future_is_always_busy() {
    on_virtual_time(async {
        let local = LocalLoop::current().unwrap();
        let before = now();
        // A busy loop has all the time in the world on a virtual clock, so the limit must be none.
        assert!(timeout(Duration::ZERO, busy()).await.is_err());
        assert_eq!(local.time(), before);
    });

    // On a real clock.
    let outcome = rondel_loop::run(timeout(Duration::from_millis(2), busy()));
    assert!(outcome.unwrap().is_err());
}

#[test]
fn a_panic_inside_goes_through() {
    let task = virtual_loop().run_until_complete(async {
        spawn(timeout(SECOND, async {
            yield_now().await;
            panic!("inside");
        }))
        .await
        .map(|_| ())
    });
    assert!(task.unwrap().unwrap_err().is_panic());
}

#[test]
fn as_completed_with_a_limit_gives_what_came_in_time_and_tasks_go_on() {
    let mut lp = virtual_loop();
    let start = lp.time();
    lp.run_until_complete(async move {
        let ended = Rc::new(Cell::new(0));
        let tasks = [3, 1, 2, 4].map(|seconds| {
            let ended = ended.clone();
            spawn(async move {
                sleep(seconds * SECOND).await;
                ended.set(ended.get() + 1);
                seconds
            })
        });
        let until = start + 5 * SECOND / 2;
        let mut completed = as_completed(tasks);
        let mut in_time = Vec::new();
        let late = loop {
            match timeout_at(until, completed.next()).await {
                Ok(Some((_, seconds))) => in_time.push(seconds.unwrap()),
                Ok(None) => panic!("two are late"),
                Err(late) => break late,
            }
        };
        assert_eq!(in_time, [1, 2]);
        assert_eq!(now(), until, "{late}");
        // Asked again, it is late at once; nothing was lost by it.
        assert!(timeout_at(until, completed.next()).await.is_err());
        assert_eq!(completed.next().await.unwrap().1.unwrap(), 3);
        drop(completed);
        assert_eq!(ended.get(), 3);
        sleep(HOUR).await;
        assert_eq!(ended.get(), 4, "the task has gone on");
    })
    .unwrap();
}

#[test]
fn a_limit_around_the_next_that_is_not_used_up_leaves_no_timer() {
    let mut lp = virtual_loop();
    let start = lp.time();
    lp.run_until_complete(async {
        let mut completed = as_completed([sleep(SECOND)]);
        assert!(timeout(HOUR, completed.next()).await.unwrap().is_some());
        assert_eq!(timeout(HOUR, completed.next()).await, Ok(None));
    })
    .unwrap();
    assert_eq!(lp.time(), start + SECOND);
    assert_eq!(lp.next_deadline(), None);
}
