//! What goes in and out of children: all sizes, whole, without anybody waiting for the other for ever.

#![cfg(feature = "process")]

use std::io;
use std::time::Duration;

use rondel_loop::{run, spawn, timeout, yield_now};
use rondel_net::{Command, CommunicateErrorKind, Stdio};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn in_loop<F: Future>(main: F) -> F::Output {
    run(async { timeout(LONG, main).await.expect("something hangs") }).unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

fn python(line: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", line]);
    command
}

#[test]
fn output_of_any_size_arrives_whole() {
    in_loop(async {
        for size in [0, 1, 65_536, 65_537, 1_000_000] {
            let line = format!("head -c {size} /dev/zero; head -c {size} /dev/zero >&2");
            let output = Command::shell(&line).output().await.unwrap();
            assert!(output.status.success());
            assert!(output.stdout == vec![0; size], "{size}");
            assert!(output.stderr == vec![0; size], "{size}");
        }
    });
}

#[test]
fn input_of_any_size_comes_back() {
    in_loop(async {
        for size in [0, 1, 8192, 65_536, 65_537, 219_264, 1_000_000] {
            let input = bytes(size);
            let mut child = piped(&mut Command::new("cat")).spawn().unwrap();
            let output = child.communicate(&input).await.unwrap();
            assert!(output.status.success());
            assert!(output.stdout == input, "{size}");
            assert!(output.stderr.is_empty());
        }
    });
}

#[test]
fn input_beyond_the_hard_limit_comes_back() {
    in_loop(async {
        let input = bytes(1_000_000);
        let mut child = piped(&mut Command::new("cat")).spawn().unwrap();
        child.stdin.as_ref().unwrap().set_hard_limit(10_000);
        assert!(child.communicate(&input).await.unwrap().stdout == input);
    });
}

#[test]
fn a_child_that_writes_before_it_reads_does_not_stop_it() {
    in_loop(async {
        let input = bytes(219_264);
        let line = "head -c 500000 /dev/zero; head -c 500000 /dev/zero >&2; cat";
        let mut child = piped(&mut Command::shell(line)).spawn().unwrap();
        let output = child.communicate(&input).await.unwrap();
        assert_eq!(output.stdout.len(), 500_000 + input.len());
        assert!(output.stdout.ends_with(&input));
        assert_eq!(output.stderr.len(), 500_000);
    });
}

#[test]
fn a_child_that_never_reads_is_no_error() {
    in_loop(async {
        let input = bytes(1_000_000);
        for line in [
            "exit 3",
            "exec <&-; echo closed >&2; exit 3",
            "read line; exit 3",
        ] {
            let mut child = piped(&mut Command::shell(line)).spawn().unwrap();
            let output = child.communicate(&input).await.unwrap();
            assert_eq!(output.status.code(), Some(3), "{line}");
        }
    });
}

#[test]
fn writing_to_one_that_has_ended_is_a_broken_pipe() {
    in_loop(async {
        let mut child = piped(&mut Command::new("true")).spawn().unwrap();
        child.wait().await.unwrap();
        let stdin = child.stdin.take().unwrap();
        let error = io::Error::from(stdin.write_all(&bytes(100)).await.unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let text = error.to_string();
        assert!(
            text.starts_with("sending to the standard input of true: "),
            "{text}"
        );
        stdin.drain().await.unwrap_err();

        // One whose input is full, and who is killed.
        let mut child = piped(Command::new("sleep").arg("1000")).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let task = spawn(async move { stdin.write_all(&bytes(1_000_000)).await });
        yield_now().await;
        child.kill().unwrap();
        let error = io::Error::from(task.await.unwrap().unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_was_printed_can_be_read_after_the_end() {
    in_loop(async {
        let mut child = Command::shell("echo one; echo two; printf three")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(child.wait().await.unwrap().success());
        let stdout = child.stdout.as_mut().unwrap();
        assert_eq!(stdout.read_line().await.unwrap(), b"one\n");
        let output = child.communicate(b"").await.unwrap();
        assert_eq!(output.stdout, b"two\nthree");
    });
}

#[test]
fn a_slow_reader_holds_a_fast_child_up() {
    in_loop(async {
        let mut child = Command::shell("exec head -c 10000000 /dev/zero")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 10]).await.unwrap();
        let before = stdout.buffer().len();
        for _ in 0..1000 {
            yield_now().await;
        }
        assert!(before <= 2 * stdout.limit());
        assert_eq!(
            stdout.buffer().len(),
            before,
            "nothing is read ahead unasked"
        );
        assert!(child.try_wait().unwrap().is_none());
        let rest = stdout.read_to_end(usize::MAX).await.unwrap();
        assert_eq!(rest.len(), 10_000_000 - 10);
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn a_child_whose_output_is_closed_gets_a_broken_pipe() {
    in_loop(async {
        let mut child = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        assert_eq!(stdout.read_line().await.unwrap(), b"y\n");
        drop(stdout);
        // The signal is at its default in the child, though Rust programs ignore it.
        let status = child.wait().await.unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(13)
        );
    });
}

#[test]
fn standard_error_can_be_merged_with_whatever_output_is() {
    in_loop(async {
        let line = "echo one; echo two >&2; echo three";
        let merged = Command::shell(line).stderr(Stdio::merged()).output().await;
        let output = merged.unwrap();
        assert_eq!(output.stdout, b"one\ntwo\nthree\n");
        assert!(output.stderr.is_empty());

        let mut child = Command::shell(line)
            .stdout(Stdio::null())
            .stderr(Stdio::merged())
            .spawn()
            .unwrap();
        assert!(child.stdout.is_none() && child.stderr.is_none());
        assert!(child.communicate(b"").await.unwrap().stdout.is_empty());

        let path = std::env::temp_dir().join(format!("rondel-merged-{}", std::process::id()));
        let status = Command::shell(line)
            .stdout(std::fs::File::create(&path).unwrap())
            .stderr(Stdio::merged())
            .status()
            .await;
        assert!(status.unwrap().success());
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn nothing_at_all_is_neither_read_nor_written() {
    in_loop(async {
        let mut child = Command::new("cat")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.communicate(b"").await.unwrap();
        assert!(output.status.success());
        assert!(output.stdout.is_empty() && output.stderr.is_empty());

        let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
        let error = child.communicate(b"for nobody").await.unwrap_err();
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
        child.wait().await.unwrap();
    });
}

#[test]
fn more_output_than_allowed_is_an_error_that_has_it() {
    in_loop(async {
        let error = Command::new("yes")
            .max_output(1000)
            .output()
            .await
            .unwrap_err();
        match error.kind() {
            CommunicateErrorKind::TooLong {
                stream: 1,
                limit: 1000,
            } => {}
            other => panic!("{other:?}"),
        }
        assert!(error.stdout().starts_with(b"y\ny\n"));
        assert_eq!(
            error.to_string(),
            "the child printed more than 1000 bytes to standard output"
        );

        let flood = "echo kept; exec yes >&2";
        let error = Command::shell(flood)
            .max_output(1000)
            .output()
            .await
            .unwrap_err();
        assert!(matches!(
            error.kind(),
            CommunicateErrorKind::TooLong { stream: 2, .. }
        ));
        assert_eq!(error.stdout(), b"kept\n");
        assert!(error.into_output().1.len() > 1000);

        // Exactly as much is not more.
        let line = "head -c 1000 /dev/zero";
        let output = Command::shell(line)
            .max_output(1000)
            .output()
            .await
            .unwrap();
        assert_eq!(output.stdout.len(), 1000);
    });
}

#[test]
fn a_time_limit_leaves_the_child_to_who_has_it() {
    in_loop(async {
        let mut child = piped(&mut Command::shell("echo begun; cat"))
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let limit = Duration::from_millis(100);
        let error = loop {
            // As long as the shell takes to come up.
            let error = child.communicate(b"").timeout(limit).await.unwrap_err();
            assert!(matches!(error.kind(), CommunicateErrorKind::TimedOut));
            if !error.stdout().is_empty() {
                break error;
            }
        };
        assert_eq!(error.stdout(), b"begun\n");
        assert_eq!(child.try_wait().unwrap(), None);
        stdin.write_all(b"more").await.unwrap();
        drop(stdin);
        let output = child.communicate(b"").timeout(LONG).await.unwrap();
        assert_eq!(output.stdout, b"more");
    });
}

#[test]
fn a_grandchild_that_holds_the_pipe_is_bounded_by_the_time_limit() {
    in_loop(async {
        let error = Command::shell("sleep 1000 & echo done")
            .process_group(0)
            .timeout(Duration::from_millis(300))
            .output()
            .await
            .unwrap_err();
        assert_eq!(error.stdout(), b"done\n");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn dropped_half_way_it_keeps_what_it_has_read() {
    in_loop(async {
        let mut child = piped(&mut Command::shell(
            "echo one; echo two >&2; exec sleep 1000",
        ))
        .spawn()
        .unwrap();
        loop {
            let _ = timeout(
                Duration::from_millis(10),
                child.communicate(b"").into_future(),
            )
            .await;
            let [stdout, stderr] =
                [&child.stdout, &child.stderr].map(|one| one.as_ref().unwrap().buffer());
            if (stdout, stderr) == (b"one\n", b"two\n") {
                break;
            }
        }
        child.kill().unwrap();
        let output = child.communicate(b"").await.unwrap();
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b"one\n"[..], &b"two\n"[..])
        );
    });
}

#[test]
fn many_children_talk_at_the_same_time() {
    in_loop(async {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                spawn(async move {
                    let input = bytes(50_000 + n);
                    let mut child = piped(&mut Command::new("cat")).spawn().unwrap();
                    child.communicate(&input).await.unwrap().stdout == input
                })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap());
        }
    });
}

#[test]
fn python_talks_line_by_line() {
    in_loop(async {
        let line = "import sys\nfor line in sys.stdin: print(int(line) ** 2, flush=True)";
        let mut child = piped(&mut python(line)).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        for n in [2, 12, 100] {
            stdin.write_all(format!("{n}\n").as_bytes()).await.unwrap();
            let answer = child.stdout.as_mut().unwrap().read_line().await.unwrap();
            assert_eq!(answer, format!("{}\n", n * n).as_bytes());
        }
        drop(stdin);
        assert!(child.wait().await.unwrap().success());
    });
}
