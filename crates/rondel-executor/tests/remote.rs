//! From other threads: calls, tasks, wakes.
#![cfg(not(rondel_loom))]

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use harness::{Alive, Gate, Log, Losses, executor, here, hold, on_drop, poll_once, yield_now};
use hooked_waker::{On, hooked_waker};
use rondel_executor::{Executor, JoinError, Remote, RemoteError, RemoteTask, Spawner, ThreadId};

/// A foreign loop in its simplest form: sleeps until it is notified.
#[derive(Clone, Default)]
struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    fn builder(&self) -> rondel_executor::Builder {
        let bell = self.clone();
        Executor::builder().notify(move || bell.ring())
    }

    fn ring(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.0.0.lock().unwrap();
        while !*rung {
            rung = self.0.1.wait(rung).unwrap();
        }
        *rung = false;
    }

    /// Turns until `done`; a notification that is lost hangs here.
    fn drive(&self, executor: &Executor, mut done: impl FnMut() -> bool) {
        loop {
            executor.run_until_idle();
            if done() {
                return;
            }
            self.wait();
        }
    }
}

/// Does `work` on another thread while the executor runs here.
fn beside<T: Send + 'static>(
    executor: &Executor,
    bell: &Bell,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (ring, done) = (bell.clone(), Arc::new(AtomicBool::new(false)));
    let ending = Arc::clone(&done);
    let thread = thread::spawn(move || {
        // Also if it panics.
        let _end = on_drop(move || {
            ending.store(true, Ordering::Release);
            ring.ring();
        });
        work()
    });
    bell.drive(executor, || done.load(Ordering::Acquire));
    thread.join().unwrap()
}

#[test]
fn what_may_cross_threads() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<Remote>();
    sync::<Remote>();
    send::<RemoteTask<Cell<u8>>>();
    send::<RemoteError<u8>>();
    send::<JoinError>();
}

#[test]
fn calls_run_at_home_in_the_order_in_which_a_thread_made_them() {
    let bell = Bell::default();
    let executor = bell.builder().build();
    let (remote, home) = (executor.remote(), ThreadId::current());
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let told = Arc::clone(&seen);
    assert!(remote.is_home());
    beside(&executor, &bell, move || {
        assert!(!remote.is_home());
        for index in 0..100 {
            let told = Arc::clone(&told);
            remote
                .call_soon(move || {
                    assert_eq!(ThreadId::current(), home);
                    told.lock().unwrap().push(index);
                })
                .unwrap();
        }
    });
    executor.run_until_idle();
    assert_eq!(*seen.lock().unwrap(), (0..100).collect::<Vec<_>>());
}

#[test]
fn on_the_own_thread_calls_keep_their_place_in_line() {
    let (executor, log) = (Executor::new(), Arc::new(Mutex::new(Vec::new())));
    let remote = executor.remote();
    let note = |what: &'static str| {
        let log = Arc::clone(&log);
        move || log.lock().unwrap().push(what)
    };
    executor.call_soon(note("first"));
    remote.call_soon(note("second")).unwrap();
    executor.call_soon(note("third"));
    remote.call_soon(note("fourth")).unwrap();
    executor.run_until_idle();
    assert_eq!(*log.lock().unwrap(), ["first", "second", "third", "fourth"]);
}

#[test]
fn a_panicking_call_spares_the_others() {
    let (executor, losses) = executor();
    let remote = executor.remote();
    let done = Arc::new(AtomicBool::new(false));
    let doing = Arc::clone(&done);
    let line = thread::spawn(move || {
        let line = line!() + 1;
        remote.call_soon(|| panic!("sent here")).unwrap();
        remote
            .call_soon(move || doing.store(true, Ordering::Relaxed))
            .unwrap();
        line
    })
    .join()
    .unwrap();
    executor.run_until_idle();
    assert!(done.load(Ordering::Relaxed));
    let lost = losses.one();
    assert_eq!(
        (lost.callback.unwrap().file(), lost.callback.unwrap().line()),
        (file!(), line)
    );
}

