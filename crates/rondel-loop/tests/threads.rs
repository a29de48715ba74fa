//! The loop from other threads: callbacks and tasks that are sent to it.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use rondel_loop::{
    EventLoop, JoinError, LoopClosed, LoopHandle, RemoteError, RemoteTask, sleep, yield_now,
};
use rondel_poll::Virtual;

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
