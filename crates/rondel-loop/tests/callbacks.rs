//! `call_soon`, batches, and what `stop` lets finish.

mod trace;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rondel_loop::{EventLoop, LocalLoop, RunError, yield_now};
use trace::Trace;

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

#[test]
fn callbacks_run_in_the_order_of_call_soon_each_once() {
    let mut lp = new_loop();
    let trace = Trace::new();
    for number in 0..200 {
        let trace = trace.clone();
        lp.call_soon(move || trace.note(number));
    }
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), (0..200).collect::<Vec<_>>());
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), []);
}

#[test]
fn what_a_callback_schedules_waits_behind_what_is_queued() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let (first, second, third) = (trace.clone(), trace.clone(), trace.clone());
    let (local, stop) = (lp.local(), lp.local());
    lp.call_soon(move || {
        first.note("first");
        local.call_soon(move || {
            third.note("third");
            stop.stop();
        });
    });
    lp.call_soon(move || second.note("second"));
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["first", "second", "third"]);
}

#[test]
fn callbacks_and_tasks_share_one_queue() {
    let mut lp = new_loop();
    let trace = Trace::new();
    for number in 0..10 {
        let trace = trace.clone();
        if number % 2 == 0 {
            lp.call_soon(move || trace.note(number));
        } else {
            lp.create_task(async move { trace.note(number) }).detach();
        }
    }
    lp.run_until_complete(async {}).unwrap();
    assert_eq!(trace.take(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_task_that_yields_lets_everything_ready_go_first() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let local = lp.local();
    lp.run_until_complete(async {
        let noted = trace.clone();
        local.call_soon(move || noted.note("callback"));
        yield_now().await;
        trace.note("task");
    })
    .unwrap();
    assert_eq!(trace.take(), ["callback", "task"]);
}

/// `size` callbacks are ready when one before them stops the loop: all of them run, nothing of what they schedule does. Sizes
/// on both sides of the 64 entries after which the loop looks around.
#[test]
fn stop_finishes_the_batch_and_nothing_else() {
    for size in (0..10).chain(58..70).chain([127, 128, 129, 500]) {
        let mut lp = new_loop();
        let trace = Trace::new();
        let local = lp.local();
        lp.call_soon(move || local.stop());
        for number in 0..size {
            let (trace, local) = (trace.clone(), lp.local());
            lp.call_soon(move || {
                trace.note(number);
                let late = trace.clone();
                local.call_soon(move || late.note(1000 + number));
            });
        }
        lp.run_forever().unwrap();
        assert_eq!(trace.take(), (0..size).collect::<Vec<_>>(), "size {size}");
        lp.stop();
        lp.run_forever().unwrap();
        let late: Vec<_> = (1000..1000 + size).collect();
        assert_eq!(trace.take(), late, "size {size}");
    }
}

#[test]
fn stop_before_a_run_lets_it_run_what_is_ready_and_no_more() {
    for size in (0..10).chain(58..70) {
        let mut lp = new_loop();
        let trace = Trace::new();
        for number in 0..size {
            let (trace, local) = (trace.clone(), lp.local());
            lp.call_soon(move || {
                trace.note(number);
                let late = trace.clone();
                local.call_soon(move || late.note(1000 + number));
            });
        }
        lp.stop();
        lp.run_forever().unwrap();
        assert_eq!(trace.take(), (0..size).collect::<Vec<_>>(), "size {size}");
    }
}

#[test]
fn stop_from_another_thread_before_a_run_ends_it_after_one_batch() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let (noted, local) = (trace.clone(), lp.local());
    lp.call_soon(move || {
        noted.note("ready");
        local.call_soon(move || noted.note("late"));
    });
    let handle = lp.handle();
    std::thread::spawn(move || handle.stop()).join().unwrap();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["ready"]);
}