#[test]
fn a_spawned_task_gives_its_result_to_the_thread() {
    let bell = Bell::default();
    let executor = bell.builder().build();
    let remote = executor.remote();
    let sum = beside(&executor, &bell, move || {
        let task = remote
            .spawn(async {
                yield_now_send().await;
                3
            })
            .unwrap();
        task.result(None).unwrap()
    });
    assert_eq!(sum, 3);
    assert_eq!(executor.alive(), 0);
}

/// As `yield_now`, and `Send`.
async fn yield_now_send() {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_future_made_at_home_need_not_be_send() {
    let bell = Bell::default();
    let executor = bell.builder().build();
    let remote = executor.remote();
    let result = beside(&executor, &bell, move || {
        let task = remote.spawn_with(|| {
            let shared = Rc::new(Cell::new(1));
            async move {
                let inside = Rc::clone(&shared);
                yield_now().await;
                here()
                    .spawn(async move { inside.set(inside.get() + 1) })
                    .await
                    .unwrap();
                shared.get()
            }
        });
        task.unwrap().result(None).unwrap()
    });
    assert_eq!(result, 2);
}

#[test]
fn a_panic_reaches_the_thread_that_asks() {
    let bell = Bell::default();
    let losses = Losses::default();
    let ring = bell.clone();
    let executor = losses.builder().notify(move || ring.ring()).build();
    let remote = executor.remote();
    let messages = beside(&executor, &bell, move || {
        let polled = remote.spawn(async { panic!("when polled") }).unwrap();
        let made = remote.spawn_with(|| -> std::future::Ready<()> { panic!("when made") });
        [polled, made.unwrap()].map(|task| match task.result(None) {
            Err(RemoteError::Join(JoinError::Panicked(payload))) => {
                payload.message().unwrap().to_owned()
            }
            other => panic!("{other:?}"),
        })
    });
    assert_eq!(messages, ["when polled", "when made"]);
    assert!(losses.is_empty());
}

#[test]
fn a_panic_that_no_thread_asks_for_is_reported_once() {
    let (executor, losses) = executor();
    let remote = executor.remote();

    // Let go before it happens.
    let away = remote.clone();
    thread::spawn(move || drop(away.spawn(async { panic!("detached") })))
        .join()
        .unwrap();
    executor.run_until_idle();
    assert_eq!(losses.words(), ["task: detached"]);

    // Let go afterwards, unread: on another thread, and at home.
    for at_home in [false, true] {
        let away = remote.clone();
        let task: RemoteTask<()> =
            thread::spawn(move || away.spawn(async { panic!("unread") }).unwrap())
                .join()
                .unwrap();
        executor.run_until_idle();
        assert!(losses.is_empty());
        assert!(task.is_finished());
        if at_home {
            drop(task);
        } else {
            thread::spawn(move || drop(task)).join().unwrap();
        }
        executor.run_until_idle();
        assert_eq!(losses.words(), ["task: unread"], "at home: {at_home}");
    }

    // Read, and let go of without a panic: nothing.
    let away = remote.clone();
    let mut task: RemoteTask<()> =
        thread::spawn(move || away.spawn(async { panic!("read") }).unwrap())
            .join()
            .unwrap();
    executor.run_until_idle();
    assert!(poll_once(Pin::new(&mut task)).is_ready());
    drop(task);
    drop(remote.spawn(ready(1)));
    executor.run_until_idle();
    executor.run_until_idle();
    assert!(losses.is_empty());
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_time_limit_gives_the_task_back_and_it_can_be_cancelled() {
    let bell = Bell::default();
    let executor = bell.builder().build();
    let (remote, alive) = (executor.remote(), Alive::new());
    let probe = alive.probe();
    let outcome = beside(&executor, &bell, move || {
        let task = remote
            .spawn(async move {
                let _probe = probe;
                pending::<()>().await;
            })
            .unwrap();
        let Err(RemoteError::TimedOut(task)) = task.result(Some(Duration::ZERO)) else {
            panic!("it never finishes");
        };
        assert!(!task.is_finished());
        let Err(RemoteError::TimedOut(task)) = task.result(Some(Duration::from_millis(1))) else {
            panic!("it never finishes");
        };
        task.cancel();
        task.cancel();
        task.result(None).unwrap_err()
    });
    assert!(matches!(outcome, RemoteError::Join(JoinError::Cancelled)));
    assert_eq!(alive.count(), 0);
    assert_eq!(executor.alive(), 0);
    assert!(executor.tasks().is_empty());
}

#[test]
fn an_endless_time_limit_is_no_limit() {
    let bell = Bell::default();
    let executor = bell.builder().build();
    let remote = executor.remote();
    let result = beside(&executor, &bell, move || {
        remote
            .spawn(ready(4))
            .unwrap()
            .result(Some(Duration::MAX))
            .unwrap()
    });
    assert_eq!(result, 4);
}

#[test]
fn waiting_on_the_tasks_own_thread_is_refused() {
    let executor = Executor::new();
    let task = executor.remote().spawn(ready(5)).unwrap();
    let error = task.result(None).unwrap_err();
    assert!(error.to_string().contains("own loop's thread"));
    let RemoteError::OwnThread(task) = error else {
        panic!("{error:?}");
    };
    executor.run_until_idle();
    // Done, it answers here as well.
    assert!(task.is_finished());
    assert_eq!(task.result(None).unwrap(), 5);
}

#[test]
fn closing_answers_every_thread_that_waits() {
    let executor = Executor::new();
    let remote = executor.remote();
    let (tell, spawned) = channel();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (remote, tell) = (remote.clone(), tell.clone());
            thread::spawn(move || {
                let task = remote.spawn(pending::<()>()).unwrap();
                tell.send(()).unwrap();
                task.result(None).unwrap_err()
            })
        })
        .collect();
    for _ in 0..3 {
        spawned.recv().unwrap();
    }
    // Some are tasks, some have not come in yet.
    executor.call_soon(|| ());
    executor.run_until_idle();
    let late = {
        let (remote, tell) = (remote.clone(), tell);
        thread::spawn(move || {
            let task = remote.spawn(pending::<()>()).unwrap();
            tell.send(()).unwrap();
            task.result(None).unwrap_err()
        })
    };
    spawned.recv().unwrap();
    executor.close();
    for thread in waiting.into_iter().chain([late]) {
        let error = thread.join().unwrap();
        assert!(matches!(error, RemoteError::Join(JoinError::Cancelled)));
        assert!(std::error::Error::source(&error).is_some());
    }
    // What is refused is dropped by the caller.
    let alive = Alive::new();
    let probe = alive.probe();
    assert!(remote.spawn(hold_send(probe)).is_err());
    assert_eq!(alive.count(), 0);
}

