//! The loop from other threads, and blocking work in them.

mod trace;

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use rondel_executor::{JobError, ThreadPool};
use rondel_loop::{
    EventLoop, JoinError, LoopClosed, LoopHandle, RemoteError, RemoteTask, run_in_executor, sleep,
    spawn, timeout, to_thread, yield_now,
};
use rondel_poll::Virtual;
use trace::Trace;

const HOUR: Duration = Duration::from_secs(3600);

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

fn virtual_loop() -> EventLoop {
    EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap()
}

/// Runs `f` in a thread beside a running loop, until `f` has returned.
fn beside<T: Send + 'static>(
    lp: &mut EventLoop,
    f: impl FnOnce(LoopHandle) -> T + Send + 'static,
) -> T {
    let handle = lp.handle();
    let other = thread::spawn(move || {
        let value = f(handle.clone());
        handle.stop();
        value
    });
    lp.run_forever().unwrap();
    other.join().unwrap()
}

#[test]
fn handles_may_go_anywhere() {
    fn assert_send_sync<T: Send + Sync + Clone>() {}
    fn assert_send<T: Send>() {}
    assert_send_sync::<LoopHandle>();
    assert_send::<RemoteTask<u8>>();
    assert_send::<rondel_loop::Outstanding>();
}

/// CPython: `test_call_soon_threadsafe`.
#[test]
fn a_callback_from_another_thread_wakes_a_blocked_loop() {
    for mut lp in [new_loop(), virtual_loop()] {
        for _ in 0..100 {
            let handle = lp.handle();
            let other = thread::spawn(move || {
                let stop = handle.clone();
                handle.call_soon_threadsafe(move || stop.stop()).unwrap();
            });
            // There is nothing else that could end this.
            lp.run_forever().unwrap();
            other.join().unwrap();
        }
    }
}

