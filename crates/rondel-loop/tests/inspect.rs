//! A loop seen from outside: through its socket, from another thread or process.
#![cfg(not(rondel_loom))]

use std::future::pending;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rondel_executor::{Task, task_scope};
use rondel_loop::{EventLoop, LocalLoop, SourceKind, run, sleep, spawn, to_thread, yield_now};
use rondel_sync::oneshot;

fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("rondel-test-{}-{name}", std::process::id()))
}

fn ask(path: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_snapshot_names_tasks_and_what_they_wait_for() {
    let path = socket("names");
    run(async {
        let inspection = LocalLoop::current().unwrap().inspect(Some(&path)).unwrap();
        assert_eq!(inspection.path(), path);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let idler = spawn(pending::<()>()).named("an \"idler\"");
        // Its first turn, before anybody looks.
        yield_now().await;
        let there = path.clone();
        let answer = to_thread(move || ask(&there, b"snapshot\n")).await.unwrap();
        assert!(answer.starts_with(&format!("{{\"version\":1,\"pid\":{}", std::process::id())));
        assert!(answer.contains("\"fresh\":true"), "{answer}");
        assert!(answer.contains("\"name\":\"an \\\"idler\\\"\""), "{answer}");
        assert!(
            answer.contains("\"waits_for\":\"a job in a thread pool\""),
            "{answer}"
        );
        assert!(answer.contains("\"polls\":1"), "{answer}");
        assert!(answer.ends_with("}\n"));
        idler.cancel();
        drop(inspection);
        assert!(!path.exists(), "the socket goes with the last loop");
    })
    .unwrap();
}

#[test]
fn a_loop_that_is_inspected_already_stays_where_it_is() {
    let path = socket("twice");
    run(async {
        let local = LocalLoop::current().unwrap();
        let first = local.inspect(Some(&path)).unwrap();
        let second = local.inspect(Some(&socket("elsewhere"))).unwrap();
        assert_eq!(second.path(), path);
        drop(first);
        let there = path.clone();
        let answer = to_thread(move || ask(&there, b"snapshot\n")).await.unwrap();
        assert_eq!(
            answer.matches("\"thread\":").count(),
            1,
            "one loop: {answer}"
        );
        assert!(answer.contains("\"fresh\":true"), "{answer}");
        drop(second);
        assert!(!path.exists());
    })
    .unwrap();
}

#[test]
fn whoever_asks_nothing_keeps_nobody_waiting_for_long() {
    let path = socket("silent");
    run(async {
        let _inspection = LocalLoop::current().unwrap().inspect(Some(&path)).unwrap();
        let there = path.clone();
        to_thread(move || {
            let _silent: Vec<_> = (0..5)
                .map(|_| UnixStream::connect(&there).unwrap())
                .collect();
            let answer = ask(&there, b"snapshot\n");
            assert!(answer.contains("\"fresh\":true"), "{answer}");
        })
        .await
        .unwrap();
    })
    .unwrap();
}

#[test]
fn malformed_requests_do_no_harm() {
    let path = socket("malformed");
    run(async {
        let _inspection = LocalLoop::current().unwrap().inspect(Some(&path)).unwrap();
        let there = path.clone();
        to_thread(move || {
            for request in [
                &b"\n"[..],
                b"\xff\xfe\0\n",
                b"snapshot please\n",
                b"GET / HTTP/1.1\r\n\r\n",
                b"snapsho\n",
            ] {
                let answer = ask(&there, request);
                assert_eq!(
                    answer,
                    "{\"error\":\"unknown request; there is: snapshot\"}\n"
                );
            }
            // One that is too long, one that goes away, one that goes away before it has asked.
            let mut long = UnixStream::connect(&there).unwrap();
            let _ = long.write_all(&[b'x'; 100_000]);
            drop(long);
            let mut rude = UnixStream::connect(&there).unwrap();
            rude.write_all(b"snapshot\n").unwrap();
            drop(rude);
            drop(UnixStream::connect(&there).unwrap());
            assert!(ask(&there, b"snapshot\r\n").contains("\"fresh\":true"));
        })
        .await
        .unwrap();
    })
    .unwrap();
}

#[test]
fn a_blocked_loop_is_answered_for() {
    let path = socket("blocked");
    let mut lp = EventLoop::builder().watchdog(None).build().unwrap();
    let _inspection = lp.inspect(Some(&path)).unwrap();
    let (blocked, is_blocked) = mpsc::channel();
    let (go_on, told_to) = mpsc::channel::<()>();
    let client = std::thread::spawn({
        let path = path.clone();
        move || {
            is_blocked.recv().unwrap();
            let stale = ask(&path, b"snapshot\n");
            // Again: the request that waits is not doubled.
            let again = ask(&path, b"snapshot\n");
            go_on.send(()).unwrap();
            (stale, again)
        }
    });
    lp.run_until_complete(async {
        spawn(pending::<()>()).set_name("bystander");
        // Somebody asks for a snapshot, so that there is one.
        let there = path.clone();
        to_thread(move || ask(&there, b"snapshot\n")).await.unwrap();
        spawn(async move {
            blocked.send(()).unwrap();
            told_to.recv().unwrap();
        })
        .named("blocker")
        .await
        .unwrap();
        yield_now().await;
    })
    .unwrap();
    let (stale, again) = client.join().unwrap();
    for answer in [&stale, &again] {
        assert!(answer.contains("\"fresh\":false"), "{answer}");
        assert!(answer.contains("\"running\":{\"task\":"), "{answer}");
        assert!(
            answer.contains("\"name\":\"blocker\",\"site\":\""),
            "{answer}"
        );
        assert!(answer.contains("\"name\":\"bystander\""), "{answer}");
    }
}

/// Runs a loop that is blocked before it has looked around for the first time; gives what is said of it meanwhile.
fn blocked_at_once(name: &str, begin: impl FnOnce(&EventLoop, Box<dyn FnOnce()>)) -> String {
    let path = socket(name);
    let mut lp = EventLoop::builder().watchdog(None).build().unwrap();
    let _inspection = lp.inspect(Some(&path)).unwrap();
    let (blocked, is_blocked) = mpsc::channel();
    let (go_on, told_to) = mpsc::channel::<()>();
    let there = path.clone();
    let client = std::thread::spawn(move || {
        is_blocked.recv().unwrap();
        let answer = ask(&there, b"snapshot\n");
        go_on.send(()).unwrap();
        answer
    });
    begin(
        &lp,
        Box::new(move || {
            blocked.send(()).unwrap();
            told_to.recv().unwrap();
        }),
    );
    lp.run_until_complete(async {
        for _ in 0..4 {
            yield_now().await;
        }
    })
    .unwrap();
    // It has looked around since.
    lp.run_until_complete(sleep(Duration::from_millis(1)))
        .unwrap();
    let answer = client.join().unwrap();
    assert!(answer.contains("\"fresh\":false"), "{answer}");
    let there = path.clone();
    let later = lp
        .run_until_complete(to_thread(move || ask(&there, b"snapshot\n")))
        .unwrap()
        .unwrap();
    assert!(later.contains("\"fresh\":true,"), "{later}");
    assert!(later.contains("\"first_turn\":false"), "{later}");
    answer
}

#[test]
fn a_loop_that_is_blocked_by_its_first_entry_is_answered_for() {
    let answer = blocked_at_once("first", |lp, block| {
        lp.spawner().spawn(pending::<()>()).set_name("bystander");
        lp.call_soon(block);
    });
    assert!(answer.contains("\"first_turn\":true"), "{answer}");
    assert!(answer.contains("\"running\":{\"site\":\""), "{answer}");
    assert!(answer.contains("\"name\":\"bystander\""), "{answer}");
}

#[test]
fn what_the_first_entry_has_spawned_is_known_when_the_next_one_blocks() {
    let answer = blocked_at_once("second", |lp, block| {
        lp.call_soon(|| {
            spawn(pending::<()>()).set_name("bystander");
        });
        lp.spawner()
            .spawn(async move { block() })
            .set_name("blocker");
    });
    assert!(answer.contains("\"first_turn\":true"), "{answer}");
    assert!(
        answer.contains("\"name\":\"blocker\",\"site\":"),
        "{answer}"
    );
    assert!(answer.contains("\"name\":\"bystander\""), "{answer}");
}

#[test]
fn several_loops_share_a_socket() {
    let path = socket("several");
    let one = EventLoop::new().unwrap();
    let first = one.inspect(Some(&path)).unwrap();
    std::thread::Builder::new()
        .name("other".into())
        .spawn({
            let path = path.clone();
            move || {
                run(async {
                    let second = LocalLoop::current().unwrap().inspect(Some(&path)).unwrap();
                    let there = path.clone();
                    let answer = to_thread(move || ask(&there, b"snapshot\n")).await.unwrap();
                    assert_eq!(answer.matches("\"thread\":").count(), 2, "{answer}");
                    assert!(
                        answer.contains("\"thread\":\"other\",\"fresh\":true"),
                        "{answer}"
                    );
                    drop(second);
                    assert!(path.exists(), "one loop is left");
                })
                .unwrap();
            }
        })
        .unwrap()
        .join()
        .unwrap();
    drop(first);
    assert!(!path.exists());
}

#[test]
fn what_a_killed_process_left_behind_is_replaced() {
    let path = socket("stale");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a socket file that nobody listens at");
    let lp = EventLoop::new().unwrap();
    let inspection = lp.inspect(Some(&path)).unwrap();
    drop(inspection);
    // What is no socket is not ours to remove.
    std::fs::write(&path, "precious").unwrap();
    let error = lp.inspect(Some(&path)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("opening {}", path.display()))
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();
}

/// Run in a process of its own by the tests below.
#[test]
fn a_program_to_look_into() {
    if std::env::var_os("RONDEL_TEST_PROGRAM").is_none() {
        return;
    }
    run(async {
        spawn(pending::<()>()).set_name("forever");
        let local = LocalLoop::current().unwrap();
        local.dump_on(rondel_loop::signal::Signal::USER1).unwrap();
        println!("ready");
        // Until the other side closes our standard input.
        to_thread(|| std::io::stdin().read_line(&mut String::new()))
            .await
            .unwrap()
            .unwrap();
    })
    .unwrap();
}

fn program(set: &[(&str, &str)]) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_program_to_look_into", "--nocapture"])
        .env("RONDEL_TEST_PROGRAM", "1")
        .envs(set.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_until_ready(child: &mut std::process::Child) {
    let mut seen = Vec::new();
    let stdout = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while !seen.ends_with(b"ready\n") {
        stdout.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
}

#[test]
fn the_environment_opens_a_program_that_was_not_built_for_it() {
    let directory = socket("runtime");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut child = program(&[
        ("RONDEL_INSPECT", "1"),
        ("XDG_RUNTIME_DIR", directory.to_str().unwrap()),
    ]);
    wait_until_ready(&mut child);
    let path = directory.join(format!("rondel/{}.sock", child.id()));
    let answer = ask(&path, b"snapshot\n");
    assert!(answer.contains("\"name\":\"forever\""), "{answer}");
    drop(child.stdin.take());
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(!path.exists());
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_signal_has_everything_written_down() {
    let mut child = program(&[]);
    wait_until_ready(&mut child);
    let killed = Command::new("kill")
        .args(["-USR1", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let mut text = Vec::new();
    let stderr = child.stderr.as_mut().unwrap();
    let mut byte = [0];
    while !text.ends_with(b" turns\n") {
        stderr.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("* \"forever\" spawned at "), "{text}");
    drop(child.stdin.take());
    assert!(child.wait_with_output().unwrap().status.success());
}

/// How many tasks a snapshot tells of, and how many more it says there are.
fn told(snapshot: &str) -> (usize, usize) {
    let (_, more) = snapshot.split_once("\"more_tasks\":").unwrap();
    let (more, _) = more.split_once(',').unwrap();
    (
        snapshot.matches("\"state\":").count(),
        more.parse().unwrap(),
    )
}

#[test]
fn a_snapshot_looks_at_so_many_tasks_and_counts_the_rest() {
    let path = socket("bounded");
    run(async {
        let _inspection = LocalLoop::current().unwrap().inspect(Some(&path)).unwrap();
        let look = || {
            let there = path.clone();
            to_thread(move || ask(&there, b"snapshot\n"))
        };
        spawn(pending::<()>());
        assert_eq!(told(&look().await.unwrap()), (2, 0));
        // Those that have been suspended, and those not yet begun.
        for _ in 0..4_000 {
            spawn(pending::<()>());
        }
        yield_now().await;
        let asked = spawn(look());
        for _ in 0..4_000 {
            spawn(pending::<()>());
        }
        let (shown, more) = told(&asked.await.unwrap().unwrap());
        assert_eq!(shown, 2_500);
        assert_eq!(shown + more, 8_003);
    })
    .unwrap();
}

#[test]
fn the_children_of_groups_count_as_tasks_do() {
    let path = socket("children");
    run(async {
        let _inspection = LocalLoop::current().unwrap().inspect(Some(&path)).unwrap();
        for _ in 0..200 {
            spawn(task_scope(async |group| {
                for _ in 0..49 {
                    group.spawn(pending::<()>());
                }
            }));
        }
        yield_now().await;
        yield_now().await;
        let there = path.clone();
        let answer = to_thread(move || ask(&there, b"snapshot\n")).await.unwrap();
        // The main task, and fifty for each of the others.
        assert_eq!(told(&answer), (51, 150));
    })
    .unwrap();
}

#[test]
fn what_is_not_shown_is_said_to_be_awaited() {
    let path = socket("hidden");
    run(async {
        let _inspection = LocalLoop::current().unwrap().inspect(Some(&path)).unwrap();
        let (give, take) = oneshot::channel();
        spawn(async move {
            let last: Task<()> = take.await.unwrap();
            last.await.unwrap();
        })
        .set_name("first");
        for _ in 0..4_000 {
            spawn(pending::<()>());
        }
        yield_now().await;
        give.send(spawn(pending::<()>())).unwrap();
        yield_now().await;
        let there = path.clone();
        let answer = to_thread(move || ask(&there, b"snapshot\n")).await.unwrap();
        assert!(
            answer.contains("\"waits_for\":\"a task that is not shown\""),
            "{answer:.500}"
        );
    })
    .unwrap();
}

/// As many tasks: first some that wait for a socket, then each second one awaits the one before it.
fn a_crowd(tasks: usize, readers: usize) {
    let local = LocalLoop::current().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    for _ in 0..readers {
        let fd = stream.try_clone().unwrap().into();
        let registration = local.register(fd, SourceKind::Tcp).unwrap();
        spawn(async move {
            let read = registration.read_with(|fd| Ok(rustix::io::read(fd, &mut [0])?));
            read.await.unwrap();
        });
    }
    spawn(async move {
        let _kept = listener;
        pending::<()>().await;
    });
    for _ in 0..(tasks - readers - 1) / 2 {
        let sleeper = spawn(sleep(Duration::from_secs(3600)));
        spawn(sleeper).set_name("one who awaits");
    }
}

/// Prints how long the loop is stopped for those who look at it; docs/measured.md has the figures.
#[test]
#[ignore = "measures, and asserts nothing of the time"]
#[allow(clippy::print_stdout, reason = "figures for people")]
fn how_long_a_look_at_many_tasks_takes() {
    for readers in [1, 2_501] {
        println!("100 000 tasks, {readers} of them waiting for a socket:");
        look_often(100_000, readers);
    }
}

#[allow(clippy::print_stdout, reason = "figures for people")]
fn look_often(tasks: usize, readers: usize) {
    let path = socket("many");
    run(async {
        let _inspection = LocalLoop::current().unwrap().inspect(Some(&path)).unwrap();
        a_crowd(tasks, readers);
        yield_now().await;
        yield_now().await;
        let (mut stops, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..41 {
            let there = path.clone();
            let client = to_thread(move || {
                let begun = Instant::now();
                let answer = ask(&there, b"snapshot\n");
                assert!(answer.contains("\"fresh\":true"), "{answer:.200}");
                assert!(answer.contains(&format!("\"tasks_alive\":{}", tasks + 2)));
                begun.elapsed()
            });
            let client = spawn(client);
            let mut longest = Duration::ZERO;
            while !client.is_finished() {
                let before = Instant::now();
                yield_now().await;
                longest = longest.max(before.elapsed());
            }
            stops.push(longest);
            answers.push(client.await.unwrap().unwrap());
        }
        stops.sort_unstable();
        answers.sort_unstable();
        for (what, times) in [("stopped for", stops), ("answered after", answers)] {
            println!(
                "{what} {:?} (least), {:?} (median), {:?} (most)",
                times[0],
                times[times.len() / 2],
                times[times.len() - 1]
            );
        }
    })
    .unwrap();
}
