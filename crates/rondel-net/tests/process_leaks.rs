//! Descriptors and children, counted before and after: nothing is left behind, whatever happens.

#![cfg(all(feature = "process", target_os = "linux"))]

mod cancel;

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cancel::cancel_at;
use rondel_loop::{EventLoop, run, sleep, spawn, timeout, yield_now};
use rondel_net::{Command, Stdio};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LONG: Duration = Duration::from_secs(60);

/// The tests of this file run one at a time: descriptors and children belong to the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A thread that has reaped a child lets go of its loop, and with that of a descriptor, a moment later.
    while is_waited_for() {
        std::thread::yield_now();
    }
    alone
}

/// Whether a thread of the test before is still waiting for a child.
fn is_waited_for() -> bool {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok())
        .any(|name| name.starts_with("rondel-wait-"))
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Those descriptors of this process that its children get, the standard ones left out: whoever started the tests may have
/// left some open.
fn inheritable() -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|&number: &RawFd| {
            // The folder's own is gone by now, or closed on exec.
            let flags = fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
            number > 2 && flags.is_ok_and(|flags| !is_closed_on_exec(&flags))
        })
        .collect()
}

fn is_closed_on_exec(info: &str) -> bool {
    const CLOEXEC: u32 = 0o2_000_000;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    u32::from_str_radix(flags.unwrap().trim(), 8).unwrap() & CLOEXEC != 0
}

/// This process's children, zombies included.
fn children() -> Vec<String> {
    let own = format!(" {} ", std::process::id());
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            // After the name: the state, then the parent's number.
            let rest = stat.rsplit(')').next().unwrap();
            rest.get(2..).is_some_and(|rest| rest.starts_with(&own))
        })
        .collect()
}

fn in_loop<F: Future>(main: F) -> F::Output {
    run(async { timeout(LONG, main).await.expect("something hangs") }).unwrap()
}

async fn until_no_children() {
    while !children().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
}