async fn hold_send<T: Send>(held: T) {
    let _held = held;
    pending::<()>().await;
}

#[test]
fn a_task_of_one_thread_is_awaited_by_a_task_of_another() {
    let (there_bell, here_bell) = (Bell::default(), Bell::default());
    let (tell, told) = channel();
    let bell = there_bell.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let there = thread::spawn(move || {
        let executor = bell.builder().build();
        tell.send(executor.remote()).unwrap();
        bell.drive(&executor, || stopping.load(Ordering::Acquire));
    });
    let remote = told.recv().unwrap();
    let executor = here_bell.builder().build();
    let task = executor.spawn(async move {
        let mut sum = 0;
        for index in 0..50 {
            sum += remote.spawn(ready(index)).unwrap().await.unwrap();
        }
        let cancelled = remote.spawn(pending::<()>()).unwrap();
        cancelled.cancel();
        assert!(matches!(cancelled.await, Err(JoinError::Cancelled)));
        sum
    });
    here_bell.drive(&executor, || task.is_finished());
    assert_eq!(task.into_result().unwrap().unwrap(), 49 * 50 / 2);
    stop.store(true, Ordering::Release);
    there_bell.ring();
    there.join().unwrap();
}

#[test]
fn a_result_is_given_once() {
    let executor = Executor::new();
    let mut task = executor.remote().spawn(ready(6)).unwrap();
    assert!(poll_once(Pin::new(&mut task)).is_pending());
    executor.run_until_idle();
    let first = poll_once(Pin::new(&mut task));
    assert!(matches!(first, Poll::Ready(Ok(6))));
    let second = poll_once(Pin::new(&mut task));
    assert!(matches!(second, Poll::Ready(Err(JoinError::Taken))));
    assert!(matches!(
        task.result(None),
        Err(RemoteError::Join(JoinError::Taken))
    ));
}

