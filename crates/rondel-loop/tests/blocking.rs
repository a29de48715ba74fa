//! Blocking work in threads, and a virtual clock that waits for it.

mod trace;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use rondel_executor::{JobError, ThreadPool};
use rondel_loop::{
    EventLoop, JoinError, run_in_executor, sleep, spawn, timeout, to_thread, yield_now,
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
