//! Children: how they are started, how they end, what signals they get.

#![cfg(feature = "process")]

use std::cell::Cell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rondel_loop::{EventLoop, run, spawn, timeout, yield_now};
use rondel_net::{Command, ReapedElsewhere, Stdio};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn in_loop<F: Future>(main: F) -> F::Output {
    run(async { timeout(LONG, main).await.expect("something hangs") }).unwrap()
}

/// A shell that runs `line`, and one whose end a thread waits for.
fn both(line: &str) -> [Command; 2] {
    let mut by_thread = Command::shell(line);
    by_thread.watch_by_thread(true);
    [Command::shell(line), by_thread]
}

/// Waits until `pid` is a process no more, not even a zombie.
async fn until_gone(pid: u32) {
    while Path::new(&format!("/proc/{pid}")).exists() {
        rondel_loop::sleep(Duration::from_millis(1)).await;
    }
}

fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

#[test]
fn exit_codes_are_told() {
    in_loop(async {
        for code in [0, 1, 3, 255] {
            for mut command in both(&format!("exit {code}")) {
                let child = command.spawn().unwrap();
                let status = child.wait().await.unwrap();
                assert_eq!(status.code(), Some(code));
                assert_eq!(status.success(), code == 0);
                assert_eq!(child.wait().await.unwrap(), status);
                assert_eq!(child.try_wait().unwrap(), Some(status));
            }
        }
    });
}

#[test]
fn death_by_a_signal_is_told() {
    in_loop(async {
        for (signal, name) in [(9, "KILL"), (15, "TERM"), (10, "USR1")] {
            for mut command in both(&format!("kill -{name} $$")) {
                // The same for one that leads a group, whose end is seen in another way.
                for group in [None, Some(0)] {
                    if let Some(group) = group {
                        command.process_group(group);
                    }
                    let status = command.spawn().unwrap().wait().await.unwrap();
                    assert_eq!((status.code(), status.signal()), (None, Some(signal)));
                    assert!(!status.core_dumped());
                }
            }
        }
    });
}

#[test]
fn a_group_leaders_exit_code_is_told() {
    in_loop(async {
        for mut command in both("exit 7") {
            let child = command.process_group(0).spawn().unwrap();
            assert_eq!(child.wait().await.unwrap().code(), Some(7));
            // Its number is kept for its group, and given back with the handle.
            assert!(is_zombie(child.id()));
            let pid = child.id();
            drop(child);
            until_gone(pid).await;
        }
    });
}

#[test]
fn many_may_wait() {
    in_loop(async {
        for mut command in both("read line; exit 4") {
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            let tasks: Vec<_> = (0..10).map(|_| spawn(child.wait())).collect();
            yield_now().await;
            // One that stops waiting takes nobody with it.
            tasks[3].cancel();
            timeout(Duration::ZERO, child.wait()).await.unwrap_err();
            assert_eq!(child.try_wait().unwrap(), None);
            drop(child.stdin.take());
            for (number, task) in tasks.into_iter().enumerate() {
                match task.await {
                    Ok(status) => assert_eq!(status.unwrap().code(), Some(4)),
                    Err(error) => assert!(number == 3 && error.is_cancelled()),
                }
            }
        }
    });
}

#[test]
fn the_end_is_told_though_a_grandchild_holds_the_pipe() {
    in_loop(async {
        for mut command in both("sleep 1000 & echo started; exit 5") {
            let mut child = command
                .process_group(0)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            assert_eq!(child.wait().await.unwrap().code(), Some(5));
            let mut stdout = child.stdout.take().unwrap();
            assert_eq!(stdout.read_line().await.unwrap(), b"started\n");
            // It is the grandchild that keeps the pipe open: with the group it goes.
            child.kill_group().unwrap();
            assert_eq!(stdout.read_to_end(100).await.unwrap(), b"");
        }
    });
}

#[test]
fn a_signal_reaches_the_child() {
    in_loop(async {
        for mut command in
            both("trap 'echo caught; exit 6' USR1; echo ready; while :; do sleep 0.01; done")
        {
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let stdout = child.stdout.as_mut().unwrap();
            assert_eq!(stdout.read_line().await.unwrap(), b"ready\n");
            child
                .send_signal(rondel_loop::signal::Signal::USER1.as_raw())
                .unwrap();
            let stdout = child.stdout.as_mut().unwrap();
            assert_eq!(stdout.read_line().await.unwrap(), b"caught\n");
            assert_eq!(child.wait().await.unwrap().code(), Some(6));
        }
    });
}

