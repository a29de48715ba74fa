//! One loop per core: outputs, failures, listeners, and what is left behind.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::pending;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rondel_executor::leave;
use rondel_loop::{LocalLoop, RunError, run, sleep, spawn, yield_now};
use rondel_net::{
    ServerOptions, TcpStream, Worker, WorkerFailureKind, Workers, WorkersError, start_server,
};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// The tests of this file run one at a time: descriptors belong to the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn workers(count: usize) -> Workers {
    Workers::new().count(count).ctrl_c(false)
}

#[test]
fn outputs_are_in_the_order_of_the_workers_whoever_ends_first() {
    let _alone = alone();
    let turn = AtomicUsize::new(4);
    let outputs = workers(4)
        .run(async |worker: Worker| {
            // The last one ends first.
            while turn.load(Ordering::SeqCst) != worker.index() + 1 {
                yield_now().await;
            }
            turn.fetch_sub(1, Ordering::SeqCst);
            assert_eq!(worker.count(), 4);
            io::Result::Ok((worker.index(), thread::current().id()))
        })
        .unwrap();
    let (numbers, threads): (Vec<_>, Vec<ThreadId>) = outputs.into_iter().unzip();
    assert_eq!(numbers, [0, 1, 2, 3]);
    for (place, one) in threads.iter().enumerate() {
        assert!(!threads[..place].contains(one), "each has its own thread");
        assert_ne!(*one, thread::current().id());
    }
}

#[test]
fn there_are_as_many_workers_as_cores_that_may_be_used_and_never_none() {
    let _alone = alone();
    let outputs = Workers::new()
        .ctrl_c(false)
        .run(async |worker: Worker| io::Result::Ok(worker.count()))
        .unwrap();
    let cores = thread::available_parallelism().unwrap().get();
    assert_eq!(outputs, vec![cores; cores]);
    let one = workers(0)
        .run(async |worker: Worker| io::Result::Ok(worker.index()))
        .unwrap();
    assert_eq!(one, [0]);
}

#[test]
fn a_worker_that_ends_well_does_not_end_the_others() {
    let _alone = alone();
    let ended = AtomicUsize::new(0);
    let outputs = workers(2)
        .run(async |worker: Worker| {
            if worker.index() == 1 {
                while ended.load(Ordering::SeqCst) == 0 {
                    yield_now().await;
                }
                // Its thread has ended or is about to; this one goes on all the same.
                sleep(Duration::from_millis(2)).await;
            }
            ended.fetch_add(1, Ordering::SeqCst);
            io::Result::Ok(worker.shutdown().is_cancelled())
        })
        .unwrap();
    assert_eq!(outputs, [false, false]);
}

#[test]
fn what_is_shared_may_be_borrowed_and_futures_need_not_be_send() {
    let _alone = alone();
    let names = Mutex::new(Vec::new());
    workers(2)
        .name("baker")
        .run(async |_: Worker| {
            let local = std::rc::Rc::new(Cell::new(1));
            let other = std::rc::Rc::clone(&local);
            spawn(async move { other.set(2) }).await.unwrap();
            assert_eq!(local.get(), 2);
            let name = thread::current().name().unwrap().to_owned();
            names.lock().unwrap().push(name);
            io::Result::Ok(())
        })
        .unwrap();
    let mut names = names.into_inner().unwrap();
    names.sort();
    assert_eq!(names, ["baker-0", "baker-1"]);
}

