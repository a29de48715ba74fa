//! Databases by other people's drivers, against real servers that the test starts: PostgreSQL and Redis.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rondel_tests::{example, has_peer, run_to_end};

/// A folder for a server, which anybody may enter: PostgreSQL does not run as root. Removed when it goes.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rondel-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Ended when it goes.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Asks again and again, until the server answers.
fn until_ready(mut ask: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !ask() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the server does not answer"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// One of PostgreSQL's programs, as somebody it lets run it.
fn as_postgres(folder: &Path, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command
        .args(["-u", "postgres", "--"])
        .arg(program)
        .current_dir(folder);
    command
}

/// Where Debian has PostgreSQL's programs: not in the PATH.
fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs
        .filter(|folder| folder.join("initdb").is_file())
        .max()
}

#[test]
fn postgres_is_asked() {
    // Whether it is required, and saying so if it is not there.
    let Some(programs) = postgres_programs() else {
        assert!(!has_peer("pg_ctlcluster"), "PostgreSQL without programs");
        return;
    };
    let folder = Folder::new("postgres");
    let data = folder.0.join("data");
    let made = as_postgres(&folder.0, &programs.join("initdb"))
        .args(["--no-sync", "--auth=trust", "--username=tester", "--pgdata"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let port = free_port().to_string();
    // The server itself, not a shell around it: so that it can be ended.
    let mut command = as_postgres(&folder.0, &programs.join("postgres"));
    command
        .arg("-D")
        .arg(&data)
        .args([
            "-p",
            &port,
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "fsync=off",
            "-k",
        ])
        .arg(&folder.0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _server = Server(command.spawn().unwrap());
    until_ready(|| {
        Command::new(programs.join("pg_isready"))
            .args(["-h", "127.0.0.1", "-p", &port])
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    });
    let expected = "\
round: 2
and: 1
words: 5
in time: false
division by zero
the connection is closed
";
    let by_tcp = format!("host=127.0.0.1 port={port} user=tester dbname=postgres");
    assert_eq!(run_to_end(example("postgres").arg(by_tcp)), expected);
    let by_unix = format!(
        "host={} port={port} user=tester dbname=postgres",
        folder.0.display()
    );
    assert_eq!(run_to_end(example("postgres").arg(by_unix)), expected);
    // Ended in order, and by itself: `runuser` passes no KILL on.
    let stopped = as_postgres(&folder.0, &programs.join("pg_ctl"))
        .args(["stop", "-m", "immediate", "-D"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
}

// A guest needs a descriptor, which poll(2) has not.
#[cfg(not(polling_test_poll_backend))]
#[test]
fn redis_is_asked() {
    if !has_peer("redis-server") {
        return;
    }
    let folder = Folder::new("redis");
    let port = free_port().to_string();
    let server = Command::new("redis-server")
        .args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
        ])
        .arg(&folder.0)
        .stdout(Stdio::null())
        .spawn();
    let _server = Server(server.unwrap());
    until_ready(|| std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    let said = run_to_end(example("redis").arg(format!("redis://127.0.0.1:{port}/")));
    assert_eq!(said, "round and round\ncounted to 100\nremoved 2\n");
}

#[test]
fn without_a_server_they_say_so() {
    for name in ["postgres", "redis"] {
        let said = run_to_end(&mut example(name));
        assert!(said.starts_with("no server was named: "), "{said}");
    }
}