#[test]
fn wakers_of_those_who_await_may_come_back() {
    let executor = Executor::new();
    let (spawner, remote) = (executor.spawner(), executor.remote());
    let other = remote.spawn(pending::<()>()).unwrap();
    let calls: Rc<RefCell<Vec<On>>> = Rc::default();
    let called = Rc::clone(&calls);
    let waker = hooked_waker(move |on| {
        called.borrow_mut().push(on);
        other.cancel();
        other.is_finished();
        drop(remote.spawn(ready(())));
        spawner.call_soon(|| ());
        spawner.tasks();
    });
    let mut awaited = executor.remote().spawn(yield_now_send()).unwrap();
    for _ in 0..2 {
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut awaited).poll(&mut cx).is_pending());
    }
    assert_eq!(calls.take(), [On::Clone], "the same waker is kept");
    assert!(poll_once(Pin::new(&mut awaited)).is_pending());
    assert_eq!(calls.take(), [On::Drop]);
    assert!(
        Pin::new(&mut awaited)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    executor.run_until_idle();
    assert_eq!(calls.take(), [On::Clone, On::Wake, On::Drop]);
    assert!(poll_once(Pin::new(&mut awaited)).is_ready());
}

#[test]
fn wakes_from_many_threads_are_all_heard() {
    const THREADS: usize = 4;
    const TASKS: usize = 8;
    const WAKES: usize = 200;
    let bell = Bell::default();
    let executor = bell.builder().build();
    let (tell, wakers) = channel::<(usize, Waker)>();
    let progress: Arc<Vec<AtomicUsize>> =
        Arc::new((0..TASKS).map(|_| AtomicUsize::new(0)).collect());
    let tasks: Vec<_> = (0..TASKS)
        .map(|index| {
            let (tell, progress) = (tell.clone(), Arc::clone(&progress));
            let mut told = false;
            executor.spawn(poll_fn(move |cx| {
                if !std::mem::replace(&mut told, true) {
                    tell.send((index, cx.waker().clone())).unwrap();
                }
                if progress[index].load(Ordering::Relaxed) == THREADS * WAKES {
                    return Poll::Ready(());
                }
                Poll::Pending
            }))
        })
        .collect();
    executor.run_until_idle();
    let wakers: Vec<_> = wakers.try_iter().collect();
    assert_eq!(wakers.len(), TASKS);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (wakers, progress) = (wakers.clone(), Arc::clone(&progress));
            thread::spawn(move || {
                for _ in 0..WAKES {
                    for (index, waker) in &wakers {
                        progress[*index].fetch_add(1, Ordering::Relaxed);
                        waker.wake_by_ref();
                        let another = waker.clone();
                        another.wake();
                    }
                }
            })
        })
        .collect();
    drop(wakers);
    bell.drive(&executor, || {
        tasks.iter().all(rondel_executor::Task::is_finished)
    });
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(executor.alive(), 0);
}