#[test]
fn an_error_of_one_tells_the_others_to_end() {
    let _alone = alone();
    let seen = AtomicUsize::new(0);
    let error = workers(3)
        .run(async |worker: Worker| {
            if worker.index() == 1 {
                return Err(io::Error::other("no flour"));
            }
            worker.shutdown().cancelled().await;
            seen.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .unwrap_err();
    assert_eq!(seen.into_inner(), 2);
    let [failure] = error.failures() else {
        panic!("{error:?}");
    };
    assert_eq!(failure.index(), 1);
    assert!(matches!(failure.kind(), WorkerFailureKind::Error(_)));
    assert_eq!(error.to_string(), "worker 1 failed: no flour");
    let deepest = error.source().unwrap().source().unwrap();
    assert_eq!(deepest.to_string(), "no flour");
}

#[test]
fn a_panic_in_one_ends_the_others_and_all_failures_are_collected_the_cause_first() {
    let _alone = alone();
    let error = workers(3)
        .run(async |worker: Worker| {
            match worker.index() {
                0 => worker.shutdown().cancelled().await,
                1 => {
                    worker.shutdown().cancelled().await;
                    return Err(io::Error::other("could not save"));
                }
                _ => panic!("the oven is on fire"),
            }
            Ok(())
        })
        .unwrap_err();
    let failures = error.failures();
    assert_eq!(failures.len(), 2);
    assert_eq!(failures[0].index(), 2);
    assert_eq!(failures[1].index(), 1);
    assert!(matches!(
        failures[0].kind(),
        WorkerFailureKind::Panicked(payload) if payload.message() == Some("the oven is on fire")
    ));
    assert_eq!(
        error.to_string(),
        "worker 2 panicked: the oven is on fire; worker 1 failed: could not save"
    );
}

#[test]
fn who_ignores_the_shutdown_is_cancelled_after_the_grace_and_cleans_up() {
    let _alone = alone();
    const GRACE: Duration = Duration::from_millis(20);
    struct Ignoring<'t>(Instant, &'t Mutex<Option<Duration>>);
    impl Drop for Ignoring<'_> {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(self.0.elapsed());
        }
    }
    struct Tidy;
    static TIDIED: AtomicUsize = AtomicUsize::new(0);
    impl Drop for Tidy {
        fn drop(&mut self) {
            leave(Box::pin(async {
                sleep(Duration::from_millis(1)).await;
                TIDIED.fetch_add(1, Ordering::SeqCst);
            }));
        }
    }
    let dropped_after = Mutex::new(None);
    let error = workers(2)
        .grace(GRACE)
        .run(async |worker: Worker| {
            if worker.index() == 0 {
                let _tidy = Tidy;
                let _ignoring = Ignoring(Instant::now(), &dropped_after);
                worker.shutdown().cancel();
                pending::<()>().await;
            }
            worker.shutdown().cancelled().await;
            io::Result::Ok(())
        })
        .unwrap_err();
    assert!(dropped_after.into_inner().unwrap().unwrap() >= GRACE);
    assert_eq!(TIDIED.load(Ordering::SeqCst), 1);
    assert!(matches!(
        error.failures(),
        [failure] if failure.index() == 0 && matches!(failure.kind(), WorkerFailureKind::Cancelled)
    ));
    assert_eq!(
        error.to_string(),
        "worker 0 did not end when it was told to, and was cancelled"
    );
}

#[test]
fn tasks_that_a_worker_leaves_are_cancelled() {
    let _alone = alone();
    static CANCELLED: AtomicUsize = AtomicUsize::new(0);
    struct Left;
    impl Drop for Left {
        fn drop(&mut self) {
            CANCELLED.fetch_add(1, Ordering::SeqCst);
        }
    }
    workers(2)
        .run(async |_: Worker| {
            spawn(async {
                let _left = Left;
                pending::<()>().await;
            })
            .detach();
            yield_now().await;
            io::Result::Ok(())
        })
        .unwrap();
    assert_eq!(CANCELLED.load(Ordering::SeqCst), 2);
}

#[test]
fn inside_a_running_loop_workers_are_refused() {
    let _alone = alone();
    let outcome = run(async { workers(1).run(async |_: Worker| io::Result::Ok(())) }).unwrap();
    assert!(matches!(outcome, Err(WorkersError::LoopRunning)));
    assert!(outcome.unwrap_err().to_string().contains("would block"));
}

#[test]
fn a_worker_that_stops_its_loop_has_failed() {
    let _alone = alone();
    let error = workers(1)
        .run(async |_: Worker| {
            LocalLoop::current().unwrap().stop();
            pending::<io::Result<()>>().await
        })
        .unwrap_err();
    assert!(matches!(
        error.failures()[0].kind(),
        WorkerFailureKind::Loop(RunError::Stopped)
    ));
}

#[test]
fn a_thread_that_cannot_be_started_ends_those_that_were() {
    let _alone = alone();
    let error = workers(2)
        .name("no\0name")
        .run(async |worker: Worker| {
            worker.shutdown().cancelled().await;
            io::Result::Ok(())
        })
        .unwrap_err();
    assert!(matches!(
        error.failures(),
        [failure] if matches!(failure.kind(), WorkerFailureKind::Thread(_))
    ));
}

