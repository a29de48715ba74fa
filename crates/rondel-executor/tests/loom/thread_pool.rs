//! The thread pool: jobs, threads and owners in every order that loom can find.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use rondel_executor::{Job, JobError, SubmitError, ThreadPool};

fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(body);
}

/// Threads of the pool wait without a limit: time does not pass in a model.
fn pool(threads: usize) -> ThreadPool {
    ThreadPool::builder()
        .threads(threads)
        .idle_timeout(None)
        .build()
}

/// Counts how often it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counter() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn results_arrive_and_threads_end() {
    model(|| {
        let pool = pool(1);
        assert_eq!(pool.submit(|| 1).unwrap().wait().unwrap(), 1);
        // The thread is about to go idle, idle, or not yet either.
        assert_eq!(pool.submit(|| 2).unwrap().wait().unwrap(), 2);
        assert!(pool.threads() == 1);
        assert!(pool.shutdown(None).is_clean());
        assert_eq!(pool.outstanding(), 0);
    });
}

#[test]
fn a_result_that_is_awaited_wakes() {
    model(|| {
        let pool = pool(1);
        let mut job = pool.submit(|| 1).unwrap();
        // Another waker first, so that it is replaced while the job ends.
        let early = poll_once(&mut job);
        match early {
            Poll::Ready(result) => assert_eq!(result.unwrap(), 1),
            Poll::Pending => assert_eq!(block_on(job).unwrap(), 1),
        }
        assert!(pool.shutdown(None).is_clean());
    });
}

#[test]
fn two_submitters_share_a_thread() {
    model(|| {
        let pool = pool(1);
        let other = pool.clone();
        let submitter = thread::spawn(move || other.submit(|| 1).unwrap().wait().unwrap());
        assert_eq!(pool.submit(|| 2).unwrap().wait().unwrap(), 2);
        assert_eq!(submitter.join().unwrap(), 1);
        assert!(pool.shutdown(None).is_clean());
    });
}

#[test]
fn two_threads_take_two_jobs() {
    model(|| {
        let pool = pool(2);
        let (one, two) = (pool.submit(|| 1).unwrap(), pool.submit(|| 2).unwrap());
        assert_eq!((one.wait().unwrap(), two.wait().unwrap()), (1, 2));
        drop(pool);
    });
}

#[test]
fn a_job_either_starts_or_is_cancelled() {
    model(|| {
        let pool = pool(1);
        let (ran, guards) = (counter(), counter());
        let count = Arc::clone(&ran);
        let work = move || count.fetch_add(1, Ordering::Relaxed);
        let job = pool
            .submit_with(Counted(Arc::clone(&guards)), work)
            .unwrap();
        let cancelled = job.cancel();
        let result = job.wait();
        assert_eq!(cancelled, matches!(result, Err(JobError::Cancelled)));
        assert!(pool.shutdown(None).is_clean());
        assert_eq!(ran.load(Ordering::Relaxed), usize::from(!cancelled));
        assert_eq!(guards.load(Ordering::Relaxed), 1);
        assert_eq!((pool.queued(), pool.outstanding()), (0, 0));
    });
}

#[test]
fn an_abandoned_result_is_dropped_once() {
    model(|| {
        let pool = pool(1);
        let drops = counter();
        let result = Counted(Arc::clone(&drops));
        let job: Job<Counted> = pool.submit(move || result).unwrap();
        drop(job);
        assert!(pool.shutdown(None).is_clean());
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_job_that_meets_close_runs_or_is_refused() {
    model(|| {
        let pool = pool(1);
        let other = pool.clone();
        let closer = thread::spawn(move || other.close());
        match pool.submit(|| 1) {
            Ok(job) => assert_eq!(job.wait().unwrap(), 1),
            Err(error) => assert!(matches!(error, SubmitError::Closed)),
        }
        closer.join().unwrap();
        assert!(pool.shutdown(None).is_clean());
        assert_eq!(pool.threads(), 0);
    });
}

#[test]
fn drained_wakes_when_the_last_job_is_done_or_cancelled() {
    model(|| {
        let pool = pool(1);
        let first = pool.submit(|| 1).unwrap();
        let second = pool.submit(|| 2).unwrap();
        let canceller = thread::spawn(move || second.cancel());
        block_on(pool.drained());
        assert_eq!(pool.queued(), 0);
        assert_eq!(first.wait().unwrap(), 1);
        canceller.join().unwrap();
        drop(pool);
    });
}

#[test]
fn whoever_reads_nothing_outstanding_sees_the_wake() {
    model(|| {
        let pool = pool(1);
        let effect = counter();
        let seen = Arc::clone(&effect);
        let job = pool
            .submit(move || effect.store(1, Ordering::Relaxed))
            .unwrap();
        if pool.outstanding() == 0 {
            assert_eq!(seen.load(Ordering::Relaxed), 1);
            assert!(job.is_finished());
        }
        drop(job);
        assert!(pool.shutdown(None).is_clean());
    });
}