#[test]
fn spawns_from_many_threads_all_run() {
    const THREADS: usize = 4;
    const EACH: usize = 300;
    let bell = Bell::default();
    let executor = bell.builder().build();
    let (count, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let alive = Alive::new();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (remote, count, alive) = (executor.remote(), Arc::clone(&count), alive.clone());
            let (bell, ended) = (bell.clone(), Arc::clone(&ended));
            thread::spawn(move || {
                let tasks: Vec<_> = (0..EACH)
                    .map(|index| {
                        let (count, probe) = (Arc::clone(&count), alive.probe());
                        remote
                            .spawn(async move {
                                let _probe = probe;
                                yield_now_send().await;
                                count.fetch_add(1, Ordering::Relaxed);
                                index
                            })
                            .unwrap()
                    })
                    .collect();
                for (index, task) in tasks.into_iter().enumerate() {
                    // One in three is let go of.
                    if index % 3 != 0 {
                        assert_eq!(task.result(None).unwrap(), index);
                    }
                }
                ended.fetch_add(1, Ordering::Release);
                bell.ring();
            })
        })
        .collect();
    bell.drive(&executor, || ended.load(Ordering::Acquire) == THREADS);
    for thread in threads {
        thread.join().unwrap();
    }
    executor.run_until_idle();
    assert_eq!(count.load(Ordering::Relaxed), THREADS * EACH);
    assert_eq!((executor.alive(), alive.count()), (0, 0));
}

#[test]
fn cancelling_from_elsewhere_races_the_end() {
    let bell = Bell::default();
    let executor = bell.builder().build();
    let remote = executor.remote();
    let (finished, cancelled) = beside(&executor, &bell, move || {
        let (mut finished, mut cancelled) = (0, 0);
        for _ in 0..300 {
            let task = remote.spawn(yield_now_send()).unwrap();
            task.cancel();
            match task.result(None) {
                Ok(()) => finished += 1,
                Err(RemoteError::Join(JoinError::Cancelled)) => cancelled += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        (finished, cancelled)
    });
    assert_eq!(finished + cancelled, 300);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn a_cancelled_task_cleans_up_before_the_thread_hears_of_it() {
    let bell = Bell::default();
    let executor = bell.builder().build();
    let (remote, cleaned) = (executor.remote(), Arc::new(AtomicBool::new(false)));
    let cleaning = Arc::clone(&cleaned);
    let seen = beside(&executor, &bell, move || {
        let (tell, begun) = channel();
        let inside = Arc::clone(&cleaning);
        let task = remote.spawn_with(move || {
            hold((
                on_drop(move || {
                    rondel_executor::leave(Box::pin(async move {
                        yield_now().await;
                        inside.store(true, Ordering::Relaxed);
                    }));
                }),
                tell.send(()),
            ))
        });
        let task = task.unwrap();
        begun.recv().unwrap();
        task.cancel();
        assert!(task.result(None).is_err());
        cleaning.load(Ordering::Relaxed)
    });
    assert!(seen);
    assert!(cleaned.load(Ordering::Relaxed));
}

#[test]
fn handles_name_their_executor() {
    let (first, second) = (Executor::new(), Executor::new());
    let log = Log::new();
    let logged = log.clone();
    let remote = second.remote();
    first.call_soon(move || {
        // At home on the thread, and of another executor all the same.
        assert!(remote.is_home());
        let spawner = Spawner::current().unwrap();
        spawner.call_soon(move || logged.add("first"));
        remote.call_soon(|| ()).unwrap();
    });
    first.run_until_idle();
    assert_eq!(log.take(), ["first"]);
    assert!(second.has_ready() && !first.has_ready());
    let gate = Gate::new();
    let task = second.spawn(gate.wait());
    second.run_until_idle();
    gate.open();
    assert!(!first.has_ready());
    second.run_until_idle();
    assert!(task.is_finished());
    assert!(format!("{:?}", second.remote()).starts_with("Remote { home: ThreadId("));
}
