//! `run` and `Runner`: what is left when `main` has ended, and how it is ended.

mod trace;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use rondel_executor::leave;
use rondel_loop::{EventLoop, RunError, RunOptions, Runner, sleep, spawn, to_thread, yield_now};
use rondel_poll::Virtual;
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

/// Has the loop's reports noted instead of printed.
fn reports(lp: &EventLoop) -> Trace<String> {
    let trace = Trace::new();
    let noted = trace.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        noted.note(context.to_string());
    })));
    trace
}

/// A task that cleans up for a while when it is cancelled.
async fn careful(trace: Trace<&'static str>, takes: Duration) {
    struct Careful(Trace<&'static str>, Duration);
    impl Drop for Careful {
        fn drop(&mut self) {
            let (trace, takes) = (self.0.clone(), self.1);
            leave(Box::pin(async move {
                trace.note("cleaning up");
                sleep(takes).await;
                trace.note("cleaned up");
            }));
        }
    }
    let _careful = Careful(trace, takes);
    pending().await
}

/// CPython: `test_asyncio_run_cancels_hanging_tasks`.
#[test]
fn run_cancels_what_is_left_and_waits_for_it() {
    let trace = Trace::new();
    let noted = trace.clone();
    let result = rondel_loop::run(async {
        spawn(careful(noted, Duration::from_micros(100))).detach();
        yield_now().await;
        "the result is kept"
    });
    assert_eq!(result.unwrap(), "the result is kept");
    assert_eq!(trace.take(), ["cleaning up", "cleaned up"]);
}

#[test]
fn run_cleans_up_also_after_a_panic() {
    let trace = Trace::new();
    let noted = trace.clone();
    let result = rondel_loop::run(async {
        spawn(careful(noted, Duration::ZERO)).detach();
        yield_now().await;
        panic!("main");
    });
    assert!(matches!(result, Err(RunError::Panicked(_))));
    assert_eq!(trace.take(), ["cleaning up", "cleaned up"]);
}

/// tokio: `rt_common::shutdown_concurrent_spawn`, in a thread and without.
#[test]
fn ten_thousand_pending_tasks_end_with_the_run_while_others_are_spawned() {
    const COUNT: usize = 10_000;
    struct Counts(std::sync::Arc<std::sync::atomic::AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let dropped = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let lp = new_loop();
    let _reports = reports(&lp);
    // Somebody who keeps spawning can only be cut off.
    let options = RunOptions::new().task_grace(Duration::from_millis(5));
    let mut runner = Runner::with(lp, options);
    runner
        .run(async {
            for _ in 0..COUNT {
                let counts = Counts(dropped.clone());
                spawn(async move {
                    let _counts = counts;
                    pending::<()>().await;
                })
                .detach();
            }
            yield_now().await;
        })
        .unwrap();
    let (handle, counted) = (runner.event_loop().handle(), dropped.clone());
    let other = std::thread::spawn(move || {
        let mut refused = 0;
        while refused < 100 {
            let counts = Counts(counted.clone());
            refused += usize::from(handle.spawn(async move { drop(counts) }).is_err());
        }
    });
    runner.close();
    other.join().unwrap();
    assert!(dropped.load(std::sync::atomic::Ordering::SeqCst) >= COUNT + 100);
}

/// CPython: `test_asyncio_run_reports_hanging_tasks_errors`.
#[test]
fn what_fails_while_it_is_cancelled_is_reported() {
    let lp = new_loop();
    let reports = reports(&lp);
    let mut runner = Runner::with(lp, RunOptions::new());
    runner
        .run(async {
            spawn(async {
                struct Bomb;
                impl Drop for Bomb {
                    fn drop(&mut self) {
                        leave(Box::pin(async { panic!("while cleaning up") }));
                        panic!("while dropped");
                    }
                }
                let _bomb = Bomb;
                pending::<()>().await;
            })
            .named("bomb")
            .detach();
            yield_now().await;
        })
        .unwrap();
    runner.close();
    let said = reports.take();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("while dropped") && said[0].contains("\"bomb\""),
        "{}",
        said[0]
    );
    assert!(said[1].contains("while cleaning up"), "{}", said[1]);
}

#[test]
fn a_cleanup_that_takes_too_long_is_reported_and_dropped() {
    let lp = virtual_loop();
    let reports = reports(&lp);
    let start = lp.time();
    let local = lp.local();
    let trace = Trace::new();
    let mut runner = Runner::with(lp, RunOptions::new());
    let noted = trace.clone();
    runner
        .run(async {
            spawn(careful(noted, 3600 * SECOND)).detach();
            yield_now().await;
        })
        .unwrap();
    runner.close();
    assert_eq!(trace.take(), ["cleaning up"]);
    let said = reports.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("took longer than 10s"), "{}", said[0]);
    assert_eq!(local.time() - start, 10 * SECOND);
}

