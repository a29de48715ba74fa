//! Running a loop: to the end of a future, again and again.

mod child;
mod trace;

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use child::{child, is_child};
use rondel_executor::ThreadPool;
use rondel_loop::{EventLoop, JoinError, RunError, sleep, yield_now};
use rondel_poll::{Virtual, Wait};
use trace::Trace;

const SECOND: Duration = Duration::from_secs(1);

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

fn virtual_loop() -> EventLoop {
    EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap()
}

#[test]
fn a_future_may_borrow() {
    let mut lp = new_loop();
    let words = vec!["it".to_owned(), "borrows".to_owned()];
    let mut count = 0;
    let joined = lp.run_until_complete(async {
        for word in &words {
            yield_now().await;
            count += word.len();
        }
        words.join(" ")
    });
    assert_eq!(joined.unwrap(), "it borrows");
    assert_eq!(count, 9);
}

#[test]
fn again_and_again_on_the_same_loop_with_its_tasks_going_on() {
    let mut lp = virtual_loop();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.create_task(async move {
        for number in 1.. {
            sleep(SECOND).await;
            noted.note(number);
        }
    })
    .detach();
    for run in 1..=3 {
        lp.run_until_complete(sleep(2 * SECOND + SECOND / 2))
            .unwrap();
        assert_eq!(lp.tasks().len(), 1, "run {run}");
    }
    assert_eq!(trace.take(), [1, 2, 3, 4, 5, 6, 7]);
}

/// CPython: `test_stop_while_run_in_complete`.
#[test]
fn a_task_that_stops_its_loop_can_be_run_on() {
    let mut lp = virtual_loop();
    let local = lp.local();
    let mut task = lp.create_task(async move {
        local.stop();
        sleep(SECOND).await;
        "finished"
    });
    let stopped = lp.run_until_complete(&mut task).unwrap_err();
    assert!(matches!(stopped, RunError::Stopped));
    assert_eq!(
        stopped.to_string(),
        "the event loop was stopped before the future had finished"
    );
    assert!(!task.is_finished());
    assert_eq!(
        lp.run_until_complete(&mut task).unwrap().unwrap(),
        "finished"
    );
}

#[test]
fn the_result_of_a_task_that_was_run_is_there_afterwards() {
    let mut lp = new_loop();
    let mut task = lp.create_task(async { vec![1, 2] });
    assert!(task.result().is_none());
    lp.run_until_complete(task.done()).unwrap();
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(task.result().unwrap().unwrap(), [1, 2]);
    assert!(matches!(task.result(), Some(Err(JoinError::Taken))));
}

#[test]
fn a_future_given_by_value_is_dropped_when_the_loop_is_stopped() {
    let mut lp = new_loop();
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let local = lp.local();
    let stopped = lp.run_until_complete(async move {
        local.stop();
        pending::<()>().await;
        drop(inside);
    });
    assert!(matches!(stopped, Err(RunError::Stopped)));
    assert_eq!(Rc::strong_count(&held), 1);
    lp.run_until_complete(yield_now()).unwrap();
}

#[test]
fn a_panic_comes_back_and_the_loop_is_as_good_as_before() {
    let mut lp = new_loop();
    let other = lp.create_task(async {
        yield_now().await;
        5
    });
    let Err(RunError::Panicked(payload)) = lp.run_until_complete(async {
        if true {
            panic!("in main");
        }
    }) else {
        unreachable!("it panicked");
    };
    assert_eq!(payload.message(), Some("in main"));
    assert_eq!(lp.run_until_complete(other).unwrap().unwrap(), 5);
}

#[test]
fn a_loop_does_not_run_inside_another_one() {
    let mut outer = new_loop();
    let mut inner = new_loop();
    let said = outer.run_until_complete(async {
        let mut polled = false;
        let nested = inner.run_until_complete(async { polled = true });
        assert!(
            matches!(nested, Err(RunError::OtherLoopRunning)),
            "{nested:?}"
        );
        assert!(!polled);
        assert!(matches!(
            inner.run_forever(),
            Err(RunError::OtherLoopRunning)
        ));
        assert!(matches!(
            inner.run_once(Wait::Poll),
            Err(RunError::OtherLoopRunning)
        ));
        assert!(matches!(
            inner.run_until_idle(SECOND),
            Err(RunError::OtherLoopRunning)
        ));
        nested.unwrap_err().to_string()
    });
    assert_eq!(
        said.unwrap(),
        "another event loop is running on this thread"
    );
    // No harm done to either.
    assert_eq!(inner.run_until_complete(async { 1 }).unwrap(), 1);
    assert_eq!(outer.run_until_complete(async { 2 }).unwrap(), 2);
}