fn cat() -> Command {
    let mut command = Command::new("cat");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn what_is_kept_would_be_noticed() {
    let _alone = alone();
    in_loop(async {
        let before = descriptors();
        let child = cat().spawn().unwrap();
        assert_eq!(descriptors(), before + 4, "three pipes and the pidfd");
        assert_eq!(children().len(), 1);
        drop(child);
        until_no_children().await;
        yield_now().await;
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn a_dropped_child_is_reaped_in_the_background() {
    let _alone = alone();
    in_loop(async {
        let before = descriptors();
        for round in 0..40 {
            let mut command = Command::shell("exit 0");
            command.watch_by_thread(round % 2 == 0);
            if round % 3 == 0 {
                command.process_group(0);
            }
            drop(command.spawn().unwrap());
        }
        until_no_children().await;
        yield_now().await;
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn a_leader_that_ended_before_its_handle_went_is_reaped() {
    let _alone = alone();
    in_loop(async {
        for by_thread in [false, true] {
            let child = Command::new("true")
                .process_group(0)
                .watch_by_thread(by_thread)
                .spawn()
                .unwrap();
            child.wait().await.unwrap();
            assert_eq!(children().len(), 1);
            drop(child);
            assert!(children().is_empty());
        }
    });
}

#[test]
fn what_a_closed_loop_leaves_is_reaped() {
    let _alone = alone();
    let before = descriptors();
    for kill in [false, true] {
        let mut event_loop = EventLoop::new().unwrap();
        let gate = event_loop
            .run_until_complete(async {
                let mut gate = Vec::new();
                for _ in 0..3 {
                    let mut child = cat().kill_on_drop(kill).spawn().unwrap();
                    gate.push(child.stdin.take());
                    // In a task that never ends, and in nobody's hands.
                    spawn(async move { child.wait().await }).detach();
                    gate.push(cat().spawn().unwrap().stdin.take());
                }
                yield_now().await;
                gate
            })
            .unwrap();
        assert!(!children().is_empty());
        drop(event_loop);
        drop(gate);
        in_loop(until_no_children());
    }
    assert_eq!(descriptors(), before);
}

/// Runs `session` as often as it waits, each time cut one wait later, until it comes to its end.
async fn cut_everywhere(session: impl AsyncFn()) {
    for point in 0.. {
        assert!(point < 10_000, "it never ends");
        if cancel_at(point, session()).await.is_some() {
            assert!(point > 0, "it never waits");
            return;
        }
    }
}

#[test]
fn cancelled_at_any_point_nothing_is_left() {
    let _alone = alone();
    in_loop(async {
        // What the first one makes for good is made.
        cat().output().await.unwrap();
        let before = descriptors();
        let input = vec![7; 300_000];
        cut_everywhere(async || {
            let mut child = cat().kill_on_drop(true).spawn().unwrap();
            child.communicate(&input).await.unwrap();
        })
        .await;
        cut_everywhere(async || {
            let mut command = Command::shell("echo x; sleep 0.01; echo y");
            command.output().await.unwrap();
        })
        .await;
        cut_everywhere(async || {
            let mut command = Command::shell("exit 3");
            command.watch_by_thread(true).status().await.unwrap();
        })
        .await;
        until_no_children().await;
        for _ in 0..10 {
            yield_now().await;
        }
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let _alone = alone();
    in_loop(async {
        let before = descriptors();
        for _ in 0..10 {
            let mut command = Command::new("/no/such/program");
            command.stdin(Stdio::piped()).output().await.unwrap_err();
            command
                .session(true)
                .stdout(Stdio::pty())
                .spawn()
                .unwrap_err();
        }
        yield_now().await;
        assert_eq!(descriptors(), before);
        assert!(children().is_empty());
    });
}

#[test]
fn without_descriptors_left_it_fails_and_leaves_nothing() {
    let _alone = alone();
    in_loop(async {
        cat().output().await.unwrap();
        let before = descriptors();
        let limit = getrlimit(Resource::Nofile);
        let mut outcomes = Vec::new();
        for spare in 0..16 {
            // The folder being listed takes one itself.
            let highest = u64::try_from(before - 1 + spare).unwrap();
            setrlimit(
                Resource::Nofile,
                Rlimit {
                    current: Some(highest),
                    maximum: limit.maximum,
                },
            )
            .unwrap();
            let started = cat().kill_on_drop(true).spawn();
            setrlimit(Resource::Nofile, limit).unwrap();
            outcomes.push(started.is_ok());
            match started {
                Ok(child) => drop(child),
                Err(error) => {
                    let system = io::Error::from(error);
                    assert!(
                        system.to_string().contains("Too many open files"),
                        "{system}"
                    );
                }
            }
            until_no_children().await;
            yield_now().await;
            assert_eq!(descriptors(), before, "with {spare} to spare");
        }
        assert!(!outcomes[0] && outcomes[15], "{outcomes:?}");
    });
}

#[test]
fn a_thousand_children_leave_nothing() {
    let _alone = alone();
    in_loop(async {
        let before = descriptors();
        for _ in 0..50 {
            let tasks: Vec<_> = (0..20)
                .map(|_| spawn(async { Command::new("true").status().await }))
                .collect();
            for task in tasks {
                assert!(task.await.unwrap().unwrap().success());
            }
        }
        yield_now().await;
        assert_eq!(descriptors(), before);
        assert!(children().is_empty());
    });
}

#[test]
fn a_child_has_its_three_streams_and_no_other_descriptor() {
    let _alone = alone();
    let inherited = inheritable();
    in_loop(async {
        // Everything that this library opens is open now.
        let others = [
            cat().spawn().unwrap(),
            cat().watch_by_thread(true).spawn().unwrap(),
        ];
        let _pty = Command::new("cat")
            .stdin(Stdio::pty())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let _listener =
            rondel_net::TcpListener::bind("127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap());
        let _signal = rondel_loop::signal::signal(rondel_loop::signal::Signal::USER2).unwrap();
        for session in [false, true] {
            let output = Command::shell("ls /proc/self/fd")
                .stdin(Stdio::piped())
                .session(session)
                .output()
                .await
                .unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            let numbers = printed.lines().map(|line| line.parse().unwrap());
            let theirs: Vec<RawFd> = numbers.filter(|fd| !inherited.contains(fd)).collect();
            // The fourth is the folder itself.
            assert_eq!(theirs.len(), 4, "{printed}");
            assert_eq!(theirs[..3], [0, 1, 2]);
        }
        drop(others);
    });
}

#[test]
fn a_child_inherits_neither_mask_nor_ignored_signals() {
    let _alone = alone();
    in_loop(async {
        let _signal = rondel_loop::signal::signal(rondel_loop::signal::Signal::USER2).unwrap();
        for session in [false, true] {
            let output = Command::new("grep")
                .args(["-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"])
                .session(session)
                .output()
                .await
                .unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            let bit = |name: &str, signal: u32| {
                let line = printed.lines().find(|line| line.starts_with(name)).unwrap();
                let set = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
                set & (1 << (signal - 1)) != 0
            };
            assert!(!bit("SigIgn", 13), "PIPE: {printed}");
            assert!(!bit("SigBlk", 12) && !bit("SigCgt", 12), "USR2: {printed}");
        }
    });
}

#[test]
fn a_child_that_uses_a_loop_of_its_own_sees_no_running_one() {
    let _alone = alone();
    const INSIDE: &str = "RONDEL_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        assert!(rondel_loop::LocalLoop::current().is_err());
        assert_eq!(
            in_loop(async { Command::shell("exit 5").status().await.unwrap().code() }),
            Some(5)
        );
        return;
    }
    in_loop(async {
        let name = "a_child_that_uses_a_loop_of_its_own_sees_no_running_one";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(INSIDE, "1")
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    });
}
