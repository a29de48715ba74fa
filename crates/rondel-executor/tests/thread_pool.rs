//! The thread pool, against real threads. Nothing here waits by sleeping: jobs are held and released by channels.
#![cfg(not(rondel_loom))]

use std::collections::HashSet;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::{FutureExt, join_all};
use rondel_executor::{Job, JobError, SubmitError, ThreadPool};

/// A pool of `threads` whose idle threads stay.
fn pool(threads: usize) -> ThreadPool {
    ThreadPool::builder()
        .threads(threads)
        .idle_timeout(None)
        .build()
}

/// A job that tells when it has started and then waits to be released.
struct Held {
    started: Receiver<()>,
    release: Sender<()>,
    job: Job<()>,
}

impl Held {
    #[track_caller]
    fn submit(pool: &ThreadPool) -> Self {
        let (tell, started) = channel();
        let (release, released) = channel::<()>();
        let job = pool.submit(move || {
            tell.send(()).unwrap();
            let _ = released.recv();
        });
        Self {
            started,
            release,
            job: job.unwrap(),
        }
    }

    fn started(self) -> Self {
        self.started.recv().unwrap();
        self
    }

    fn finish(self) {
        drop(self.release);
        self.job.wait().unwrap();
    }
}

/// Counts its wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Sends when it is dropped, and on which thread.
struct Dropped(Sender<thread::ThreadId>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

thread_local! {
    /// Put into a pool's thread, tells when that thread ends.
    static AT_END: std::cell::RefCell<Option<Dropped>> = const { std::cell::RefCell::new(None) };
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// The names of this process's threads that start with `prefix`, as the kernel has them.
#[cfg(target_os = "linux")]
fn kernel_threads(prefix: &str) -> HashSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

// ---- Threads ----------------------------------------------------------------------------------------------------------

#[test]
#[cfg(target_os = "linux")]
fn threads_start_when_they_are_needed_and_are_named() {
    let pool = ThreadPool::builder().threads(3).name("lazy").build();
    assert_eq!(kernel_threads("lazy-"), HashSet::new());
    let first = Held::submit(&pool).started();
    assert_eq!(kernel_threads("lazy-"), HashSet::from(["lazy-0".into()]));
    let second = Held::submit(&pool).started();
    assert_eq!(
        kernel_threads("lazy-"),
        HashSet::from(["lazy-0".into(), "lazy-1".into()])
    );
    first.finish();
    // One is free again, so there is no third.
    let name = pool.submit(|| thread::current().name().map(str::to_owned));
    assert_eq!(name.unwrap().wait().unwrap().as_deref(), Some("lazy-0"));
    assert_eq!(pool.threads(), 2);
    second.finish();
    assert!(pool.shutdown(None).is_clean());
    // Joined, but the kernel lists a thread a moment longer than the C library.
    while !kernel_threads("lazy-").is_empty() {
        thread::yield_now();
    }
}

#[test]
fn one_job_after_the_other_takes_one_thread() {
    let pool = pool(8);
    let threads = (0..1000)
        .map(|_| {
            pool.submit(|| thread::current().id())
                .unwrap()
                .wait()
                .unwrap()
        })
        .collect::<HashSet<_>>();
    assert_eq!(threads.len(), 1);
    assert_eq!(pool.threads(), 1);
}

#[test]
fn no_more_threads_than_allowed() {
    let pool = pool(3);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let held = (0..3)
        .map(|_| Held::submit(&pool).started())
        .collect::<Vec<_>>();
    let jobs = (0..200)
        .map(|_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            let work = move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            };
            pool.submit(work).unwrap()
        })
        .collect::<Vec<_>>();
    assert_eq!(
        (pool.threads(), pool.queued(), pool.running().len()),
        (3, 200, 3)
    );
    held.into_iter().for_each(Held::finish);
    jobs.into_iter().for_each(|job| job.wait().unwrap());
    assert!(most.load(Ordering::SeqCst) <= 3);
    assert_eq!(pool.threads(), 3);
}

