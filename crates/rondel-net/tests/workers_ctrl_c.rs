//! Ctrl-C and workers, each case in a process of its own.

use std::env;
use std::future::pending;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use rondel_net::{Worker, WorkerFailureKind, Workers};
use rustix::process::{Pid, Signal, kill_process};

const IN_CHILD: &str = "RONDEL_TEST_CHILD";

fn is_child(test: &str) -> bool {
    env::var_os(IN_CHILD).is_some_and(|child| child == test)
}

/// Runs `test` and nothing else as a child; gives it and what it says after "ready".
fn start(test: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(IN_CHILD, test)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut out, "ready");
    (child, out)
}

fn wait_for(out: &mut impl BufRead, word: &str) {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        let count = out.read_line(&mut line).unwrap();
        assert_ne!(count, 0, "the child ended before it said {word}");
    }
}

fn say(word: &str) {
    let mut out = io::stdout();
    writeln!(out, "\n{word}").unwrap();
    out.flush().unwrap();
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn ctrl_c_tells_all_workers_who_end_well() {
    const TEST: &str = "ctrl_c_tells_all_workers_who_end_well";
    if is_child(TEST) {
        let together = Barrier::new(2);
        let outputs = Workers::new()
            .count(2)
            .run(async |worker: Worker| {
                if together.wait().is_leader() {
                    say("ready");
                }
                worker.shutdown().cancelled().await;
                io::Result::Ok(worker.index() + 1)
            })
            .unwrap();
        assert_eq!(outputs, [1, 2], "a graceful end is a success");
        std::process::exit(42);
    }
    let (mut process, _out) = start(TEST);
    interrupt(&process);
    assert_eq!(process.wait().unwrap().code(), Some(42));
}

#[test]
fn who_ignores_ctrl_c_is_cancelled_after_the_grace() {
    const TEST: &str = "who_ignores_ctrl_c_is_cancelled_after_the_grace";
    if is_child(TEST) {
        let error = Workers::new()
            .count(2)
            .grace(Duration::from_millis(1))
            .run(async |worker: Worker| {
                if worker.index() == 0 {
                    say("ready");
                }
                pending::<io::Result<()>>().await
            })
            .unwrap_err();
        assert_eq!(error.failures().len(), 2);
        for failure in error.failures() {
            assert!(matches!(failure.kind(), WorkerFailureKind::Cancelled));
        }
        std::process::exit(42);
    }
    let (mut process, _out) = start(TEST);
    interrupt(&process);
    assert_eq!(process.wait().unwrap().code(), Some(42));
}

#[test]
fn the_second_ctrl_c_ends_the_process() {
    const TEST: &str = "the_second_ctrl_c_ends_the_process";
    if is_child(TEST) {
        let _ = Workers::new().count(2).run(async |worker: Worker| {
            if worker.index() == 0 {
                say("ready");
            }
            worker.shutdown().cancelled().await;
            if worker.index() == 0 {
                say("told");
            }
            pending::<io::Result<()>>().await
        });
        std::process::exit(43);
    }
    let (mut process, mut out) = start(TEST);
    interrupt(&process);
    wait_for(&mut out, "told");
    interrupt(&process);
    assert_eq!(process.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn workers_can_be_told_to_leave_ctrl_c_alone() {
    const TEST: &str = "workers_can_be_told_to_leave_ctrl_c_alone";
    if is_child(TEST) {
        let _ = Workers::new()
            .count(2)
            .ctrl_c(false)
            .run(async |worker: Worker| {
                if worker.index() == 0 {
                    say("ready");
                }
                pending::<io::Result<()>>().await
            });
        std::process::exit(43);
    }
    let (mut process, _out) = start(TEST);
    interrupt(&process);
    assert_eq!(process.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
}