#[test]
fn stop_before_a_run_looks_at_io_once() {
    let mut lp = new_loop();
    let (here, mut there) = UnixStream::pair().unwrap();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.add_reader(&here, move || noted.note("readable"))
        .unwrap();
    there.write_all(b"x").unwrap();
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["readable"]);
}

#[test]
fn stopping_twice_ends_one_run() {
    let mut lp = new_loop();
    lp.stop();
    lp.stop();
    lp.handle().stop();
    lp.run_forever().unwrap();

    let local = lp.local();
    lp.call_soon(move || {
        local.stop();
        local.stop();
    });
    lp.run_forever().unwrap();
    // Nothing is left over that would end this one: it goes through many batches.
    lp.run_until_complete(async {
        for _ in 0..500 {
            yield_now().await;
        }
    })
    .unwrap();
}

#[test]
fn a_stop_does_not_outlive_the_run_that_ended_by_itself() {
    let mut lp = new_loop();
    let local = lp.local();
    // Done in the very poll that stops the loop: there is a result to give.
    assert_eq!(
        lp.run_until_complete(async {
            local.stop();
            5
        })
        .unwrap(),
        5
    );
    lp.run_until_complete(async {
        for _ in 0..200 {
            yield_now().await;
        }
    })
    .unwrap();
}

#[test]
fn a_run_that_panicked_leaves_nothing_that_ends_the_next_one() {
    let mut lp = new_loop();
    let local = lp.local();
    let panicked = lp.run_until_complete(async {
        local.stop();
        panic!("half-way");
    });
    assert!(matches!(panicked, Err(RunError::Panicked(_))));
    lp.run_until_complete(async {
        for _ in 0..200 {
            yield_now().await;
        }
    })
    .unwrap();
}

#[test]
fn stop_from_another_thread_ends_an_idle_run() {
    let mut lp = new_loop();
    for _ in 0..100 {
        let handle = lp.handle();
        let other = std::thread::spawn(move || handle.stop());
        lp.run_forever().unwrap();
        other.join().unwrap();
    }
}

#[test]
fn stop_from_another_thread_ends_a_busy_run() {
    let mut lp = new_loop();
    let handle = lp.handle();
    let (started, go) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        go.recv().unwrap();
        handle.stop();
    });
    let outcome = lp.run_until_complete(async {
        started.send(()).unwrap();
        loop {
            yield_now().await;
        }
    });
    assert!(matches!(outcome, Err(RunError::Stopped)), "{outcome:?}");
    other.join().unwrap();
}

/// CPython: `test_single_selecter_event_callback_after_stopping`.
#[test]
fn an_event_that_was_pending_at_the_stop_is_handled_once() {
    let mut lp = new_loop();
    let (here, mut there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let trace = Trace::new();
    let noted = trace.clone();
    let mut reading = here.try_clone().unwrap();
    lp.add_reader(&here, move || {
        let mut buffer = [0; 8];
        noted.note(reading.read(&mut buffer).unwrap());
    })
    .unwrap();
    there.write_all(b"x").unwrap();
    for _ in 0..2 {
        let local = lp.local();
        lp.call_soon(move || local.stop());
        lp.run_forever().unwrap();
    }
    // The first run ended with the event seen or not; whatever is left, a third one brings up.
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), [1]);
}

#[test]
fn the_current_loop_is_known_inside_and_nowhere_else() {
    let error = LocalLoop::current().unwrap_err();
    assert_eq!(error.call(), "LocalLoop::current");
    let words = error.to_string();
    assert!(words.contains("LocalLoop::current"), "{words}");
    assert!(words.contains("run_until_complete"), "{words}");

    let mut lp = new_loop();
    assert!(LocalLoop::current().is_err());
    assert!(!lp.is_running());
    lp.call_soon(|| assert!(LocalLoop::current().unwrap().is_running()));
    lp.run_until_complete(async { assert!(LocalLoop::current().unwrap().is_running()) })
        .unwrap();
    assert!(!lp.is_running());
    assert!(LocalLoop::current().is_err());
}