#[test]
fn tasks_that_would_not_end_are_reported_and_dropped() {
    let lp = virtual_loop();
    let reports = reports(&lp);
    let start = lp.time();
    let local = lp.local();
    let options = RunOptions::new().task_grace(2 * SECOND);
    let mut runner = Runner::with(lp, options);
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    runner
        .run(async {
            spawn(async {
                struct Leaves(Rc<()>);
                impl Drop for Leaves {
                    fn drop(&mut self) {
                        let held = Rc::clone(&self.0);
                        leave(Box::pin(async move {
                            sleep(5 * SECOND).await;
                            drop(held);
                        }));
                    }
                }
                let _leaves = Leaves(inside);
                pending::<()>().await;
            })
            .detach();
            yield_now().await;
        })
        .unwrap();
    runner.close();
    let said = reports.take();
    assert!(
        said[0].contains("had not ended 2s after they were cancelled"),
        "{said:?}"
    );
    assert_eq!(local.time() - start, 2 * SECOND);
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn a_job_that_would_not_end_is_reported_with_where_it_came_from() {
    let lp = new_loop();
    let reports = reports(&lp);
    let (release, stuck) = mpsc::channel::<()>();
    let options = RunOptions::new().pool_grace(Duration::from_millis(1));
    let mut runner = Runner::with(lp, options);
    let (started, go) = mpsc::channel();
    runner
        .run(async {
            let job = rondel_loop::run_in_executor(None, move || {
                started.send(()).unwrap();
                stuck.recv()
            });
            drop(job);
            go.recv().unwrap();
        })
        .unwrap();
    runner.close();
    drop(release);
    let said = reports.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("the thread pool was left behind"),
        "{}",
        said[0]
    );
    assert!(said[0].contains("runner.rs"), "{}", said[0]);
}

#[test]
fn run_waits_for_jobs_that_end_in_time() {
    let trace = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&trace);
    let (go, wait) = mpsc::channel::<()>();
    rondel_loop::run(async {
        drop(rondel_loop::run_in_executor(None, move || {
            // Goes on only once `main` has ended, which drops the sender.
            let _ = wait.recv();
            noted.lock().unwrap().push("done");
        }));
        let _go = go;
    })
    .unwrap();
    assert_eq!(*trace.lock().unwrap(), ["done"]);
}

#[test]
fn a_task_that_waits_for_a_job_is_cancelled_without_waiting() {
    let (release, stuck) = mpsc::channel::<()>();
    let lp = new_loop();
    let reports = reports(&lp);
    let options = RunOptions::new().pool_grace(Duration::ZERO);
    let mut runner = Runner::with(lp, options);
    runner
        .run(async {
            spawn(to_thread(move || stuck.recv().is_ok())).detach();
            yield_now().await;
        })
        .unwrap();
    runner.close();
    drop(release);
    let said = reports.take();
    assert!(
        said.iter().all(|report| report.contains("thread pool")),
        "{said:?}"
    );
}

/// CPython: `test_run_keeps_context`, as far as it goes without task-local values.
#[test]
fn a_runner_keeps_its_loop_and_its_tasks() {
    let mut runner = Runner::new().unwrap();
    let trace = Trace::new();
    let noted = trace.clone();
    let going_on = async move {
        loop {
            noted.note("still here");
            yield_now().await;
        }
    };
    let task = runner.event_loop().create_task(going_on);
    let first = runner.event_loop().time();
    for _ in 0..3 {
        runner.run(yield_now()).unwrap();
        assert!(!trace.take().is_empty());
    }
    assert!(runner.event_loop().time() >= first);
    runner.close();
    assert!(runner.event_loop().is_closed());
    assert!(task.into_result().unwrap().unwrap_err().is_cancelled());
    assert!(matches!(runner.run(async {}), Err(RunError::Closed)));
    runner.close();
}

#[test]
fn dropping_a_runner_ends_as_well_as_closing_it() {
    let trace = Trace::new();
    let mut runner = Runner::new().unwrap();
    let noted = trace.clone();
    runner
        .run(async move {
            spawn(careful(noted, Duration::from_micros(1))).detach();
            yield_now().await;
        })
        .unwrap();
    assert_eq!(trace.take(), [] as [&str; 0]);
    drop(runner);
    assert_eq!(trace.take(), ["cleaning up", "cleaned up"]);
}

#[test]
fn cancelling_all_tasks_spares_cleanups_and_idle_means_none_are_left() {
    let mut lp = virtual_loop();
    let trace = Trace::new();
    for _ in 0..3 {
        lp.create_task(careful(trace.clone(), SECOND)).detach();
    }
    lp.create_task(sleep(5 * SECOND)).detach();
    lp.run_until_complete(yield_now()).unwrap();
    lp.create_task(sleep(5 * SECOND)).detach();
    assert_eq!(lp.cancel_all_tasks(), 5, "suspended or not yet begun");
    lp.run_until_complete(sleep(SECOND / 2)).unwrap();
    assert_eq!(lp.cancel_all_tasks(), 0, "cleaning up already");
    let start = lp.time();
    assert_eq!(lp.run_until_idle(100 * SECOND).unwrap(), 0);
    assert_eq!(lp.time() - start, SECOND / 2, "and no longer than it takes");
    assert_eq!(trace.take().len(), 6);
    assert_eq!(lp.next_deadline(), None);
}

#[test]
fn running_until_idle_has_a_limit() {
    let mut lp = virtual_loop();
    let start = lp.time();
    lp.create_task(sleep(10 * SECOND)).detach();
    assert_eq!(lp.run_until_idle(3 * SECOND).unwrap(), 1);
    assert_eq!(lp.time() - start, 3 * SECOND);
    assert_eq!(lp.run_until_idle(Duration::MAX).unwrap(), 0);
    assert_eq!(lp.time() - start, 10 * SECOND);
}

#[test]
fn running_until_idle_is_not_kept_busy_by_a_stop() {
    let mut lp = virtual_loop();
    let start = lp.time();
    let local = lp.local();
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    lp.create_task(async move {
        local.stop();
        let mut sleep = std::pin::pin!(sleep(3 * SECOND));
        poll_fn(|cx| {
            counted.set(counted.get() + 1);
            sleep.as_mut().poll(cx)
        })
        .await;
    })
    .detach();
    assert_eq!(lp.run_until_idle(10 * SECOND).unwrap(), 0);
    assert_eq!(lp.time() - start, 3 * SECOND);
    assert_eq!(polls.get(), 2);
    lp.run_until_complete(sleep(SECOND)).unwrap();
}