#[test]
fn the_defaults() {
    let pool = ThreadPool::new();
    assert!((5..=32).contains(&pool.max_threads()));
    let name = pool.submit(|| thread::current().name().unwrap().to_owned());
    assert_eq!(name.unwrap().wait().unwrap(), "rondel-pool-0");
    assert_eq!(ThreadPool::builder().threads(0).build().max_threads(), 1);
}

#[test]
fn a_name_with_a_nul_is_no_panic() {
    let pool = ThreadPool::builder().name("a\0b").build();
    let name = pool.submit(|| thread::current().name().unwrap().to_owned());
    assert_eq!(name.unwrap().wait().unwrap(), "ab-0");
}

#[test]
fn a_thread_that_cannot_start_is_an_error() {
    let pool = ThreadPool::builder().stack_size(usize::MAX).build();
    let (sender, dropped) = channel();
    let captured = Dropped(sender);
    let refused = pool.submit(move || drop(captured)).unwrap_err();
    assert!(matches!(refused, SubmitError::NoThread(_)), "{refused:?}");
    assert!(std::error::Error::source(&refused).is_some());
    assert_eq!(dropped.recv(), Ok(thread::current().id()));
    assert_eq!(
        (pool.outstanding(), pool.queued(), pool.threads()),
        (0, 0, 0)
    );
    assert!(pool.shutdown(None).is_clean());
}

#[test]
fn an_idle_thread_ends_and_another_takes_its_place() {
    let pool = ThreadPool::builder()
        .threads(1)
        .idle_timeout(Some(Duration::from_millis(1)))
        .build();
    for _ in 0..3 {
        let (sender, ended) = channel();
        let job = pool.submit(move || {
            AT_END.with_borrow_mut(|at_end| *at_end = Some(Dropped(sender)));
            thread::current().id()
        });
        let id = job.unwrap().wait().unwrap();
        assert_eq!(ended.recv(), Ok(id));
        assert_eq!(pool.threads(), 0);
    }
}

#[test]
fn jobs_that_race_the_idle_timeout_all_run() {
    let pool = ThreadPool::builder()
        .threads(2)
        .idle_timeout(Some(Duration::ZERO))
        .build();
    for i in 0..3000 {
        assert_eq!(pool.submit(move || i).unwrap().wait().unwrap(), i);
        if i % 3 == 0 {
            thread::yield_now();
        }
    }
    assert!(pool.shutdown(None).is_clean());
}

#[test]
fn the_last_clone_closes_the_pool_and_the_queue_still_runs() {
    let pool = pool(1);
    let (sender, ended) = channel();
    let held = Held::submit(&pool).started();
    let job = pool
        .submit(move || AT_END.with_borrow_mut(|at_end| *at_end = Some(Dropped(sender))))
        .unwrap();
    drop(pool.clone());
    assert!(!pool.is_closed());
    drop(pool);
    held.finish();
    job.wait().unwrap();
    ended.recv().unwrap();
}

// ---- Jobs -------------------------------------------------------------------------------------------------------------

#[test]
fn one_thread_runs_jobs_in_the_order_of_submission() {
    let pool = pool(1);
    let held = Held::submit(&pool).started();
    let order = Arc::new(Mutex::new(Vec::new()));
    let jobs = (0..1000)
        .map(|i| {
            let order = Arc::clone(&order);
            pool.submit(move || order.lock().unwrap().push(i)).unwrap()
        })
        .collect::<Vec<_>>();
    // Cancelled ones do not disturb the order, however many they are.
    for job in jobs
        .iter()
        .skip(1)
        .step_by(2)
        .chain(jobs.iter().skip(2).step_by(4))
    {
        assert!(job.cancel());
    }
    assert_eq!(pool.queued(), 250);
    held.finish();
    for (i, job) in jobs.into_iter().enumerate() {
        assert_eq!(job.wait().is_ok(), i % 4 == 0);
    }
    assert_eq!(
        *order.lock().unwrap(),
        (0..1000).step_by(4).collect::<Vec<_>>()
    );
}

