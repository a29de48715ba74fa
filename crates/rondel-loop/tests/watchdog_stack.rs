//! The stack of a loop that is blocked.
#![cfg(all(
    feature = "stack",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(rondel_loom)
))]

use std::hint::black_box;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rondel_loop::{Blocked, EventLoop, Stack, Watchdog, spawn, yield_now};

/// A loop, and what its watchdog reports.
fn watched() -> (EventLoop, mpsc::Receiver<Blocked>) {
    let (send, receive) = mpsc::channel();
    let watchdog = Watchdog::new()
        .limit(Duration::from_millis(10))
        .stack(true)
        .on_blocked(move |blocked| drop(send.send(blocked.clone())));
    let lp = EventLoop::builder()
        .watchdog(Some(watchdog))
        .build()
        .unwrap();
    (lp, receive)
}

fn functions(stack: &Stack) -> Vec<&str> {
    let frames = stack.frames().iter();
    frames
        .filter_map(|frame| frame.function.as_deref())
        .collect()
}

#[track_caller]
fn assert_goes_through(stack: &Stack, inner: &str, outer: &str) {
    let names = functions(stack);
    let place = |name| names.iter().position(|function| function.contains(name));
    match (place(inner), place(outer)) {
        (Some(inner), Some(outer)) => assert!(inner < outer, "{stack}"),
        _ => panic!("not through {inner} and {outer}:\n{stack}"),
    }
}

#[inline(never)]
fn spin_until(reports: &mpsc::Receiver<Blocked>) -> Blocked {
    loop {
        // Nothing that could be interrupted in the kernel: this is what computes.
        if let Ok(report) = reports.try_recv() {
            return report;
        }
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn computes_all_day(reports: &mpsc::Receiver<Blocked>) -> Blocked {
    black_box(spin_until(black_box(reports)))
}

#[test]
fn a_task_that_computes_is_seen_where_it_does() {
    let (mut lp, reports) = watched();
    let report = lp
        .run_until_complete(async {
            spawn(async move { computes_all_day(&reports) })
                .named("hog")
                .await
                .unwrap()
        })
        .unwrap();
    assert_eq!(report.task.as_deref(), Some("hog"));
    let stack = report.stack.clone().expect("asked for");
    assert_eq!(stack.missing(), None, "{stack}");
    assert_goes_through(&stack, "spin_until", "computes_all_day");
    let named = stack.frames().iter().find(|frame| {
        let function = frame.function.as_deref();
        function.is_some_and(|function| function.contains("computes_all_day"))
    });
    let named = named.unwrap();
    assert!(
        named
            .file
            .as_deref()
            .unwrap()
            .ends_with("watchdog_stack.rs")
    );
    assert!(named.line.is_some());
    // Lines of their own, after the report as it is without.
    let words = report.to_string();
    let mut lines = words.lines();
    assert!(lines.next().unwrap().contains("has been blocked for"));
    assert!(lines.all(|line| line.starts_with("  in ")), "{words}");
}

#[test]
fn the_loop_s_own_part_is_left_out() {
    let (mut lp, reports) = watched();
    let (send, told) = mpsc::channel();
    lp.call_soon(move || drop(send.send(computes_all_day(&reports))));
    lp.run_until_complete(async {
        for _ in 0..2 {
            yield_now().await;
        }
    })
    .unwrap();
    let stack = told.recv().unwrap().stack.expect("asked for");
    assert_goes_through(&stack, "spin_until", "computes_all_day");
    let ours = ["rondel_executor::executor", "run_until_complete", "main"];
    for name in functions(&stack) {
        assert!(!ours.iter().any(|our| name.contains(our)), "{stack}");
    }
}

#[inline(never)]
fn reads_what_never_comes(stream: &mut UnixStream) -> usize {
    let mut byte = [0];
    stream
        .read(&mut byte)
        .expect("it is not disturbed by the question")
}

#[test]
fn a_task_that_blocks_in_a_system_call_is_seen_in_it_and_goes_on() {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let writer = Arc::new(writer);
    let own = Arc::clone(&writer);
    let (send, receive) = mpsc::channel();
    let watchdog = Watchdog::new()
        .limit(Duration::from_millis(10))
        .stack(true)
        .on_blocked(move |blocked| {
            let _ = send.send(blocked.clone());
            // Ends what blocks it.
            let _ = own.shutdown(std::net::Shutdown::Both);
        });
    let mut lp = EventLoop::builder()
        .watchdog(Some(watchdog))
        .build()
        .unwrap();
    let read = lp.run_until_complete(async { reads_what_never_comes(&mut reader) });
    assert_eq!(read.unwrap(), 0);
    let stack = receive.recv().unwrap().stack.unwrap();
    assert_eq!(stack.missing(), None, "{stack}");
    assert_goes_through(&stack, "recv", "reads_what_never_comes");
}

#[test]
fn a_stack_that_is_too_deep_is_cut_off() {
    #[inline(never)]
    fn down(levels: u32, reports: &mpsc::Receiver<Blocked>) -> Blocked {
        let room = black_box([levels; 256]);
        let report = if levels == 0 {
            spin_until(reports)
        } else {
            down(levels - 1, reports)
        };
        black_box(room);
        report
    }

    let roomy = std::thread::Builder::new().stack_size(64 << 20);
    let deep = roomy.spawn(|| {
        let (mut lp, reports) = watched();
        lp.run_until_complete(async { down(2_000, &reports) })
            .unwrap()
    });
    let stack = deep.unwrap().join().unwrap().stack.unwrap();
    assert!(stack.missing().is_some(), "{stack}");
    let levels = functions(&stack)
        .iter()
        .filter(|name| name.contains("down"))
        .count();
    assert!(levels > 50, "{levels} levels: {stack}");
}

#[test]
fn other_threads_may_be_at_work_on_the_same_stack() {
    let (mut lp, reports) = watched();
    let mut words = [0_u64; 1024];
    let stop = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        let written = &mut words;
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for word in written.iter_mut() {
                    *word = black_box(word.wrapping_add(1));
                }
            }
        });
        let report = lp.run_until_complete(async { computes_all_day(&reports) });
        stop.store(true, Ordering::Relaxed);
        report.unwrap()
    });
    assert_goes_through(&report.stack.unwrap(), "spin_until", "computes_all_day");
}

/// Not a test by itself: what the next one starts.
#[test]
fn a_program_that_blocks() {
    if std::env::var_os("RONDEL_TEST_BLOCKS").is_none() {
        return;
    }
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        // Until its standard input is closed, which its parent does when it has seen the report.
        let mut all = Vec::new();
        std::io::stdin().read_to_end(&mut all).unwrap();
    })
    .unwrap();
}

#[test]
fn the_environment_asks_for_it() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_program_that_blocks", "--nocapture"])
        .env("RONDEL_TEST_BLOCKS", "1")
        .env("RONDEL_WATCHDOG", "stack")
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let mut said = String::new();
    let mut buffer = [0; 4096];
    // In a line of the stack, whatever of the function's name the program has kept.
    while !said
        .lines()
        .any(|line| line.starts_with("  in ") && line.contains("watchdog_stack.rs:"))
    {
        let count = errors.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "it ended, and said only: {said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(said.contains("has been blocked for 1."), "{said}");
    assert!(said.contains("\n  in "), "{said}");
}
