//! Debug mode, the watchdog, figures.
#![cfg(not(rondel_loom))]

use std::cell::RefCell;
use std::future::pending;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rondel_loop::{EventLoop, LocalLoop, Notice, Watchdog, call_soon, sleep, spawn, yield_now};

/// A loop whose notices are collected.
fn noticed() -> (EventLoop, Rc<RefCell<Vec<Notice>>>) {
    let lp = EventLoop::builder().watchdog(None).build().unwrap();
    let notices = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&notices);
    lp.set_notice_handler(Some(Rc::new(move |_, notice| {
        told.borrow_mut().push(notice.clone());
    })));
    (lp, notices)
}

/// Keeps the loop from going on for at least so long.
fn hog(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

#[test]
fn slow_tasks_and_callbacks_are_named_with_their_times() {
    let (mut lp, notices) = noticed();
    lp.set_debug(true);
    lp.set_slow_callback_duration(Duration::from_millis(20));
    lp.run_until_complete(async {
        spawn(async { hog(Duration::from_millis(30)) })
            .named("hog")
            .await
            .unwrap();
        call_soon(|| hog(Duration::from_millis(30)));
        yield_now().await;
    })
    .unwrap();
    let notices = notices.take();
    let words: Vec<_> = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Slow { took, .. } if *took >= Duration::from_millis(30)))
        .map(ToString::to_string)
        .collect();
    assert_eq!(words.len(), 2, "{notices:?}");
    assert!(
        words[0].starts_with("executing \"hog\" spawned at "),
        "{}",
        words[0]
    );
    assert!(
        words[0].contains("debug.rs") && words[0].contains(" took 0.0"),
        "{}",
        words[0]
    );
    assert!(
        words[1].starts_with("executing a callback scheduled at "),
        "{}",
        words[1]
    );
}

#[test]
fn what_is_slow_is_named_though_the_clock_is_hardly_read() {
    let (mut lp, notices) = noticed();
    lp.set_debug(true);
    assert!(lp.slow_callback_duration() >= Duration::from_millis(100));
    // Once the thread that watches the time has been held up, nobody is named: try again.
    for _ in 0..20 {
        lp.call_soon(|| hog(Duration::from_millis(150)));
        lp.run_until_complete(async {
            for _ in 0..100 {
                yield_now().await;
            }
            sleep(Duration::from_millis(1)).await;
            spawn(async { hog(Duration::from_millis(150)) })
                .named("gone by then")
                .await
                .unwrap();
            hog(Duration::from_millis(150));
        })
        .unwrap();
        let notices = notices.take();
        let mut named = Vec::new();
        for notice in &notices {
            match notice {
                Notice::Slow { entry, took, .. } => {
                    assert!(*took >= Duration::from_millis(100), "{notice}");
                    named.push(entry.to_string());
                }
                Notice::SlowTurn { .. } | Notice::Crowded { .. } => {}
                other => panic!("{other}"),
            }
        }
        let slow = notices
            .iter()
            .filter(|notice| !matches!(notice, Notice::Crowded { .. }))
            .count();
        assert!(slow >= 3, "none is missed: {notices:?}");
        if slow == 3 && named.len() == 3 {
            assert!(
                named[0].starts_with("a callback scheduled at "),
                "{named:?}"
            );
            assert!(
                named[1].starts_with("\"gone by then\" spawned at "),
                "{named:?}"
            );
            assert!(named[2].starts_with("Task-"), "{named:?}");
            return;
        }
    }
    panic!("never named");
}

