//! Ctrl-C and `run`, each case in a process of its own.

mod child;

use std::future::pending;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use child::{child, is_child};
use rondel_executor::leave;
use rondel_loop::signal::{Signal, signal};
use rondel_loop::{EventLoop, LocalLoop, RunError, RunOptions, Runner, sleep, spawn, yield_now};
use rustix::process::kill_process;

/// Whether the process catches the signal, as the system sees it.
#[cfg(target_os = "linux")]
fn is_caught(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .unwrap();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    caught & (1 << (signal.as_raw() - 1)) != 0
}

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

/// Starts the test as a child that says "ready" when it is; gives it and the rest of what it says.
fn start(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command
        .stdin(Stdio::piped())
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
        assert_ne!(
            out.read_line(&mut line).unwrap(),
            0,
            "the child ended before it said {word}"
        );
    }
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    kill_process(pid, rustix::process::Signal::INT).unwrap();
}

/// Says something to the parent that waits for it.
fn say(word: &str) {
    let mut out = io::stdout();
    writeln!(out, "\n{word}").unwrap();
    out.flush().unwrap();
}

#[test]
fn the_first_ctrl_c_cancels_main_which_cleans_up() {
    const TEST: &str = "the_first_ctrl_c_cancels_main_which_cleans_up";
    if is_child(TEST) {
        struct Farewell;
        impl Drop for Farewell {
            fn drop(&mut self) {
                leave(Box::pin(async {
                    sleep(Duration::from_micros(100)).await;
                    say("cleaned up");
                }));
            }
        }
        let outcome = rondel_loop::run(async {
            let _farewell = Farewell;
            // Another task is cancelled afterwards, with what it leaves.
            spawn(async {
                let _farewell = Farewell;
                pending::<()>().await;
            })
            .detach();
            yield_now().await;
            say("ready");
            pending::<()>().await;
        });
        assert!(matches!(outcome, Err(RunError::Interrupted)), "{outcome:?}");
        assert_eq!(outcome.unwrap_err().to_string(), "interrupted by Ctrl-C");
        #[cfg(target_os = "linux")]
        assert!(!is_caught(Signal::INTERRUPT), "given back");
        std::process::exit(42);
    }
    let (mut process, mut out) = start(child(TEST));
    interrupt(&process);
    wait_for(&mut out, "cleaned up");
    wait_for(&mut out, "cleaned up");
    assert_eq!(process.wait().unwrap().code(), Some(42));
}

#[test]
fn the_second_ctrl_c_ends_the_process_though_the_loop_is_blocked() {
    const TEST: &str = "the_second_ctrl_c_ends_the_process_though_the_loop_is_blocked";
    if is_child(TEST) {
        let _ = rondel_loop::run(async {
            LocalLoop::current().unwrap().call_soon(|| {
                say("ready");
                // A callback that never comes back.
                loop {
                    std::thread::park();
                }
            });
            pending::<()>().await;
        });
        unreachable!("nothing gets past the callback");
    }
    let (mut process, _out) = start(child(TEST));
    interrupt(&process);
    // Signals of one number do not queue: the second one only counts when the first has been seen.
    while process.try_wait().unwrap().is_none() {
        interrupt(&process);
        std::thread::yield_now();
    }
    assert_eq!(
        process.wait().unwrap().signal(),
        Some(Signal::INTERRUPT.as_raw())
    );
}

#[test]
fn the_second_ctrl_c_ends_the_process_while_main_cleans_up() {
    const TEST: &str = "the_second_ctrl_c_ends_the_process_while_main_cleans_up";
    if is_child(TEST) {
        struct Slow;
        impl Drop for Slow {
            fn drop(&mut self) {
                leave(Box::pin(async {
                    say("cleaning up");
                    pending::<()>().await;
                }));
            }
        }
        let _ = rondel_loop::run(async {
            let _slow = Slow;
            say("ready");
            pending::<()>().await;
        });
        std::process::exit(43);
    }
    let (mut process, mut out) = start(child(TEST));
    interrupt(&process);
    wait_for(&mut out, "cleaning up");
    interrupt(&process);
    assert_eq!(
        process.wait().unwrap().signal(),
        Some(Signal::INTERRUPT.as_raw())
    );
}

/// Whether the process has not taken the interrupt yet that it was sent.
fn is_pending(process: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let pending = status
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap();
    pending & (1 << 1) != 0
}