#[test]
fn run_inside_a_running_loop_is_refused_and_reports_nothing_else() {
    const TEST: &str = "run_inside_a_running_loop_is_refused_and_reports_nothing_else";
    if is_child(TEST) {
        rondel_loop::run(async {
            let nested = rondel_loop::run(async {});
            assert!(matches!(nested, Err(RunError::OtherLoopRunning)));
        })
        .unwrap();
        return;
    }
    let output = child(TEST).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    assert_eq!(words, "");
}

#[test]
fn two_loops_of_a_thread_take_turns_and_do_not_mix() {
    let (mut one, mut two) = (virtual_loop(), virtual_loop());
    let trace = Trace::new();
    for (name, lp) in [("one", &one), ("two", &two)] {
        for _ in 0..2 {
            let trace = trace.clone();
            lp.call_soon(move || trace.note(name));
        }
    }
    two.run_until_complete(yield_now()).unwrap();
    assert_eq!(trace.take(), ["two", "two"]);
    one.run_until_complete(yield_now()).unwrap();
    assert_eq!(trace.take(), ["one", "one"]);

    // A task of one, awaited in the other.
    let task = one.create_task(async { 11 });
    let waiting = two.create_task(task);
    two.run_until_complete(yield_now()).unwrap();
    assert!(!waiting.is_finished());
    one.run_until_complete(yield_now()).unwrap();
    assert_eq!(
        two.run_until_complete(waiting).unwrap().unwrap().unwrap(),
        11
    );
}

#[test]
fn a_stale_waker_of_a_former_main_future_harms_no_later_one() {
    let mut lp = new_loop();
    let old = Cell::new(None::<Waker>);
    lp.run_until_complete(poll_fn(|cx| {
        old.set(Some(cx.waker().clone()));
        Poll::Ready(())
    }))
    .unwrap();
    let old = old.take().unwrap();
    let mut rounds = 0;
    lp.run_until_complete(async {
        for _ in 0..10 {
            old.wake_by_ref();
            yield_now().await;
            rounds += 1;
        }
    })
    .unwrap();
    assert_eq!(rounds, 10);
    old.wake();
    lp.run_until_complete(yield_now()).unwrap();
}

#[test]
fn the_debug_switch() {
    let lp = EventLoop::builder().debug(true).build().unwrap();
    assert!(lp.is_debug());
    lp.set_debug(false);
    assert!(!lp.is_debug());
    assert!(
        !EventLoop::builder()
            .debug(false)
            .build()
            .unwrap()
            .is_debug()
    );
}

#[test]
fn debug_mode_can_come_from_the_environment() {
    const TEST: &str = "debug_mode_can_come_from_the_environment";
    if is_child(TEST) {
        let by_environment = new_loop().is_debug();
        assert!(
            !EventLoop::builder()
                .debug(false)
                .build()
                .unwrap()
                .is_debug()
        );
        std::process::exit(if by_environment { 10 } else { 20 });
    }
    for (value, code) in [(Some("1"), 10), (Some("0"), 20), (None, 20)] {
        let mut child = child(TEST);
        match value {
            Some(value) => child.env("RONDEL_DEBUG", value),
            None => child.env_remove("RONDEL_DEBUG"),
        };
        assert_eq!(
            child.output().unwrap().status.code(),
            Some(code),
            "{value:?}"
        );
    }
}

#[test]
fn the_clock_can_come_from_the_environment() {
    const TEST: &str = "the_clock_can_come_from_the_environment";
    if is_child(TEST) {
        let mut lp = new_loop();
        assert!(lp.selector().is_virtual());
        lp.run_until_complete(sleep(1000 * 3600 * SECOND)).unwrap();
        std::process::exit(10);
    }
    let status = child(TEST)
        .env("RONDEL_CLOCK", "virtual")
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(10));
}

#[test]
fn the_default_pool_is_made_once_and_can_be_replaced() {
    let lp = new_loop();
    let first = lp.default_executor().unwrap();
    assert_eq!(first.threads(), 0, "no thread before the first job");
    let own = ThreadPool::builder().threads(1).name("own").build();
    lp.set_default_executor(own);
    let job = lp
        .run_in_executor(None, || std::thread::current().name().map(str::to_owned))
        .unwrap();
    assert_eq!(job.wait().unwrap().as_deref(), Some("own-0"));
    assert!(!first.is_closed(), "whoever still holds it may use it");
}