/// CPython: `test_call_soon_threadsafe_same_thread`.
#[test]
fn on_the_loops_own_thread_it_keeps_its_place() {
    let mut lp = new_loop();
    let (send, received) = mpsc::channel();
    let handle = lp.handle();
    assert!(handle.is_own_thread());
    for number in 0..6 {
        let send = send.clone();
        if number % 2 == 0 {
            handle
                .call_soon_threadsafe(move || send.send(number).unwrap())
                .unwrap();
        } else {
            lp.call_soon(move || send.send(number).unwrap());
        }
    }
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(received.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn each_threads_callbacks_stay_in_order() {
    const THREADS: usize = 4;
    const EACH: usize = 3000;
    let mut lp = new_loop();
    let last = Arc::new(Mutex::new([0; THREADS]));
    let seen = Arc::clone(&last);
    beside(&mut lp, move |handle| {
        assert!(!handle.is_own_thread());
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (handle, seen) = (handle.clone(), Arc::clone(&seen));
                thread::spawn(move || {
                    for turn in 1..=EACH {
                        let seen = Arc::clone(&seen);
                        let callback = move || {
                            let mut seen = seen.lock().unwrap();
                            assert_eq!(seen[number], turn - 1);
                            seen[number] = turn;
                        };
                        handle.call_soon_threadsafe(callback).unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        // Behind everything else.
        handle.spawn(async {}).unwrap().result(None).unwrap();
    });
    assert_eq!(*last.lock().unwrap(), [EACH; THREADS]);
}

#[test]
fn callbacks_run_on_the_loops_thread() {
    let mut lp = new_loop();
    let here = thread::current().id();
    beside(&mut lp, move |handle| {
        let (send, received) = mpsc::channel();
        handle
            .call_soon_threadsafe(move || send.send(thread::current().id()).unwrap())
            .unwrap();
        assert_eq!(received.recv().unwrap(), here);
    });
}

// Tasks spawned from elsewhere. CPython: `RunCoroutineThreadsafeTests`.

#[test]
fn a_task_spawned_from_a_thread_gives_its_result_there() {
    let mut lp = new_loop();
    beside(&mut lp, |handle| {
        let task = handle.spawn(async {
            yield_now().await;
            3
        });
        assert_eq!(task.unwrap().result(None).unwrap(), 3);
    });
}

#[test]
fn one_that_is_not_send_is_made_at_home() {
    let mut lp = new_loop();
    beside(&mut lp, |handle| {
        let task = handle.spawn_with(|| async {
            let local = Rc::new(Cell::new(20));
            sleep(Duration::from_micros(50)).await;
            local.get() + 1
        });
        assert_eq!(task.unwrap().result(None).unwrap(), 21);
    });
}

#[test]
fn its_panic_comes_back_to_the_thread() {
    let mut lp = new_loop();
    beside(&mut lp, |handle| {
        let task = handle
            .spawn(async {
                if true {
                    panic!("remote");
                }
            })
            .unwrap();
        match task.result(None) {
            Err(RemoteError::Join(JoinError::Panicked(payload))) => {
                assert_eq!(payload.message(), Some("remote"));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_wait_that_runs_out_gives_the_task_back_and_it_can_be_cancelled() {
    let mut lp = new_loop();
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let counts = Counts(Arc::clone(&dropped));
    beside(&mut lp, |handle| {
        let task = handle
            .spawn(async move {
                let _counts = counts;
                pending::<()>().await;
            })
            .unwrap();
        let task = match task.result(Some(Duration::ZERO)) {
            Err(RemoteError::TimedOut(task)) => task,
            other => panic!("{other:?}"),
        };
        assert!(!task.is_finished());
        task.cancel();
        assert!(matches!(
            task.result(None),
            Err(RemoteError::Join(JoinError::Cancelled))
        ));
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(lp.tasks().len(), 0, "none is left");
}

#[test]
fn a_task_that_cancels_itself_is_cancelled_for_the_thread() {
    let mut lp = new_loop();
    beside(&mut lp, |handle| {
        let (give, take) = mpsc::channel::<RemoteTask<()>>();
        let (back, own) = mpsc::channel();
        let task = handle
            .spawn(async move {
                let own = take.recv().unwrap();
                own.cancel();
                back.send(own).unwrap();
                pending::<()>().await;
            })
            .unwrap();
        give.send(task).unwrap();
        let task = own.recv().unwrap();
        assert!(matches!(
            task.result(None),
            Err(RemoteError::Join(JoinError::Cancelled))
        ));
    });
}

#[test]
fn waiting_on_the_loops_own_thread_is_an_error_not_a_deadlock() {
    let mut lp = new_loop();
    let handle = lp.handle();
    lp.run_until_complete(async {
        let task = handle.spawn(async { 7 }).unwrap();
        let task = match task.result(None) {
            Err(RemoteError::OwnThread(task)) => task,
            other => panic!("{other:?}"),
        };
        // Awaited instead, it gives its result; and once it has, so does asking.
        assert_eq!(task.await.unwrap(), 7);
        let task = handle.spawn(async { 8 }).unwrap();
        while !task.is_finished() {
            yield_now().await;
        }
        assert_eq!(task.result(None).unwrap(), 8);
    })
    .unwrap();
}

#[test]
fn a_remote_task_can_be_awaited_in_another_loop() {
    let mut lp = new_loop();
    let sum = beside(&mut lp, |handle| {
        rondel_loop::run(async move {
            let tasks: Vec<_> = (0..50)
                .map(|number| {
                    handle
                        .spawn(async move {
                            yield_now().await;
                            number
                        })
                        .unwrap()
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        })
        .unwrap()
    });
    assert_eq!(sum, (0..50).sum());
}

#[test]
fn dropping_a_remote_task_detaches_it() {
    let mut lp = new_loop();
    beside(&mut lp, |handle| {
        let (send, received) = mpsc::channel();
        drop(
            handle
                .spawn(async move {
                    yield_now().await;
                    send.send("went on").unwrap();
                })
                .unwrap(),
        );
        assert_eq!(received.recv().unwrap(), "went on");
    });
}

#[test]
fn a_thread_that_waits_for_a_task_learns_that_the_loop_is_gone() {
    let mut lp = new_loop();
    let handle = lp.handle();
    let (spawned, go) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let task = handle.spawn(pending::<()>()).unwrap();
        spawned.send(()).unwrap();
        task.result(None)
    });
    go.recv().unwrap();
    lp.run_until_complete(yield_now()).unwrap();
    drop(lp);
    assert!(matches!(
        waiter.join().unwrap(),
        Err(RemoteError::Join(JoinError::Cancelled))
    ));

    // The same for one that the loop has never seen.
    let lp = new_loop();
    let handle = lp.handle();
    let waiting = thread::spawn(move || handle.spawn(pending::<()>()).unwrap())
        .join()
        .unwrap();
    drop(lp);
    let outcome = thread::spawn(move || waiting.result(None)).join().unwrap();
    assert!(matches!(
        outcome,
        Err(RemoteError::Join(JoinError::Cancelled))
    ));
}

#[test]
fn threads_spawn_on_a_busy_loop_and_on_an_idle_one() {
    for busy in [false, true] {
        let mut lp = new_loop();
        if busy {
            lp.create_task(async {
                loop {
                    yield_now().await;
                }
            })
            .detach();
        }
        let sum = beside(&mut lp, |handle| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let handle = handle.clone();
                    thread::spawn(move || {
                        (0..500)
                            .map(|number| {
                                let task = handle.spawn(async move { number }).unwrap();
                                task.result(None).unwrap()
                            })
                            .sum::<u32>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum::<u32>()
        });
        assert_eq!(sum, 4 * (0..500).sum::<u32>());
    }
}

/// Whatever a close races with, every closure is called or dropped, once, and nobody hangs.
#[test]
fn callbacks_and_wakes_may_race_the_close() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    for round in 0..200 {
        let mut lp = new_loop();
        let dropped = Arc::new(AtomicUsize::new(0));
        let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
        for _ in 0..4 {
            let wakers = Arc::clone(&wakers);
            let counts = Counts(Arc::clone(&dropped));
            lp.create_task(poll_fn(move |cx| {
                let _ = &counts;
                wakers.lock().unwrap().push(cx.waker().clone());
                Poll::<()>::Pending
            }))
            .detach();
        }
        lp.run_until_complete(yield_now()).unwrap();
        let started = Arc::new(std::sync::Barrier::new(3));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let handle = lp.handle();
                let (started, dropped) = (Arc::clone(&started), Arc::clone(&dropped));
                let wakers = std::mem::take(&mut *wakers.lock().unwrap());
                thread::spawn(move || {
                    started.wait();
                    let mut sent = 0;
                    loop {
                        for waker in &wakers {
                            waker.wake_by_ref();
                        }
                        let counts = Counts(Arc::clone(&dropped));
                        let result = handle.call_soon_threadsafe(move || drop(counts));
                        sent += 1;
                        if result == Err(LoopClosed) {
                            return sent;
                        }
                    }
                })
            })
            .collect();
        started.wait();
        for _ in 0..round % 5 {
            lp.run_until_complete(yield_now()).unwrap();
        }
        let handle = lp.handle();
        drop(lp);
        let sent: usize = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        drop(wakers.lock().unwrap().drain(..));
        assert_eq!(handle.leaked(), 0);
        assert_eq!(dropped.load(Ordering::SeqCst), sent + 4, "round {round}");
    }
}

// Blocking work.

/// CPython: `test_run_in_executor`.
#[test]
fn a_job_runs_on_another_thread_and_its_result_comes_back() {
    rondel_loop::run(async {
        let here = thread::current().id();
        let (there, name) = run_in_executor(None, || {
            (
                thread::current().id(),
                thread::current().name().map(str::to_owned),
            )
        })
        .unwrap()
        .await
        .unwrap();
        assert_ne!(here, there);
        assert!(name.unwrap().starts_with("rondel-pool-"));
        assert_eq!(to_thread(|| 6 * 7).await.unwrap(), 42);
    })
    .unwrap();
}

#[test]
fn a_jobs_panic_comes_back() {
    rondel_loop::run(async {
        let job = run_in_executor(None, || -> u8 { panic!("in the pool") }).unwrap();
        match job.await {
            Err(JobError::Panicked(payload)) => assert_eq!(payload.message(), Some("in the pool")),
            other => panic!("{other:?}"),
        }
        // `to_thread` raises it where it is awaited.
        let task = spawn(to_thread(|| -> u8 { panic!("in the pool, too") }));
        match task.await {
            Err(JoinError::Panicked(payload)) => {
                assert_eq!(payload.message(), Some("in the pool, too"));
            }
            other => panic!("{other:?}"),
        }
    })
    .unwrap();
}

/// CPython: `test_threads:test_to_thread_concurrent`.
#[test]
fn ten_at_once_all_run() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    rondel_loop::run(async move {
        join_all((0..10).map(|_| {
            let counted = Arc::clone(&counted);
            to_thread(move || counted.fetch_add(1, Ordering::SeqCst))
        }))
        .await
    })
    .unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 10);
}

#[test]
fn jobs_run_beside_the_loop() {
    rondel_loop::run(async {
        let (to_job, from_loop) = mpsc::channel();
        let job = spawn(to_thread(move || from_loop.recv().unwrap()));
        yield_now().await;
        // Would never be reached if the job held the loop up.
        to_job.send("from the loop").unwrap();
        assert_eq!(job.await.unwrap().unwrap(), "from the loop");
    })
    .unwrap();
}

#[test]
fn a_job_that_has_not_begun_can_be_cancelled_one_that_has_cannot() {
    rondel_loop::run(async {
        let pool = ThreadPool::builder().threads(1).build();
        let (release, stuck) = mpsc::channel::<()>();
        let (started, begun) = mpsc::channel();
        let first = run_in_executor(Some(&pool), move || {
            started.send(()).unwrap();
            let _ = stuck.recv();
            "first"
        })
        .unwrap();
        begun.recv().unwrap();
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let second = run_in_executor(Some(&pool), move || drop(inside)).unwrap();
        assert!(second.cancel());
        assert_eq!(Arc::strong_count(&held), 1, "the closure is gone");
        assert!(second.await.unwrap_err().is_cancelled());
        assert!(!first.cancel());
        drop(release);
        assert_eq!(first.await.unwrap(), "first");
    })
    .unwrap();
}

#[test]
fn a_dropped_job_runs_to_its_end() {
    let (send, received) = mpsc::channel();
    rondel_loop::run(async {
        let outcome = timeout(
            Duration::ZERO,
            to_thread(move || send.send("went on").unwrap()),
        );
        let _ = outcome.await;
    })
    .unwrap();
    assert_eq!(received.recv().unwrap(), "went on");
}

#[test]
fn a_pool_of_ones_own_serves_beside_the_loops() {
    rondel_loop::run(async {
        let pool = ThreadPool::builder().threads(2).name("files").build();
        let name = run_in_executor(Some(&pool), || thread::current().name().map(str::to_owned))
            .unwrap()
            .await
            .unwrap()
            .unwrap();
        assert!(name.starts_with("files-"), "{name}");
        pool.close();
        let error = run_in_executor(Some(&pool), || {}).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot submit a job: the thread pool is closed"
        );
    })
    .unwrap();
}

/// CPython: `test_run_in_executor_cancel`.
#[test]
fn a_job_that_ends_after_its_loop_has_closed_schedules_nothing() {
    let mut lp = new_loop();
    let (release, stuck) = mpsc::channel::<()>();
    let (started, begun) = mpsc::channel();
    let trace = Trace::new();
    let noted = trace.clone();
    let pool = ThreadPool::builder().threads(1).build();
    lp.set_default_executor(pool.clone());
    lp.create_task(async move {
        let value = to_thread(move || {
            started.send(()).unwrap();
            let _ = stuck.recv();
        })
        .await;
        noted.note(value.is_ok());
    })
    .detach();
    lp.run_until_complete(yield_now()).unwrap();
    begun.recv().unwrap();
    let handle = lp.handle();
    lp.close();
    drop(release);
    assert!(pool.shutdown(None).is_clean());
    assert_eq!(trace.take(), []);
    assert_eq!(handle.leaked(), 0);
    assert!(!pool.is_closed() || lp.is_closed());
}

#[test]
fn closing_the_loop_closes_its_pool_without_waiting() {
    let mut lp = new_loop();
    let (release, stuck) = mpsc::channel::<()>();
    let job = lp
        .run_in_executor(None, move || stuck.recv().is_err())
        .unwrap();
    let pool = lp.default_executor().unwrap();
    lp.close();
    assert!(pool.is_closed());
    drop(release);
    assert!(job.wait().unwrap(), "what runs, runs to its end");
}

// The virtual clock stands still for work elsewhere.

#[test]
fn no_time_passes_on_a_virtual_clock_while_a_job_runs() {
    let mut lp = virtual_loop();
    let start = lp.time();
    for round in 0..20 {
        let (to_job, from_thread) = mpsc::channel();
        let value = lp.run_until_complete(timeout(
            HOUR,
            to_thread(move || {
                // Another thread takes its time; only then the job ends.
                thread::spawn(move || to_job.send(round).unwrap())
                    .join()
                    .unwrap();
                from_thread.recv().unwrap()
            }),
        ));
        assert_eq!(value.unwrap().unwrap().unwrap(), round);
    }
    assert_eq!(lp.time(), start);
}

#[test]
fn a_job_that_panics_lets_time_go_on() {
    let mut lp = virtual_loop();
    let start = lp.time();
    lp.run_until_complete(async {
        drop(run_in_executor(None, || panic!("in the pool")));
        sleep(HOUR).await;
    })
    .unwrap();
    assert_eq!(lp.time() - start, HOUR);
}

#[test]
fn a_thread_of_ones_own_holds_the_virtual_clock_by_hand() {
    let mut lp = virtual_loop();
    let start = lp.time();
    for _ in 0..50 {
        let handle = lp.handle();
        let outstanding = handle.outstanding();
        let (tell, told) = mpsc::channel();
        let other = thread::spawn(move || {
            let report = handle.clone();
            handle
                .call_soon_threadsafe(move || {
                    let _ = &report;
                    tell.send(()).unwrap();
                })
                .unwrap();
            drop(outstanding);
        });
        let before = lp.time();
        lp.run_until_complete(async {
            // Ends only after an hour; the callback must have come before any time passed.
            let local = rondel_loop::LocalLoop::current().unwrap();
            sleep(HOUR).await;
            assert_eq!(local.time() - before, HOUR);
        })
        .unwrap();
        told.try_recv().unwrap();
        other.join().unwrap();
    }
    assert_eq!(lp.time() - start, 50 * HOUR);
}

#[test]
fn many_guards_hold_it_until_the_last_one_goes() {
    let mut lp = virtual_loop();
    let start = lp.time();
    let guards: Vec<_> = (0..3).map(|_| lp.outstanding()).collect();
    let handle = lp.handle();
    let noticed = Arc::new(AtomicUsize::new(0));
    let other = thread::spawn({
        let noticed = Arc::clone(&noticed);
        move || {
            for guard in guards {
                // The loop has taken notice of us, and stands still nevertheless.
                let asked = Arc::clone(&noticed);
                let task = handle.spawn(async move { asked.fetch_add(1, Ordering::SeqCst) });
                task.unwrap().result(None).unwrap();
                drop(guard);
            }
        }
    });
    let (local, seen) = (lp.local(), Arc::clone(&noticed));
    lp.call_later(HOUR, move || {
        assert_eq!(seen.load(Ordering::SeqCst), 3);
        local.stop();
    });
    lp.run_forever().unwrap();
    other.join().unwrap();
    assert_eq!(lp.time() - start, HOUR);
}
