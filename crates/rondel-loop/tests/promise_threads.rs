//! Promises across threads: kept elsewhere, awaited elsewhere.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rondel_executor::{JoinError, RemoteError};
use rondel_loop::{
    DeferredError, EventLoop, LocalLoop, RemotePromise, RemoteSetError, Settled, promise, sleep,
    spawn, yield_now,
};

fn here() -> LocalLoop {
    LocalLoop::current().unwrap()
}

#[test]
fn the_remote_end_may_go_anywhere() {
    fn check<T: Send + Sync>() {}
    check::<RemotePromise<u32, String>>();
}

#[test]
fn another_thread_keeps_or_fails_it() {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let (kept, value) = promise::<_, String>();
        let (failed, error) = promise::<u32, String>();
        let (kept, failed) = (kept.remote(&here()), failed.remote(&here()));
        let thread = thread::spawn(move || {
            kept.set_result(vec![1, 2]).unwrap();
            failed.set_error("elsewhere".to_owned()).unwrap();
        });
        assert_eq!(value.await, Ok(vec![1, 2]));
        assert_eq!(
            error.await,
            Err(DeferredError::Failed("elsewhere".to_owned()))
        );
        thread.join().unwrap();
    })
    .unwrap();
}

#[test]
fn many_threads_keep_one_each() {
    let mut lp = EventLoop::new().unwrap();
    let sum = lp
        .run_until_complete(async {
            let deferred: Vec<_> = (0..16_u64)
                .map(|number| {
                    let (promise, deferred) = promise::<_, Infallible>();
                    let promise = promise.remote(&here());
                    thread::spawn(move || promise.set_result(number).unwrap());
                    deferred
                })
                .collect();
            let mut sum = 0;
            for deferred in deferred {
                sum += deferred.await.unwrap();
            }
            sum
        })
        .unwrap();
    assert_eq!(sum, 120);
}

#[test]
fn dropped_elsewhere_it_is_a_dropped_promise() {
    let mut lp = EventLoop::new().unwrap();
    let outcome = lp
        .run_until_complete(async {
            let (promise, deferred) = promise::<u32, Infallible>();
            let promise = promise.remote(&here());
            thread::spawn(move || drop(promise));
            deferred.await
        })
        .unwrap();
    assert_eq!(outcome, Err(DeferredError::Dropped));
}

#[test]
fn the_other_thread_hears_of_a_cancellation_and_gets_its_value_back() {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let (promise, deferred) = promise::<String, Infallible>();
        let promise = promise.remote(&here());
        let (cancelled, heard) = mpsc::channel();
        assert!(!promise.is_cancelled());
        let thread = thread::spawn(move || {
            heard.recv().unwrap();
            assert!(promise.is_cancelled());
            promise.set_result("too late".to_owned())
        });
        yield_now().await;
        drop(deferred);
        cancelled.send(()).unwrap();
        let refused = thread.join().unwrap();
        assert_eq!(
            refused,
            Err(RemoteSetError::Cancelled("too late".to_owned()))
        );
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("nobody waits for it any more")
        );
    })
    .unwrap();
}

#[test]
fn one_cancelled_before_it_went_out_says_so() {
    let lp = EventLoop::new().unwrap();
    let (promise, deferred) = promise::<u32, String>();
    deferred.cancel();
    let promise = promise.remote(&lp);
    assert!(promise.is_cancelled());
    assert_eq!(
        promise.set_error("late".to_owned()),
        Err(RemoteSetError::Cancelled("late".to_owned()))
    );
}

#[test]
fn a_value_under_way_to_a_cancelled_deferred_is_dropped_at_home() {
    struct Counted(Arc<AtomicUsize>, thread::ThreadId);
    impl Drop for Counted {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1, "dropped at home");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let mut lp = EventLoop::new().unwrap();
    let (promise, deferred) = promise::<_, Infallible>();
    let promise = promise.remote(&lp);
    let value = Counted(Arc::clone(&drops), thread::current().id());
    thread::spawn(move || assert!(promise.set_result(value).is_ok()))
        .join()
        .unwrap();
    deferred.cancel();
    lp.run_once(rondel_poll::Wait::Poll).unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert_eq!(deferred.settled(), Some(Settled::Cancelled));
}

#[test]
fn after_the_loop_has_closed_it_is_a_typed_error() {
    let mut lp = EventLoop::new().unwrap();
    let (promise, mut deferred) = promise::<u32, Infallible>();
    let promise = promise.remote(&lp);
    lp.close();
    let refused = thread::spawn(move || promise.set_result(1)).join().unwrap();
    assert_eq!(refused, Err(RemoteSetError::LoopClosed));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "cannot keep the promise: its event loop is closed"
    );
    // Leaked rather than dropped on a wrong thread, and counted.
    assert_eq!(deferred.try_result(), None);
    assert_eq!(lp.handle().leaked(), 1);
}