#[test]
fn connections_are_spread_over_the_workers() {
    let _alone = alone();
    const CONNECTIONS: usize = 64;
    let workers = workers(2).listen(ANY).unwrap();
    let addr = workers.local_addrs().unwrap()[0];
    assert_ne!(addr.port(), 0, "known before anything runs");
    let clients = thread::spawn(move || {
        for _ in 0..CONNECTIONS {
            let mut answer = String::new();
            let mut stream = std::net::TcpStream::connect(addr).unwrap();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "fresh bread\n");
        }
    });
    let served = AtomicUsize::new(0);
    let each = workers
        .run(async |worker: Worker| {
            let mine = std::rc::Rc::new(Cell::new(0));
            let counted = std::rc::Rc::clone(&mine);
            let (handled, mut all) = (worker.take_listener(0)?, false);
            assert_eq!(handled.local_addr(), addr);
            let server = ServerOptions::new().serve_on(
                async move |_reader, writer| {
                    counted.set(counted.get() + 1);
                    writer.write_all(b"fresh bread\n").await
                },
                [handled],
            );
            let mut known = 0;
            while !all {
                served.fetch_add(mine.get() - known, Ordering::SeqCst);
                known = mine.get();
                all = served.load(Ordering::SeqCst) == CONNECTIONS;
                yield_now().await;
            }
            server.shutdown(Duration::from_secs(30)).await;
            io::Result::Ok(mine.get())
        })
        .unwrap();
    clients.join().unwrap();
    assert_eq!(each.iter().sum::<usize>(), CONNECTIONS);
    #[cfg(target_os = "linux")]
    assert!(each.iter().all(|&count| count > 0), "{each:?}");
}

#[test]
fn a_listener_can_be_taken_once() {
    let _alone = alone();
    workers(2)
        .listen(ANY)
        .unwrap()
        .listen((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .run(async |worker: Worker| {
            let second = worker.take_listener(1)?;
            let first = worker.take_listener(0)?;
            assert_ne!(first.local_addr(), second.local_addr());
            for none in [0, 2] {
                let error = worker.take_listener(none).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
            }
            io::Result::Ok(())
        })
        .unwrap();
}

#[test]
fn an_address_that_is_taken_is_an_early_error_that_names_it() {
    let _alone = alone();
    let holder = std::net::TcpListener::bind(ANY).unwrap();
    let addr = holder.local_addr().unwrap();
    let error = workers(2).listen(addr).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_left_open() {
    let _alone = alone();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // By name: the harness's own threads come and go, too, and those of other tests wait for this one to end.
    let threads = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
            .filter(|name| name.starts_with("rondel"))
            .count()
    };
    // A joined thread may still be listed for a moment.
    let until_none_is_left = || {
        while threads() > 0 {
            thread::yield_now();
        }
    };
    until_none_is_left();
    let before = open();
    let most = AtomicUsize::new(0);
    let error = workers(2)
        .listen(ANY)
        .unwrap()
        .run(async |worker: Worker| {
            let listener = worker.take_listener(0)?;
            let _connected = TcpStream::connect(listener.local_addr()).await?;
            let _server = start_server(async |_, _| (), SocketAddr::from(ANY)).await?;
            most.fetch_max(open(), Ordering::SeqCst);
            Err::<(), _>(io::Error::other("enough"))
        })
        .unwrap_err();
    assert!(matches!(error, WorkersError::Failed(_)));
    assert!(most.into_inner() > before, "it was open meanwhile");
    until_none_is_left();
    assert_eq!(open(), before);
    // Refused while listening fails early.
    drop(workers(2).listen(ANY).unwrap());
    assert_eq!(open(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn pinned_workers_keep_to_one_core_each_among_those_allowed() {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let _alone = alone();
    let cores = |set: &CpuSet| {
        (0..CpuSet::MAX_CPU)
            .filter(|&core| set.is_set(core))
            .collect::<Vec<_>>()
    };
    let allowed = sched_getaffinity(None).unwrap();
    let all = cores(&allowed);
    let together = Barrier::new(3);
    let each = workers(3)
        .pin_to_cores(true)
        .run(async |_: Worker| {
            together.wait();
            io::Result::Ok(cores(&sched_getaffinity(None)?))
        })
        .unwrap();
    for (index, mine) in each.iter().enumerate() {
        assert_eq!(*mine, [all[index % all.len()]]);
    }
    assert_eq!(
        cores(&sched_getaffinity(None).unwrap()),
        all,
        "this one is not"
    );
}

#[test]
fn what_happens_in_one_loop_is_not_seen_by_another() {
    let _alone = alone();
    thread_local! {
        static SEEN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }
    let lists = workers(2)
        .run(async |worker: Worker| {
            SEEN.with_borrow_mut(|seen| seen.push(worker.index()));
            yield_now().await;
            io::Result::Ok(SEEN.take())
        })
        .unwrap();
    assert_eq!(lists, [vec![0], vec![1]]);
}
