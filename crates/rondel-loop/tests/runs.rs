//! Running a loop: to the end of a future, again and again, and what is left when it ends.

mod child;
mod trace;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::time::Duration;

use child::{child, is_child};
use rondel_executor::{ThreadPool, leave};
use rondel_loop::signal::Signal;
use rondel_loop::{
    EventLoop, JoinError, LocalLoop, LoopClosed, RunError, RunOptions, Runner, SourceKind, sleep,
    spawn, to_thread, yield_now,
};
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

/// Has the loop's reports noted instead of printed.
fn reports(lp: &EventLoop) -> Trace<String> {
    let trace = Trace::new();
    let noted = trace.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        noted.note(context.to_string());
    })));
    trace
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
fn awaiting_a_task_of_a_loop_that_is_gone_ends() {
    let mut lp = new_loop();
    let mut other = new_loop();
    let task = other.create_task(pending::<()>());
    other.run_until_complete(yield_now()).unwrap();
    let waiting = lp.create_task(task);
    lp.run_until_complete(yield_now()).unwrap();
    drop(other);
    let outcome = lp.run_until_complete(waiting).unwrap().unwrap();
    assert!(outcome.unwrap_err().is_cancelled());
}

#[test]
fn after_close_every_call_is_a_typed_error() {
    fn says_closed<T>(result: std::io::Result<T>) {
        let error = result.err().unwrap();
        assert!(error.get_ref().unwrap().is::<LoopClosed>(), "{error}");
    }

    let mut lp = new_loop();
    let (local, handle) = (lp.local(), lp.handle());
    let (here, _there) = UnixStream::pair().unwrap();
    lp.add_reader(&here, || {}).unwrap();
    lp.close();
    lp.close();
    assert!(lp.is_closed() && local.is_closed() && handle.is_closed());

    assert!(matches!(
        lp.run_until_complete(async {}),
        Err(RunError::Closed)
    ));
    assert!(matches!(lp.run_forever(), Err(RunError::Closed)));
    assert!(matches!(lp.run_once(Wait::Poll), Err(RunError::Closed)));
    assert!(matches!(lp.run_until_idle(SECOND), Err(RunError::Closed)));
    assert_eq!(RunError::Closed.to_string(), "the event loop is closed");

    let held = Rc::new(());
    let inside = Rc::clone(&held);
    assert!(local.call_soon(move || drop(inside)).cancelled());
    let inside = Rc::clone(&held);
    assert!(local.call_later(SECOND, move || drop(inside)).cancelled());
    let inside = Rc::clone(&held);
    assert!(
        local
            .call_at(local.time(), move || drop(inside))
            .cancelled()
    );
    let inside = Rc::clone(&held);
    let task = local.create_task(async move { drop(inside) });
    assert!(task.into_result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(Rc::strong_count(&held), 1, "all of it is dropped, uncalled");

    assert_eq!(handle.call_soon_threadsafe(|| {}), Err(LoopClosed));
    assert_eq!(handle.spawn(async {}).unwrap_err(), LoopClosed);
    assert_eq!(handle.spawn_with(|| async {}).unwrap_err(), LoopClosed);
    std::thread::spawn(move || {
        assert_eq!(handle.call_soon_threadsafe(|| {}), Err(LoopClosed));
        assert_eq!(handle.spawn(async {}).unwrap_err(), LoopClosed);
        handle.stop();
        drop(handle.outstanding());
    })
    .join()
    .unwrap();

    says_closed(local.add_reader(&here, || {}));
    says_closed(local.add_writer(&here, || {}));
    assert!(!local.remove_reader(&here));
    assert!(!local.remove_writer(&here));
    says_closed(local.add_signal_handler(Signal::USER1, || {}));
    assert!(!local.remove_signal_handler(Signal::USER1));
    says_closed(local.register(here.into(), SourceKind::UnixStream));
    says_closed(local.default_executor());
    says_closed(local.run_in_executor(None, || {}));
    assert_eq!(lp.next_deadline(), None);
    assert_eq!(lp.tasks().len(), 0);
    assert_eq!(lp.cancel_all_tasks(), 0);
}

#[test]
fn a_loop_that_is_dropped_is_closed() {
    let lp = new_loop();
    let local = lp.local();
    drop(lp);
    assert!(local.is_closed());
}

#[test]
fn what_is_dropped_at_close_may_use_the_loop() {
    struct Busy(LocalLoop, Trace<bool>);
    impl Drop for Busy {
        fn drop(&mut self) {
            let lp = &self.0;
            let (here, _there) = UnixStream::pair().unwrap();
            lp.call_soon(|| unreachable!("closed"));
            lp.call_later(SECOND, || unreachable!("closed"));
            lp.create_task(async { unreachable!("closed") }).detach();
            assert!(lp.add_reader(&here, || {}).is_err());
            assert!(lp.run_in_executor(None, || {}).is_err());
            let _ = lp.handle().call_soon_threadsafe(|| unreachable!("closed"));
            lp.stop();
            lp.set_exception_handler(None);
            // The loop counts as the current one while what belongs to it goes.
            self.1.note(LocalLoop::current().is_ok());
        }
    }
    let trace = Trace::new();
    let mut lp = new_loop();
    let busy = || Busy(lp.local(), trace.clone());
    let (soon, later, begun, task, reader, writer) =
        (busy(), busy(), busy(), busy(), busy(), busy());
    let (here, _there) = UnixStream::pair().unwrap();
    lp.create_task(async move {
        let _begun = begun;
        pending::<()>().await;
    })
    .detach();
    lp.run_until_complete(yield_now()).unwrap();
    lp.call_soon(move || drop(soon));
    lp.call_later(SECOND, move || drop(later));
    lp.create_task(async move { drop(task) }).detach();
    lp.add_reader(&here, move || _ = &reader).unwrap();
    lp.add_writer(&here, move || _ = &writer).unwrap();
    lp.close();
    assert_eq!(trace.take(), [true; 6]);
    assert!(LocalLoop::current().is_err());
}

#[test]
fn waking_after_the_loop_is_gone_does_nothing() {
    let mut lp = new_loop();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let kept = Rc::clone(&waker);
    lp.create_task(poll_fn(move |cx| {
        *kept.borrow_mut() = Some(cx.waker().clone());
        Poll::<()>::Pending
    }))
    .detach();
    lp.run_until_complete(yield_now()).unwrap();
    let main = Cell::new(None::<Waker>);
    let _ = lp.run_until_complete(poll_fn(|cx| {
        main.set(Some(cx.waker().clone()));
        Poll::Ready(())
    }));
    drop(lp);
    let (task, main) = (waker.take().unwrap(), main.take().unwrap());
    task.wake_by_ref();
    main.wake_by_ref();
    std::thread::spawn(move || {
        task.wake_by_ref();
        drop(task.clone());
        main.wake();
        task.wake();
    })
    .join()
    .unwrap();
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
fn a_loop_in_a_thread_local_goes_with_its_thread() {
    thread_local! {
        static LOOP: RefCell<Option<EventLoop>> = const { RefCell::new(None) };
    }
    let (tell, told) = mpsc::channel();
    struct Tells(mpsc::Sender<&'static str>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    std::thread::spawn(move || {
        LOOP.with_borrow_mut(|lp| {
            let lp = lp.insert(new_loop());
            let tells = Tells(tell);
            lp.create_task(async move {
                let _tells = tells;
                pending::<()>().await;
            })
            .detach();
            lp.run_until_complete(yield_now()).unwrap();
        });
    })
    .join()
    .unwrap();
    assert_eq!(told.recv(), Ok("dropped"));
}

#[test]
fn a_loop_may_be_dropped_inside_another_one() {
    let mut lp = new_loop();
    let mut other = new_loop();
    other.create_task(pending::<()>()).detach();
    other.run_until_complete(yield_now()).unwrap();
    lp.run_until_complete(async {
        drop(other);
        assert!(!LocalLoop::current().unwrap().is_closed());
        sleep(Duration::from_micros(1)).await;
        spawn(async {}).await.unwrap();
    })
    .unwrap();
}

// `run` and `Runner`.

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
    assert!(said[0].contains("runs.rs"), "{}", said[0]);
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