#[test]
fn on_the_loops_own_thread_it_comes_at_the_next_turn() {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let (promise, mut deferred) = promise::<u32, Infallible>();
        promise.remote(&here()).set_result(1).unwrap();
        assert_eq!(deferred.try_result(), None);
        yield_now().await;
        assert_eq!(deferred.try_result(), Some(Ok(1)));
    })
    .unwrap();
}

#[test]
fn while_it_is_out_a_virtual_clock_stands_still() {
    let mut lp = EventLoop::builder()
        .selector(rondel_poll::Virtual::new())
        .build()
        .unwrap();
    let before = lp.time();
    lp.run_until_complete(async {
        let (promise, deferred) = promise::<_, Infallible>();
        let promise = promise.remote(&here());
        let hour = spawn(sleep(Duration::from_secs(3600)));
        thread::spawn(move || {
            // Whatever it takes: no time passes meanwhile.
            thread::yield_now();
            promise.set_result(()).unwrap();
        });
        deferred.await.unwrap();
        assert_eq!(here().time(), before);
        hour.await.unwrap();
        assert_eq!(here().time() - before, Duration::from_secs(3600));
    })
    .unwrap();
}

#[test]
fn a_thread_waits_for_a_deferred() {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let (kept, value) = promise::<_, String>();
        let (failed, error) = promise::<u32, String>();
        let (value, error) = (
            value.remote(&here()).unwrap(),
            error.remote(&here()).unwrap(),
        );
        let (done, ended) = promise::<_, Infallible>();
        let done = done.remote(&here());
        thread::spawn(move || {
            let outcomes = (value.result(None).unwrap(), error.result(None).unwrap());
            done.set_result(outcomes).unwrap();
        });
        yield_now().await;
        kept.set_result(5).unwrap();
        failed.set_error("thrown".to_owned()).unwrap();
        let (value, error) = ended.await.unwrap();
        assert_eq!(value, Ok(5));
        assert_eq!(error, Err(DeferredError::Failed("thrown".to_owned())));
    })
    .unwrap();
}

#[test]
fn waiting_on_the_loops_own_thread_is_an_error_not_a_deadlock() {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let (promise, deferred) = promise::<u32, Infallible>();
        let remote = deferred.remote(&here()).unwrap();
        let Err(RemoteError::OwnThread(remote)) = remote.result(None) else {
            panic!("refused");
        };
        promise.set_result(1).unwrap();
        while !remote.is_finished() {
            yield_now().await;
        }
        assert_eq!(
            remote.result(None).unwrap(),
            Ok(1),
            "done, it need not wait"
        );
    })
    .unwrap();
}

#[test]
fn a_wait_that_runs_out_gives_it_back_and_it_can_be_cancelled() {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let (mut promise, deferred) = promise::<u32, Infallible>();
        let remote = deferred.remote(&here()).unwrap();
        let thread = thread::spawn(move || {
            let Err(RemoteError::TimedOut(remote)) = remote.result(Some(Duration::ZERO)) else {
                panic!("it ran out");
            };
            remote.cancel();
            let ended = remote.result(None);
            assert!(matches!(
                ended,
                Err(RemoteError::Join(JoinError::Cancelled))
            ));
        });
        promise.cancelled().await;
        while !thread.is_finished() {
            yield_now().await;
        }
        thread.join().unwrap();
    })
    .unwrap();
}

#[test]
fn a_thread_that_waits_learns_that_the_loop_is_gone() {
    let mut lp = EventLoop::new().unwrap();
    let (_promise, deferred) = promise::<u32, Infallible>();
    let remote = deferred.remote(&lp).unwrap();
    let thread = thread::spawn(move || remote.result(None));
    lp.run_until_complete(yield_now()).unwrap();
    lp.close();
    let ended = thread.join().unwrap();
    assert!(matches!(
        ended,
        Err(RemoteError::Join(JoinError::Cancelled))
    ));
    let (_promise, deferred) = promise::<u32, Infallible>();
    assert!(deferred.remote(&lp).is_err(), "closed");
}

#[test]
fn keeping_it_races_the_close_and_somebody_is_always_told() {
    for _ in 0..50 {
        let mut lp = EventLoop::new().unwrap();
        let (promise, mut deferred) = promise::<u32, Infallible>();
        let promise = promise.remote(&lp);
        let thread = thread::spawn(move || promise.set_result(1));
        lp.run_until_complete(yield_now()).unwrap();
        lp.close();
        match thread.join().unwrap() {
            Ok(()) => assert!(matches!(
                deferred.try_result(),
                Some(Ok(1) | Err(DeferredError::Dropped))
            )),
            Err(error) => assert_eq!(error, RemoteSetError::LoopClosed),
        }
    }
}