#[test]
fn one_that_ignores_terminate_is_killed() {
    in_loop(async {
        for mut command in both("trap '' TERM; echo ready; exec sleep 1000") {
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let stdout = child.stdout.as_mut().unwrap();
            assert_eq!(stdout.read_line().await.unwrap(), b"ready\n");
            child.terminate().unwrap();
            assert!(
                timeout(Duration::from_millis(50), child.wait())
                    .await
                    .is_err()
            );
            child.kill().unwrap();
            assert_eq!(child.wait().await.unwrap().signal(), Some(9));
        }
    });
}

#[test]
fn terminate_ends_one_that_does_not() {
    in_loop(async {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        child.terminate().unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(15));
    });
}

#[test]
fn signals_to_those_who_have_ended_are_ignored() {
    in_loop(async {
        for mut command in both("exit 0") {
            let child = command.process_group(0).spawn().unwrap();
            child.wait().await.unwrap();
            child.kill().unwrap();
            child.terminate().unwrap();
            child.send_signal(1).unwrap();
            child.kill_group().unwrap();
            assert!(child.wait().await.unwrap().success());
        }
        // Also when nobody has noticed the end yet.
        let child = Command::new("true").spawn().unwrap();
        while !is_zombie(child.id()) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn what_is_no_signal_is_refused() {
    in_loop(async {
        let child = Command::new("true").spawn().unwrap();
        for number in [-1, 0, 65, 1000] {
            let error = child.send_signal(number).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let error = child.kill_group().unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::InvalidInput,
            "it leads no group"
        );
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn one_reaped_elsewhere_is_a_typed_error() {
    in_loop(async {
        for mut command in both("exit 0") {
            let child = command.spawn().unwrap();
            let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
            // Without a look at the loop in between: whoever comes first has it.
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            match child.wait().await {
                Err(error) => {
                    let lost: &ReapedElsewhere = error.get_ref().unwrap().downcast_ref().unwrap();
                    assert_eq!(lost.id(), child.id());
                    assert!(error.to_string().contains(&child.id().to_string()));
                }
                // The waiting thread came first.
                Ok(status) => assert!(status.success()),
            }
            child.kill().unwrap();
        }
    });
}

#[test]
fn a_program_that_cannot_be_started_is_an_error_that_names_it() {
    in_loop(async {
        let error = Command::new("/no/such/thing").spawn().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.program(), "/no/such/thing");
        let error = Command::new("/etc/passwd").spawn().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().starts_with("starting /etc/passwd: "));
        let error = Command::new("true").current_dir("/no/such").spawn();
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
        let error = Command::new("true").stdout(Stdio::merged()).spawn();
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    });
    let outside = Command::new("true").spawn().unwrap_err();
    assert!(outside.to_string().contains("loop"), "{outside}");
}

#[test]
fn a_hundred_that_end_together_are_all_noticed() {
    in_loop(async {
        let mut gate = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..100 {
            let mut child = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            gate.push(child.stdin.take());
            tasks.push(spawn(child.wait()));
        }
        drop(gate);
        for task in tasks {
            assert!(task.await.unwrap().unwrap().success());
        }
    });
}

#[test]
fn surroundings_are_set() {
    in_loop(async {
        let output = Command::shell("echo $0 $ONE $TWO $HOME; pwd")
            .env_clear()
            .env("ONE", "1")
            .envs([("TWO", "2"), ("GONE", "3")])
            .env_remove("GONE")
            .current_dir("/")
            .output()
            .await
            .unwrap();
        assert_eq!(output.stdout, b"/bin/sh 1 2\n/\n");
        let output = Command::new("/bin/sh")
            .arg0("another")
            .args(["-c", "echo $0"])
            .output()
            .await
            .unwrap();
        assert_eq!(output.stdout, b"another\n");
        let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
        let mut command = Command::new("id");
        command.arg("-u").uid(user.as_raw()).gid(group.as_raw());
        let output = command.output().await.unwrap();
        assert_eq!(output.stdout, format!("{}\n", user.as_raw()).as_bytes());
    });
}

#[test]
fn status_closes_the_pipes_that_nobody_would_read() {
    in_loop(async {
        let mut command = Command::new("yes");
        let status = command.stdout(Stdio::piped()).status().await.unwrap();
        assert_eq!(status.signal(), Some(13));
        let mut command = Command::new("cat");
        assert!(
            command
                .stdin(Stdio::piped())
                .status()
                .await
                .unwrap()
                .success()
        );
        let mut command = Command::new("sleep");
        let error = command
            .arg("1000")
            .timeout(Duration::from_millis(20))
            .status()
            .await;
        assert_eq!(
            io::Error::from(error.unwrap_err()).kind(),
            io::ErrorKind::TimedOut
        );
    });
}

#[test]
fn a_command_of_the_standard_library_becomes_one_of_ours() {
    in_loop(async {
        let mut of_std = std::process::Command::new("/bin/sh");
        of_std.args(["-c", "echo $WORD"]).env("WORD", "kept");
        let mut command = Command::from(of_std);
        assert_eq!(command.program(), "/bin/sh");
        assert_eq!(command.output().await.unwrap().stdout, b"kept\n");
        command.as_std_mut().env("WORD", "another");
        assert_eq!(command.output().await.unwrap().stdout, b"another\n");
    });
}

#[test]
fn a_wait_that_is_dropped_lets_its_waker_go() {
    struct Mark;
    impl std::task::Wake for Mark {
        fn wake(self: Arc<Self>) {}
    }
    in_loop(async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let mark = Arc::new(Mark);
        let waker = std::task::Waker::from(Arc::clone(&mark));
        let mut cx = std::task::Context::from_waker(&waker);
        for _ in 0..3 {
            let mut wait = child.wait();
            for _ in 0..3 {
                assert!(std::pin::Pin::new(&mut wait).poll(&mut cx).is_pending());
                assert_eq!(Arc::strong_count(&mark), 3);
            }
            drop(wait);
            assert_eq!(Arc::strong_count(&mark), 2);
        }
        drop(child.stdin.take());
        child.wait().await.unwrap();
    });
}

#[test]
fn a_command_can_be_started_again() {
    in_loop(async {
        let file = std::env::temp_dir().join(format!("rondel-again-{}", std::process::id()));
        let mut command = Command::shell("echo line");
        command.stdout(Stdio::from(std::fs::File::create(&file).unwrap()));
        for _ in 0..3 {
            assert!(command.status().await.unwrap().success());
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"line\nline\nline\n");
        std::fs::remove_file(file).unwrap();
        command.stdout(Stdio::piped());
        for _ in 0..2 {
            assert_eq!(command.output().await.unwrap().stdout, b"line\n");
        }
    });
}

#[test]
fn a_session_is_led_by_its_child() {
    in_loop(async {
        let line = "import os; print(os.getsid(0) == os.getpid() == os.getpgrp())";
        let mut command = Command::new("python3");
        command.args(["-c", line]);
        assert_eq!(command.output().await.unwrap().stdout, b"False\n");
        command.session(true);
        assert_eq!(command.output().await.unwrap().stdout, b"True\n");
    });
}

#[test]
fn a_terminal_of_its_own_works_both_ways() {
    in_loop(async {
        let mut child =
            Command::shell("tty; stty size; read line; echo got $line; exec cat /dev/tty")
                .stdin(Stdio::pty())
                .stdout(Stdio::pty())
                .stderr(Stdio::pty())
                .pty_size(30, 100)
                .spawn()
                .unwrap();
        let pty = child.pty.as_mut().unwrap();
        let line = pty.reader.read_line().await.unwrap();
        assert!(line.starts_with(b"/dev/pts/"), "{line:?}");
        assert_eq!(pty.reader.read_line().await.unwrap(), b"30 100\r\n");
        pty.writer.write_all(b"hello\n").await.unwrap();
        assert_eq!(
            pty.reader.read_line().await.unwrap(),
            b"hello\r\n",
            "the echo"
        );
        assert_eq!(pty.reader.read_line().await.unwrap(), b"got hello\r\n");
        // Once `cat` answers, no shell is left that could swallow an interrupt between its fork and its exec.
        pty.writer.write_all(b"again\n").await.unwrap();
        for of in ["the echo", "cat"] {
            assert_eq!(pty.reader.read_line().await.unwrap(), b"again\r\n", "{of}");
        }
        // It is the controlling terminal: an interrupt typed there arrives.
        pty.writer.write_all(b"\x03").await.unwrap();
        let rest = pty.reader.read_to_end(100).await.unwrap();
        assert_eq!(rest, b"^C");
        assert_eq!(child.wait().await.unwrap().signal(), Some(2));
    });
}

#[test]
fn a_child_outlives_its_loop_and_is_waited_for_in_another() {
    for mut command in both("read line; exit 9") {
        let mut event_loop = EventLoop::new().unwrap();
        let mut child = event_loop
            .run_until_complete(async { command.stdin(Stdio::piped()).spawn().unwrap() })
            .unwrap();
        drop(event_loop);
        assert_eq!(child.try_wait().unwrap(), None);
        let status = in_loop(async {
            let wait = spawn(child.wait());
            yield_now().await;
            drop(child.stdin.take());
            wait.await.unwrap().unwrap()
        });
        assert_eq!(status.code(), Some(9));
    }
}

#[test]
fn dropped_it_runs_on_unless_told_otherwise() {
    in_loop(async {
        let done = std::env::temp_dir().join(format!("rondel-done-{}", std::process::id()));
        let line = format!("read line; echo x > {}", done.display());
        let mut child = Command::shell(&line).stdin(Stdio::piped()).spawn().unwrap();
        let (pid, stdin) = (child.id(), child.stdin.take());
        drop(child);
        drop(stdin);
        until_gone(pid).await;
        std::fs::remove_file(done).unwrap();

        for mut command in both("sleep 1000") {
            let child = command.kill_on_drop(true).spawn().unwrap();
            let wait = child.wait();
            drop(child);
            assert_eq!(wait.await.unwrap().signal(), Some(9));
        }
    });
}

#[test]
fn killed_on_drop_with_its_group() {
    in_loop(async {
        let mut child = Command::shell("sleep 1000 & echo $!; wait")
            .process_group(0)
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let line = stdout.read_line().await.unwrap();
        assert!(!line.is_empty());
        drop(child);
        // The grandchild held the pipe, too.
        assert_eq!(stdout.read_to_end(100).await.unwrap(), b"");
    });
}

#[test]
fn status_and_output_kill_when_they_are_dropped() {
    in_loop(async {
        let file = std::env::temp_dir().join(format!("rondel-pid-{}", std::process::id()));
        let line = format!(
            "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000",
            file.display()
        );
        for collected in [false, true] {
            let mut command = Command::shell(&line);
            let task = spawn(async move {
                if collected {
                    command.output().await.map(|output| output.status)
                } else {
                    command.status().await
                }
            });
            let pid: u32 = loop {
                if let Ok(text) = std::fs::read_to_string(&file) {
                    break text.trim().parse().unwrap();
                }
                rondel_loop::sleep(Duration::from_millis(1)).await;
            };
            std::fs::remove_file(&file).unwrap();
            task.cancel();
            until_gone(pid).await;
        }
    });
}

#[test]
fn waiting_keeps_nobody_else_from_running() {
    in_loop(async {
        let turns = Rc::new(Cell::new(0));
        let counter = spawn({
            let turns = Rc::clone(&turns);
            async move {
                loop {
                    turns.set(turns.get() + 1);
                    yield_now().await;
                }
            }
        });
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        while turns.get() < 100 {
            assert!(timeout(Duration::ZERO, child.wait()).await.is_err());
        }
        drop(child.stdin.take());
        assert!(child.wait().await.unwrap().success());
        counter.cancel();
    });
}

#[test]
fn under_a_virtual_clock_a_child_without_pipes_is_waited_for() {
    let mut event_loop = EventLoop::builder()
        .selector(rondel_poll::Virtual::new())
        .build()
        .unwrap();
    event_loop
        .run_until_complete(async {
            let child = Command::shell("exit 2").spawn().unwrap();
            // The clock stands still for what is under way.
            let status = timeout(Duration::from_secs(1), child.wait()).await;
            assert_eq!(status.unwrap().unwrap().code(), Some(2));
            let piped = Command::new("true").stdout(Stdio::piped()).spawn();
            assert_eq!(piped.unwrap_err().kind(), io::ErrorKind::Unsupported);
        })
        .unwrap();
}