#[test]
fn a_main_that_finishes_in_spite_of_ctrl_c_keeps_its_result() {
    const TEST: &str = "a_main_that_finishes_in_spite_of_ctrl_c_keeps_its_result";
    if is_child(TEST) {
        let outcome = rondel_loop::run(async {
            say("ready");
            // The line comes when the signal has been caught; ready at once, so not cancelled.
            let mut line = String::new();
            io::stdin().read_line(&mut line).unwrap();
            line.len()
        });
        assert_eq!(outcome.unwrap(), 3);
        std::process::exit(42);
    }
    let (mut process, _out) = start(child(TEST));
    interrupt(&process);
    // Whichever thread takes the signal must have done so while the run listens, or it does what it does by default.
    while is_pending(&process) {
        std::thread::yield_now();
    }
    process.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(42));
}

#[test]
fn a_program_that_ignores_ctrl_c_goes_on_ignoring_it() {
    const TEST: &str = "a_program_that_ignores_ctrl_c_goes_on_ignoring_it";
    if is_child(TEST) {
        let outcome = rondel_loop::run(async {
            say("ready");
            rondel_loop::to_thread(|| {
                let mut line = String::new();
                io::stdin().read_line(&mut line).unwrap();
                line.len()
            })
            .await
            .unwrap()
        });
        assert_eq!(outcome.unwrap(), 3);
        #[cfg(target_os = "linux")]
        assert!(!is_caught(Signal::INTERRUPT));
        std::process::exit(42);
    }
    // The shell has it ignored from the start, as `nohup` does with SIGHUP.
    let inner = child(TEST);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("trap '' INT; exec \"$0\" \"$@\"");
    shell.arg(inner.get_program()).args(inner.get_args());
    for (key, value) in inner.get_envs() {
        shell.env(key, value.unwrap());
    }
    let (mut process, _out) = start(shell);
    interrupt(&process);
    interrupt(&process);
    process.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(42));
}

#[test]
fn a_runner_can_be_told_to_leave_ctrl_c_alone() {
    const TEST: &str = "a_runner_can_be_told_to_leave_ctrl_c_alone";
    if is_child(TEST) {
        let options = RunOptions::new().ctrl_c(false);
        let mut runner = Runner::with(new_loop(), options);
        let _ = runner.run(async {
            say("ready");
            pending::<()>().await;
        });
        std::process::exit(43);
    }
    let (mut process, _out) = start(child(TEST));
    interrupt(&process);
    assert_eq!(
        process.wait().unwrap().signal(),
        Some(Signal::INTERRUPT.as_raw())
    );
}

#[test]
fn a_runner_takes_ctrl_c_anew_for_each_run() {
    const TEST: &str = "a_runner_takes_ctrl_c_anew_for_each_run";
    if is_child(TEST) {
        let mut runner = Runner::new().unwrap();
        for _ in 0..3 {
            let outcome = runner.run(async {
                say("ready");
                pending::<()>().await;
            });
            assert!(matches!(outcome, Err(RunError::Interrupted)), "{outcome:?}");
        }
        std::process::exit(42);
    }
    let (mut process, mut out) = start(child(TEST));
    interrupt(&process);
    wait_for(&mut out, "ready");
    interrupt(&process);
    wait_for(&mut out, "ready");
    interrupt(&process);
    assert_eq!(process.wait().unwrap().code(), Some(42));
}

#[test]
fn a_loop_that_listens_itself_is_not_overruled() {
    const TEST: &str = "a_loop_that_listens_itself_is_not_overruled";
    if is_child(TEST) {
        let other = new_loop();
        other.add_signal_handler(Signal::INTERRUPT, || {}).unwrap();
        let outcome = rondel_loop::run(async {
            let mut arrivals = signal(Signal::INTERRUPT).unwrap();
            say("ready");
            arrivals.recv().await;
            arrivals.recv().await;
            7
        });
        assert_eq!(outcome.unwrap(), 7);
        std::process::exit(42);
    }
    let (mut process, _out) = start(child(TEST));
    // As often as it takes: arrivals that come too fast are one.
    while process.try_wait().unwrap().is_none() {
        interrupt(&process);
        std::thread::yield_now();
    }
    assert_eq!(process.wait().unwrap().code(), Some(42));
}