#[test]
fn every_producer_gets_its_results() {
    let pool = pool(4);
    thread::scope(|scope| {
        for producer in 0..8_u64 {
            let pool = &pool;
            scope.spawn(move || {
                let jobs = (0..500).map(|i| pool.submit(move || producer * 1000 + i).unwrap());
                let results = block_on(join_all(jobs.collect::<Vec<_>>()));
                for (i, result) in results.into_iter().enumerate() {
                    assert_eq!(result.unwrap(), producer * 1000 + i as u64);
                }
            });
        }
    });
    block_on(pool.drained());
    assert_eq!(pool.outstanding(), 0);
    assert!(pool.threads() <= 4);
}

#[test]
fn a_panic_reaches_the_caller_and_the_thread_goes_on() {
    let pool = pool(1);
    let before = pool
        .submit(|| thread::current().id())
        .unwrap()
        .wait()
        .unwrap();
    let job = pool
        .submit(|| -> () { resume_unwind(Box::new(4711)) })
        .unwrap();
    match job.wait() {
        Err(JobError::Panicked(payload)) => {
            assert_eq!(payload.into_inner().downcast_ref::<i32>(), Some(&4711));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        pool.submit(|| thread::current().id())
            .unwrap()
            .wait()
            .unwrap(),
        before
    );
}

#[test]
fn a_result_is_given_once() {
    let pool = pool(1);
    let mut job = pool.submit(|| 1).unwrap();
    assert_eq!(block_on(&mut job).unwrap(), 1);
    assert!(job.is_finished());
    assert!(matches!(block_on(&mut job), Err(JobError::Taken)));
}

#[test]
fn cancelling_a_queued_job_drops_its_closure_at_once() {
    let pool = pool(1);
    let held = Held::submit(&pool).started();
    assert!(!held.job.cancel());
    assert!(!held.job.is_finished());

    let (sender, dropped) = channel();
    let captured = Dropped(sender);
    let ran = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    let mut job = pool
        .submit(move || {
            flag.store(true, Ordering::SeqCst);
            drop(captured);
        })
        .unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(
        job.poll_unpin(&mut Context::from_waker(&waker))
            .is_pending()
    );

    assert!(job.cancel());
    assert_eq!(dropped.try_recv(), Ok(thread::current().id()));
    assert_eq!(wakes.count(), 1);
    assert!(!job.cancel());
    assert!(matches!(block_on(job), Err(JobError::Cancelled)));
    held.finish();
    block_on(pool.drained());
    assert!(!ran.load(Ordering::SeqCst));
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn a_job_that_has_run_cannot_be_cancelled() {
    let pool = pool(1);
    let mut job = pool.submit(|| 5).unwrap();
    block_on(pool.drained());
    assert!(!job.cancel());
    assert_eq!(block_on(&mut job).unwrap(), 5);
    assert!(!job.cancel());
}

#[test]
fn dropping_a_job_detaches_it() {
    let pool = pool(1);
    let held = Held::submit(&pool).started();
    let (sender, ran) = channel();
    drop(
        pool.submit(move || sender.send(thread::current().id()))
            .unwrap(),
    );
    held.finish();
    assert_ne!(ran.recv().unwrap(), thread::current().id());
}

#[test]
fn where_an_unwanted_result_is_dropped() {
    let pool = pool(1);
    let worker = pool
        .submit(|| thread::current().id())
        .unwrap()
        .wait()
        .unwrap();

    // Abandoned before it has run: on the pool's thread.
    let held = Held::submit(&pool).started();
    let (sender, dropped) = channel();
    drop(pool.submit(move || Dropped(sender)).unwrap());
    held.finish();
    assert_eq!(dropped.recv(), Ok(worker));

    // Abandoned after: here.
    let (sender, dropped) = channel();
    let job = pool.submit(move || Dropped(sender)).unwrap();
    block_on(pool.drained());
    assert!(dropped.try_recv().is_err());
    drop(job);
    assert_eq!(dropped.try_recv(), Ok(thread::current().id()));
}

#[test]
fn the_latest_waker_is_woken_once() {
    let pool = pool(1);
    let mut held = Held::submit(&pool).started();
    let [earlier, latest] = [(); 2].map(|()| Arc::new(Wakes::default()));
    for wakes in [&earlier, &earlier, &latest, &latest] {
        let waker = Waker::from(Arc::clone(wakes));
        assert!(
            held.job
                .poll_unpin(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    // The one that was replaced has been let go.
    assert_eq!(Arc::strong_count(&earlier), 1);
    drop(held.release);
    block_on(pool.drained());
    assert_eq!((earlier.count(), latest.count()), (0, 1));
    assert_eq!(Arc::strong_count(&latest), 1);
    assert!(held.job.wait().is_ok());
}

#[test]
fn an_abandoned_job_lets_its_waker_go() {
    let pool = pool(1);
    let held = Held::submit(&pool).started();
    let mut job = pool.submit(|| ()).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(
        job.poll_unpin(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    drop(job);
    assert_eq!(Arc::strong_count(&wakes), 1);
    held.finish();
    block_on(pool.drained());
    assert_eq!(wakes.count(), 0);
}

#[test]
fn waiting_for_a_time_gives_the_job_back() {
    let pool = pool(1);
    let held = Held::submit(&pool).started();
    let job = pool.submit(|| 3).unwrap();
    let job = job.wait_timeout(Duration::ZERO).unwrap_err();
    let job = job.wait_timeout(Duration::from_millis(1)).unwrap_err();
    held.finish();
    assert_eq!(job.wait_timeout(Duration::MAX).unwrap().unwrap(), 3);
}

#[test]
fn a_job_may_submit_and_wait_on_another_thread_of_the_pool() {
    let pool = pool(2);
    let inner = pool.clone();
    let job = pool.submit(move || inner.submit(|| 7).unwrap().wait().unwrap() + 1);
    assert_eq!(job.unwrap().wait().unwrap(), 8);
}

// ---- The guard --------------------------------------------------------------------------------------------------------

#[test]
fn the_guard_goes_right_after_the_wake() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<(&'static str, usize)>>>, Option<ThreadPool>);
    struct Guard(Log);
    struct Waking(Log);
    impl Log {
        fn say(&self, what: &'static str) {
            let outstanding = self.1.as_ref().unwrap().outstanding();
            self.0.lock().unwrap().push((what, outstanding));
        }
    }
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.say("guard dropped");
        }
    }
    impl Wake for Waking {
        fn wake(self: Arc<Self>) {
            self.0.say("woken");
        }
    }

    let pool = pool(1);
    let log = Log(Arc::default(), Some(pool.clone()));
    let (release, released) = channel::<()>();
    let mut job = pool
        .submit_with(Guard(log.clone()), move || released.recv().is_ok())
        .unwrap();
    let waker = Waker::from(Arc::new(Waking(log.clone())));
    assert!(
        job.poll_unpin(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert_eq!(pool.outstanding(), 1);
    drop(release);
    block_on(pool.drained());
    assert_eq!(*log.0.lock().unwrap(), [("woken", 1), ("guard dropped", 1)]);
    assert_eq!(pool.outstanding(), 0);

    // A cancelled job's guard goes with it, a refused one's at once.
    let held = Held::submit(&pool).started();
    let job = pool.submit_with(Guard(log.clone()), || ()).unwrap();
    assert!(job.cancel());
    assert_eq!(log.0.lock().unwrap().len(), 3);
    held.finish();
    pool.close();
    assert!(pool.submit_with(Guard(log.clone()), || ()).is_err());
    assert_eq!(log.0.lock().unwrap().len(), 4);
}

#[test]
fn foreign_panics_do_not_end_the_thread() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            if !thread::panicking() {
                resume_unwind(Box::new("in a destructor"));
            }
        }
    }
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            resume_unwind(Box::new("in a waker"));
        }
    }
    let (sender, lost) = channel();
    let sender = Mutex::new(sender);
    let pool = ThreadPool::builder()
        .threads(1)
        .on_lost_panic(move |payload, _| {
            let _ = sender
                .lock()
                .unwrap()
                .send(payload.message().map(str::to_owned));
            resume_unwind(Box::new("in the hook"));
        })
        .build();
    let worker = pool
        .submit(|| thread::current().id())
        .unwrap()
        .wait()
        .unwrap();
    // A guard, then a waker, then an unwanted result.
    pool.submit_with(Bad, || ()).unwrap().wait().unwrap();
    let mut held = Held::submit(&pool).started();
    let waker = Waker::from(Arc::new(Bad));
    assert!(
        held.job
            .poll_unpin(&mut Context::from_waker(&waker))
            .is_pending()
    );
    std::mem::forget(waker);
    drop(pool.submit(|| Bad).unwrap());
    drop(held.release);
    assert_eq!(lost.recv().unwrap().as_deref(), Some("in a destructor"));
    assert_eq!(
        pool.submit(|| thread::current().id())
            .unwrap()
            .wait()
            .unwrap(),
        worker
    );
    assert!(pool.shutdown(None).is_clean());
}

#[test]
fn panics_that_nobody_awaits_are_told() {
    let (sender, lost) = channel();
    let sender = Mutex::new(sender);
    let pool = ThreadPool::builder()
        .threads(1)
        .on_lost_panic(move |payload, site| {
            let told = (
                payload.message().map(str::to_owned),
                site.line(),
                thread::current().id(),
            );
            sender.lock().unwrap().send(told).unwrap();
        })
        .build();
    let worker = pool
        .submit(|| thread::current().id())
        .unwrap()
        .wait()
        .unwrap();

    let held = Held::submit(&pool).started();
    let line = line!() + 1;
    let job = pool.submit(|| -> () { resume_unwind(Box::new("one")) });
    drop(job);
    held.finish();
    assert_eq!(lost.recv().unwrap(), (Some("one".into()), line, worker));

    let job = pool
        .submit(|| -> () { resume_unwind(Box::new("two")) })
        .unwrap();
    block_on(pool.drained());
    assert!(lost.try_recv().is_err());
    drop(job);
    assert_eq!(lost.try_recv().unwrap().0.as_deref(), Some("two"));

    // Whoever asks gets it, and then it is not lost.
    assert!(
        pool.submit(|| -> () { resume_unwind(Box::new("three")) })
            .unwrap()
            .wait()
            .is_err()
    );
    assert!(pool.shutdown(None).is_clean());
    drop(pool);
    assert!(lost.try_recv().is_err());
}

// ---- The queue's bound ------------------------------------------------------------------------------------------------

#[test]
fn a_bounded_queue_refuses_what_is_too_much() {
    let pool = ThreadPool::builder().threads(2).max_queue(1).build();
    let held = [Held::submit(&pool).started(), Held::submit(&pool).started()];
    let waiting = pool.submit(|| ()).unwrap();
    let refused = pool.submit(|| ()).unwrap_err();
    assert!(
        matches!(refused, SubmitError::QueueFull { max_queue: 1 }),
        "{refused:?}"
    );
    // Cancelling makes room.
    assert!(waiting.cancel());
    let waiting = pool.submit(|| ()).unwrap();
    held.into_iter().for_each(Held::finish);
    waiting.wait().unwrap();
    pool.submit(|| ()).unwrap().wait().unwrap();
    block_on(pool.drained());
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn a_queue_without_room_takes_jobs_for_free_threads() {
    let pool = ThreadPool::builder().threads(2).max_queue(0).build();
    for _ in 0..100 {
        let held = [Held::submit(&pool), Held::submit(&pool)];
        assert!(matches!(
            pool.submit(|| ()),
            Err(SubmitError::QueueFull { max_queue: 0 })
        ));
        held.into_iter().for_each(|held| held.started().finish());
    }
}

// ---- Ending -----------------------------------------------------------------------------------------------------------

#[test]
fn a_closed_pool_refuses_jobs_and_runs_what_it_has() {
    let pool = pool(1);
    let held = Held::submit(&pool).started();
    let job = pool.submit(|| 9).unwrap();
    pool.close();
    pool.close();
    assert!(pool.is_closed());
    assert!(matches!(pool.submit(|| ()), Err(SubmitError::Closed)));
    held.finish();
    assert_eq!(job.wait().unwrap(), 9);
    assert!(pool.shutdown(None).is_clean());
    assert_eq!(pool.threads(), 0);
    assert!(matches!(pool.submit(|| ()), Err(SubmitError::Closed)));
}

#[test]
fn shutdown_runs_what_is_queued_and_ends_the_threads() {
    let pool = pool(2);
    let (sender, ended) = channel();
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let done = Arc::clone(&done);
        let sender = sender.clone();
        let work = move || {
            AT_END.with_borrow_mut(|at_end| at_end.get_or_insert(Dropped(sender)).0.clone());
            done.fetch_add(1, Ordering::SeqCst);
        };
        drop(pool.submit(work).unwrap());
    }
    drop(sender);
    assert!(pool.shutdown(None).is_clean());
    assert_eq!(done.load(Ordering::SeqCst), 100);
    // Joined: their thread-locals are gone, so nothing holds the channel.
    let ids = ended.try_iter().collect::<HashSet<_>>();
    assert!((1..=2).contains(&ids.len()));
    assert_eq!(
        ended.try_recv(),
        Err(std::sync::mpsc::TryRecvError::Disconnected)
    );
    assert!(pool.shutdown(Some(Duration::ZERO)).is_clean());
}

#[test]
fn shutdown_reports_what_is_stuck_and_cancels_what_waits() {
    let pool = ThreadPool::builder().threads(1).name("stuck").build();
    let before = Instant::now();
    let line = line!() + 1;
    let held = Held::submit(&pool).started();
    let waiting = pool.submit(|| ()).unwrap();
    let deadline = Duration::from_millis(20);
    let report = pool.shutdown(Some(deadline));
    assert!(before.elapsed() >= deadline);
    assert!(!report.is_clean());
    assert_eq!((report.running.len(), report.cancelled), (1, 1));
    let stuck = &report.running[0];
    assert_eq!((stuck.site.file(), stuck.site.line()), (file!(), line));
    assert_eq!(stuck.thread, "stuck-0");
    assert!(stuck.since >= before);
    assert!(
        report.to_string().contains(&format!("{}:{line}", file!())),
        "{report}"
    );
    assert!(matches!(waiting.wait(), Err(JobError::Cancelled)));

    // It still ends by itself, and its result arrives.
    assert_eq!(pool.running().len(), 1);
    held.finish();
    assert!(pool.shutdown(None).is_clean());
    assert_eq!(pool.threads(), 0);
}

#[test]
fn pending_jobs_can_be_cancelled_all_at_once() {
    let pool = pool(1);
    let held = Held::submit(&pool).started();
    let mut jobs = (0..100)
        .map(|_| pool.submit(|| ()).unwrap())
        .collect::<Vec<_>>();
    let cancelled_before = jobs.swap_remove(50);
    assert!(cancelled_before.cancel());
    assert_eq!(pool.cancel_pending(), 99);
    assert_eq!((pool.queued(), pool.outstanding()), (0, 1));
    assert_eq!(pool.cancel_pending(), 0);
    for job in jobs {
        assert!(matches!(job.wait(), Err(JobError::Cancelled)));
    }
    held.finish();
    assert_eq!(pool.submit(|| 1).unwrap().wait().unwrap(), 1);
}

#[test]
fn shutdown_in_a_job_does_not_wait_for_itself() {
    let pool = pool(3);
    let (ready, both) = (Arc::new(std::sync::Barrier::new(2)), pool.clone());
    // Two at a time: neither may wait for the other, either.
    let jobs = [(); 2].map(|()| {
        let (ready, pool) = (Arc::clone(&ready), both.clone());
        let work = move || {
            ready.wait();
            pool.shutdown(None)
        };
        both.submit(work).unwrap()
    });
    for job in jobs {
        assert_eq!(job.wait().unwrap().cancelled, 0);
    }
    assert!(pool.shutdown(None).is_clean());
}

#[test]
fn drained_resolves_when_the_last_job_is_done() {
    let pool = pool(2);
    assert!(pool.drained().now_or_never().is_some());
    let held = [Held::submit(&pool).started(), Held::submit(&pool).started()];
    let queued = pool.submit(|| ()).unwrap();

    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    let mut drained = pool.drained();
    let mut abandoned = pool.drained();
    assert!(drained.poll_unpin(&mut context).is_pending());
    assert!(drained.poll_unpin(&mut context).is_pending());
    assert!(abandoned.poll_unpin(&mut context).is_pending());
    drop(abandoned);

    let [first, second] = held;
    first.finish();
    queued.wait().unwrap();
    assert!(drained.poll_unpin(&mut context).is_pending());
    assert_eq!(wakes.count(), 0);
    drop(second.release);
    block_on(pool.drained());
    second.job.wait().unwrap();
    assert!(pool.shutdown(None).is_clean());
    assert_eq!(wakes.count(), 1);
    assert!(drained.poll_unpin(&mut context).is_ready());
}

#[test]
fn drained_is_told_when_the_rest_is_cancelled() {
    let pool = pool(1);
    let held = Held::submit(&pool).started();
    let waiting = pool.submit(|| ()).unwrap();
    let drained = pool.drained();
    let waiter = thread::spawn(move || block_on(drained));
    drop(held.release);
    // Whether the job runs or is cancelled first, somebody must tell.
    waiting.cancel();
    waiter.join().unwrap();
}

#[test]
fn many_threads_submit_cancel_abandon_and_close() {
    for round in 0..20_u64 {
        let pool = ThreadPool::builder()
            .threads(3)
            .idle_timeout(Some(Duration::ZERO))
            .build();
        let guard = Arc::new(());
        let ran = Arc::new(AtomicUsize::new(0));
        let expected = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            for producer in 0..4 {
                let (pool, guard, ran, expected) = (&pool, &guard, &ran, &expected);
                scope.spawn(move || {
                    let mut random = round * 31 + producer + 1;
                    for i in 0..200_u64 {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        let count = Arc::clone(ran);
                        let work = move || {
                            count.fetch_add(1, Ordering::SeqCst);
                            i
                        };
                        let Ok(job) = pool.submit_with(Arc::clone(guard), work) else {
                            continue;
                        };
                        match random >> 61 {
                            0 | 1 if job.cancel() => {
                                assert!(matches!(job.wait(), Err(JobError::Cancelled)));
                                continue;
                            }
                            2 | 3 => drop(job),
                            4 if producer == 0 && i > 150 => {
                                pool.close();
                                assert_eq!(job.wait().unwrap(), i);
                            }
                            _ => assert_eq!(job.wait().unwrap(), i),
                        }
                        expected.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(pool.shutdown(None).is_clean());
        assert_eq!(ran.load(Ordering::SeqCst), expected.load(Ordering::SeqCst));
        assert_eq!(Arc::strong_count(&guard), 1);
        assert_eq!(
            (pool.outstanding(), pool.queued(), pool.threads()),
            (0, 0, 0)
        );
    }
}

#[test]
fn what_may_cross_threads() {
    fn send_sync<T: Send + Sync>() {}
    fn unpin<T: Unpin>() {}
    send_sync::<ThreadPool>();
    send_sync::<Job<std::cell::Cell<u8>>>();
    send_sync::<rondel_executor::Drained>();
    unpin::<Job<std::marker::PhantomPinned>>();
}