#[test]
fn the_ticker_goes_with_the_last_loop() {
    // In a process of its own, as the test of the watchdog below.
    if std::env::var_os("RONDEL_TEST_ALONE").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_ticker_goes_with_the_last_loop"])
            .env("RONDEL_TEST_ALONE", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    for _ in 0..2 {
        let mut lp = EventLoop::builder()
            .watchdog(None)
            .debug(true)
            .build()
            .unwrap();
        assert_eq!(threads("rondel-ticker"), 0, "none before a loop runs");
        lp.run_until_complete(yield_now()).unwrap();
        while threads("rondel-ticker") != 1 {
            std::thread::yield_now();
        }
        drop(lp);
        while threads("rondel-ticker") > 0 {
            std::thread::yield_now();
        }
    }
}

/// How many threads of this process have this name.
fn threads(name: &str) -> usize {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.trim_end() == name)
        .count()
}

#[test]
fn with_a_limit_of_zero_everything_is_noticed() {
    let (mut lp, notices) = noticed();
    lp.set_slow_callback_duration(Duration::ZERO);
    lp.call_soon(|| {});
    lp.run_until_complete(async {}).unwrap();
    assert!(notices.borrow().is_empty(), "not in debug mode");
    lp.set_debug(true);
    lp.call_soon(|| {});
    lp.run_until_complete(async {}).unwrap();
    let slow = notices
        .take()
        .iter()
        .filter(|notice| matches!(notice, Notice::Slow { .. }))
        .count();
    assert!(
        slow >= 2,
        "the callback and the main future at least: {slow}"
    );
}

#[test]
fn debug_mode_takes_effect_with_the_next_entry() {
    let (mut lp, notices) = noticed();
    lp.set_slow_callback_duration(Duration::ZERO);
    lp.call_soon(|| LocalLoop::current().unwrap().set_debug(true));
    let line = line!() + 1;
    lp.call_soon(|| {});
    lp.call_soon(|| LocalLoop::current().unwrap().set_debug(false));
    lp.call_soon(|| {});
    lp.run_until_complete(async {
        for _ in 0..4 {
            yield_now().await;
        }
    })
    .unwrap();
    let notices = notices.take();
    let lines: Vec<_> = notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Slow { entry, .. } => Some(entry.site().line()),
            _ => None,
        })
        .collect();
    assert_eq!(
        lines.iter().filter(|at| **at == line).count(),
        1,
        "{lines:?}"
    );
    assert_eq!(
        lines.iter().filter(|at| **at == line + 2).count(),
        0,
        "{lines:?}"
    );
}

#[test]
fn a_queue_that_is_too_long_is_noticed() {
    let (mut lp, notices) = noticed();
    lp.set_debug(true);
    lp.set_slow_callback_duration(Duration::from_millis(20));
    for _ in 0..40 {
        lp.call_soon(|| hog(Duration::from_millis(1)));
    }
    lp.run_until_complete(async {
        // As long as it takes: entries that the system makes slow are reported one by one instead.
        for _ in 0..100 {
            for _ in 0..40 {
                call_soon(|| hog(Duration::from_millis(1)));
            }
            for _ in 0..3 {
                sleep(Duration::ZERO).await;
            }
            if notices
                .borrow()
                .iter()
                .any(|notice| matches!(notice, Notice::Crowded { .. }))
            {
                return;
            }
        }
        panic!("not noticed: {:?}", notices.borrow());
    })
    .unwrap();
}

#[test]
fn a_notice_handler_that_panics_does_no_harm() {
    let mut lp = EventLoop::new().unwrap();
    let reports = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&reports);
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        told.borrow_mut().push(context.to_string());
    })));
    lp.set_notice_handler(Some(Rc::new(|_, _| panic!("never again"))));
    lp.set_slow_callback_duration(Duration::ZERO);
    lp.set_debug(true);
    lp.run_until_complete(async { yield_now().await }).unwrap();
    assert!(reports.borrow()[0].contains("never again"));
}

