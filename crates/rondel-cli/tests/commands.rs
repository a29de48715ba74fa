//! The command against a program that runs: the test binary itself, started anew.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;

use rondel::{LocalLoop, Mutex, run, sleep, spawn, task_group, to_thread, yield_now};

/// The program: two tasks in an embrace, a group, one that waits for another; then blocked, if it is told so.
#[test]
fn a_program() {
    if std::env::var_os("RONDEL_TEST_PROGRAM").is_none() {
        return;
    }
    run(async {
        let locks = [Rc::new(Mutex::new(())), Rc::new(Mutex::new(()))];
        for (one, other, name) in [(0, 1, "left"), (1, 0, "right")] {
            let (one, other) = (locks[one].clone(), locks[other].clone());
            spawn(async move {
                let _one = one.lock().await;
                yield_now().await;
                let _other = other.lock().await;
            })
            .set_name(name);
        }
        spawn(async {
            task_group(async |g| {
                g.spawn_named("part", async {
                    sleep(std::time::Duration::from_secs(3600)).await;
                    Ok::<_, std::io::Error>(())
                });
                Ok(())
            })
            .await
        })
        .set_name("whole");
        let job = spawn(std::future::pending::<()>()).named("job");
        spawn(job).set_name("boss");
        yield_now().await;
        // A turn, in which there is something to be seen.
        sleep(std::time::Duration::from_millis(1)).await;
        println!("ready");
        let line = to_thread(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        let line = line.await.unwrap().unwrap();
        if line == "sockets\n" {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let _other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let _udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let _two = listener.accept().unwrap();
            one.write_all(b"unread!").unwrap();
            println!("sockets");
            // Until it is killed.
            std::future::pending::<()>().await;
        }
        if line == "block\n" {
            spawn(async {
                println!("blocked");
                let _ = std::io::stdin().read_line(&mut String::new());
            })
            .named("hog")
            .await
            .unwrap();
        }
        assert!(LocalLoop::current().is_ok());
        std::process::exit(0);
    })
    .unwrap();
}

struct Program {
    child: Child,
    directory: PathBuf,
}

impl Program {
    fn start(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("rondel-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_program", "--nocapture"])
            .env("RONDEL_TEST_PROGRAM", "1")
            .env("RONDEL_INSPECT", "1")
            .env("RONDEL_WATCHDOG", "0")
            .env("XDG_RUNTIME_DIR", &directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut program = Self { child, directory };
        program.wait_for("ready\n");
        program
    }

    fn wait_for(&mut self, word: &str) {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(word.as_bytes()) {
            self.child
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut byte)
                .unwrap();
            seen.push(byte[0]);
        }
    }

    fn tell(&mut self, line: &str) {
        self.child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
    }

    fn rondel(&self, arguments: &[&str]) -> String {
        let mut all = arguments.to_vec();
        let pid = self.child.id().to_string();
        all.push(&pid);
        let output = rondel(&self.directory, &all);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn rondel(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rondel"))
        .args(arguments)
        .env("XDG_RUNTIME_DIR", directory)
        .output()
        .unwrap()
}

#[test]
fn ps_shows_a_line_for_each_task() {
    let program = Program::start("ps");
    let text = program.rondel(&["ps"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("loop on thread "), "{text}");
    assert!(
        lines[1].starts_with("6 tasks alive, 6 spawned, 0 cancelled"),
        "{text}"
    );
    assert!(lines[2].starts_with("ID  NAME "), "{text}");
    let of = |name: &str| {
        lines
            .iter()
            .find(|line| line.split_whitespace().nth(1) == Some(name))
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
    };
    assert!(of("left").contains("held by right"), "{text}");
    assert!(of("whole").contains("the children of a group"), "{text}");
    assert!(of("boss").contains("  job  "), "{text}");
    assert!(of("job").contains("commands.rs:"), "{text}");
}

#[test]
fn pstree_shows_who_awaits_whom_and_deadlocks() {
    let program = Program::start("pstree");
    let text = program.rondel(&["pstree"]);
    let at = |what: &str| {
        text.lines()
            .position(|line| line.contains(what))
            .unwrap_or_else(|| panic!("no {what:?} in\n{text}"))
    };
    assert_eq!(at("   job ["), at("boss [") + 1);
    assert_eq!(at("   - part: waits for time"), at("whole [") + 1);
    assert!(text.contains("deadlock: left -> right -> left\n"), "{text}");
}

#[test]
fn top_shows_a_frame_where_there_is_no_terminal() {
    let program = Program::start("top");
    let text = program.rondel(&["top"]);
    assert!(
        text.starts_with(&format!("process {}", program.child.id())),
        "{text}"
    );
    assert!(text.contains("BUSY") && text.contains("whole"), "{text}");
    let text = program.rondel(&["top", "-n", "2", "--interval", "0.05"]);
    assert_eq!(text.matches("process ").count(), 2, "{text}");
    assert!(
        text.contains("busy ") && text.contains(" turns/s"),
        "{text}"
    );
}

#[test]
fn top_gives_lines_of_json() {
    let program = Program::start("lines");
    let text = program.rondel(&["top", "-n", "3", "--interval", "0.05", "--json"]);
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["pid"] == program.child.id()));
    let turns =
        |line: &serde_json::Value| line["loops"][0]["snapshot"]["metrics"]["turns"].as_u64();
    assert!(turns(&lines[0]) < turns(&lines[2]), "{text}");
}

/// Two that listen, one connection with seven bytes that nobody has read, one of UDP.
#[cfg(target_os = "linux")]
#[test]
fn top_counts_the_sockets() {
    let mut program = Program::start("sockets");
    program.tell("sockets\n");
    program.wait_for("sockets\n");
    let text = program.rondel(&["top"]);
    let line = text.lines().find(|line| line.starts_with("sockets: "));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    for part in [
        "2 listening",
        "2 connected",
        "0 B unsent",
        "7 B unread",
        "1 UDP",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn json_is_what_the_program_says() {
    let program = Program::start("json");
    let text = program.rondel(&["ps", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["pid"], program.child.id());
    let tasks = value["loops"][0]["snapshot"]["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 6);
}

#[test]
fn a_blocked_loop_is_shown_with_what_blocks_it() {
    let mut program = Program::start("blocked");
    program.tell("block\n");
    program.wait_for("blocked\n");
    let text = program.rondel(&["ps"]);
    assert!(text.contains(": blocked by \"hog\" spawned at "), "{text}");
    assert!(text.contains("what follows is"), "{text}");
    assert!(text.contains("whole"), "what was known before: {text}");
}

#[test]
fn list_names_those_who_are_there() {
    let mut program = Program::start("list");
    let output = rondel(&program.directory, &["list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let pid = program.child.id().to_string();
    assert!(
        text.lines()
            .any(|line| line.starts_with(&format!("{pid}  "))),
        "{text}"
    );
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    let output = rondel(&program.directory, &["list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(&pid), "a socket without a process: {text}");
    let output = rondel(&program.directory, &["ps", &pid]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("is not open to inspection"), "{error}");
}

#[test]
fn mistakes_are_explained() {
    let nowhere = std::env::temp_dir();
    let fails = |arguments: &[&str], word: &str| {
        let output = rondel(&nowhere, arguments);
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(word), "{arguments:?}: {error}");
    };
    fails(&["ps"], "required");
    fails(&["ps", "4294967295"], "RONDEL_INSPECT=1");
    fails(
        &["ps", "--socket", "/nonexistent/socket"],
        "connecting to /nonexistent/socket",
    );
    fails(&["ps", "1", "--socket", "/x"], "cannot be used with");
    fails(&["top", "1", "--interval", "0"], "0.05");
    // Somebody who speaks another language.
    let path = nowhere.join(format!("rondel-cli-stranger-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = [0; 9];
        stream.read_exact(&mut line).unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
    });
    fails(
        &["ps", "--socket", path.to_str().unwrap()],
        "cannot be understood",
    );
    stranger.join().unwrap();
    std::fs::remove_file(&path).unwrap();
}