#[test]
fn what_is_open_when_the_loop_closes_is_noticed() {
    let (mut lp, notices) = noticed();
    lp.set_debug(true);
    let task = lp.create_task(pending::<()>());
    task.set_name("left behind");
    let (one, _other) = UnixStream::pair().unwrap();
    lp.add_reader(&one, || {}).unwrap();
    lp.run_until_complete(yield_now()).unwrap();
    notices.borrow_mut().clear();
    lp.close();
    let words: Vec<_> = notices.borrow().iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), 2, "{words:?}");
    assert!(
        words[0].contains("\"left behind\" spawned at"),
        "{}",
        words[0]
    );
    assert!(words[1].contains("watch of a descriptor"), "{}", words[1]);
}

#[test]
fn the_watchdog_reports_while_the_loop_is_blocked() {
    let (send, receive) = mpsc::channel();
    let mut lp = EventLoop::builder()
        .watchdog(Some(
            Watchdog::new()
                .limit(Duration::from_millis(5))
                .on_blocked(move |blocked| drop(send.send(blocked.clone()))),
        ))
        .build()
        .unwrap();
    let line = line!() + 2;
    let seen = lp
        .run_until_complete(async {
            spawn(async move {
                // Nothing but the report ends this.
                receive.recv().unwrap()
            })
            .named("blocker")
            .await
            .unwrap()
        })
        .unwrap();
    assert_eq!(seen.task.as_deref(), Some("blocker"));
    assert_eq!(seen.site.line(), line + 1);
    assert!(seen.for_at_least >= Duration::from_millis(5));
    assert_eq!(seen.thread.as_deref(), std::thread::current().name());
}

#[test]
fn the_watchdog_goes_with_the_last_loop() {
    // In a process of its own: other tests of this one have watchdogs.
    if std::env::var_os("RONDEL_TEST_ALONE").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_watchdog_goes_with_the_last_loop"])
            .env("RONDEL_TEST_ALONE", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let watchdogs = || threads("rondel-watchdog");
    for _ in 0..2 {
        let mut lp = EventLoop::builder()
            .watchdog(Some(Watchdog::new()))
            .build()
            .unwrap();
        assert_eq!(watchdogs(), 0, "none before a loop runs");
        lp.run_until_complete(yield_now()).unwrap();
        // It takes its name when it begins.
        while watchdogs() != 1 {
            std::thread::yield_now();
        }
        drop(lp);
        while watchdogs() > 0 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn accounts_say_how_often_and_how_long() {
    let mut lp = EventLoop::new().unwrap();
    lp.set_accounts(true);
    let info = lp
        .run_until_complete(async {
            let task = spawn(async {
                hog(Duration::from_millis(2));
                yield_now().await;
            });
            task.done().await;
            sleep(Duration::from_millis(1)).await;
            sleep(Duration::from_millis(1)).await;
            task.info().unwrap()
        })
        .unwrap();
    let account = info.account().unwrap();
    assert_eq!(account.polls(), 2);
    assert!(account.spent() >= Duration::from_millis(2));
    assert!(account.longest() <= account.spent());
    assert!(account.spawned_by().is_some());
    let metrics = lp.metrics();
    assert!(metrics.busy() >= account.spent());
    assert!(metrics.entry_time.count() >= 4);
    assert!(metrics.turn_time.count() > 0 && metrics.lag.count() > 0);
}

#[test]
fn figures_count_what_there_is() {
    let mut lp = EventLoop::builder().watchdog(None).build().unwrap();
    let (one, _other) = UnixStream::pair().unwrap();
    lp.add_reader(&one, || {}).unwrap();
    let timer = lp.call_later(Duration::from_secs(3600), || {});
    let task = lp.create_task(pending::<()>());
    lp.run_until_complete(yield_now()).unwrap();
    task.cancel();
    lp.run_until_complete(yield_now()).unwrap();
    let metrics = lp.metrics();
    assert_eq!(metrics.tasks_spawned, 3);
    assert_eq!((metrics.tasks_alive, metrics.tasks_cancelled), (0, 1));
    assert_eq!((metrics.timers, metrics.watched, metrics.ready), (1, 1, 0));
    assert!(metrics.to_string().contains("1 cancelled"));
    assert_eq!(metrics.entry_time.count(), 0, "nobody asked for times");
    timer.cancel();
}

/// Run in a process of its own by the test below.
#[test]
fn a_slow_program() {
    if std::env::var_os("RONDEL_TEST_PROGRAM").is_some() {
        rondel_loop::run(async {
            spawn(async { hog(Duration::from_millis(110)) })
                .named("hog")
                .await
                .unwrap();
        })
        .unwrap();
    }
}

#[test]
fn the_environment_turns_debug_mode_on() {
    let stderr = |debug: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_slow_program", "--nocapture"])
            .env("RONDEL_TEST_PROGRAM", "1")
            .env("RONDEL_DEBUG", debug)
            .env("RONDEL_WATCHDOG", "0")
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = stderr("1");
    assert!(
        text.contains("rondel: executing \"hog\" spawned at "),
        "{text}"
    );
    assert_eq!(stderr("0"), "");
}

#[test]
fn figures_tell_how_long_jobs_waited_for_a_thread() {
    let mut lp = EventLoop::new().unwrap();
    lp.set_default_executor(rondel_executor::ThreadPool::builder().threads(1).build());
    lp.run_until_complete(async {
        let (behind_is_queued, queued) = mpsc::channel();
        let long = rondel_loop::run_in_executor(None, move || {
            queued.recv().unwrap();
            hog(Duration::from_millis(5));
        })
        .unwrap();
        let behind = rondel_loop::run_in_executor(None, || ()).unwrap();
        behind_is_queued.send(()).unwrap();
        long.await.unwrap();
        behind.await.unwrap();
    })
    .unwrap();
    let metrics = lp.metrics();
    let (waited, begun) = metrics.pool_waited;
    assert_eq!(
        (begun, metrics.pool_queued, metrics.pool_threads),
        (2, 0, 1)
    );
    assert!(waited >= Duration::from_millis(5), "{waited:?}");
    assert!(metrics.to_string().contains("2 jobs begun"));
}

/// Run in a process of its own by the test below.
#[test]
fn a_program_with_a_thread_that_comes_late() {
    if std::env::var_os("RONDEL_TEST_PROGRAM").is_none() {
        return;
    }
    let (send, wakers) = mpsc::channel();
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        for number in 0..12 {
            let send = send.clone();
            spawn(std::future::poll_fn(move |cx| {
                send.send(cx.waker().clone()).unwrap();
                std::task::Poll::<()>::Pending
            }))
            .set_name(format!("left behind {number}"));
        }
        yield_now().await;
    })
    .unwrap();
    drop((lp, send));
    let late = std::thread::Builder::new().name("latecomer".into());
    let late = late.spawn(move || {
        for waker in wakers {
            waker.wake_by_ref();
            waker.wake();
        }
    });
    late.unwrap().join().unwrap();
}

#[test]
fn who_wakes_tasks_of_a_loop_that_has_gone_is_reported() {
    let stderr = |debug: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_program_with_a_thread_that_comes_late",
                "--nocapture",
            ])
            .env("RONDEL_TEST_PROGRAM", "1")
            .env("RONDEL_DEBUG", debug)
            .env("RONDEL_WATCHDOG", "0")
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = stderr("1");
    let late: Vec<_> = text
        .lines()
        .filter(|line| line.contains("after its loop was closed"))
        .collect();
    assert_eq!(late.len(), 11, "ten, and that there are more: {text}");
    assert!(
        late[0].starts_with("rondel: \"left behind 0\" spawned at "),
        "{text}"
    );
    assert!(
        late[0].contains("debug.rs") && late[0].ends_with("by the thread \"latecomer\""),
        "{text}"
    );
    assert!(
        late[10].ends_with("what else comes too late there is not reported"),
        "{text}"
    );
    assert_eq!(stderr("0"), "");
}
