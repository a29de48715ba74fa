//! socat, as a client and as a server.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use rondel_loop::to_thread;

/// Whether socat is installed. If not, the test is skipped, which is said; with `RONDEL_PEERS=required` it fails.
pub(crate) fn has_socat() -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("socat").is_file())
    });
    if !found {
        let required = std::env::var_os("RONDEL_PEERS").is_some_and(|peers| peers == "required");
        assert!(!required, "socat is required and not installed");
        // Nowhere to report a failing standard error to.
        let _ = writeln!(io::stderr(), "skipped 1 test: socat is not installed");
    }
    found
}

/// One that serves, and is killed when this goes.
pub(crate) struct Serving {
    child: Child,
    /// What it says of where it listens.
    pub(crate) place: String,
}

impl Serving {
    /// Starts it with these two addresses; returns when it listens.
    pub(crate) fn start(here: impl AsRef<OsStr>, there: &str) -> Self {
        let child = Command::new("socat")
            .args(["-d", "-d", "-t", "60"])
            .arg(here)
            .arg(there)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed and waited for from here on, whatever happens.
        let mut serving = Self {
            child,
            place: String::new(),
        };
        let mut stderr = BufReader::new(serving.child.stderr.take().unwrap());
        let mut said = String::new();
        loop {
            let before = said.len();
            assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended: {said}");
            let line = said[before..].trim();
            if let Some((_, place)) = line.split_once("listening on ") {
                serving.place = place.to_owned();
            } else if let Some((_, place)) = line.split_once("receiving on ") {
                serving.place = place.to_owned();
            } else {
                continue;
            }
            // It goes on telling, and must not be held up.
            std::thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
            return serving;
        }
    }

    /// The port it has been given.
    pub(crate) fn port(&self) -> u16 {
        self.place.rsplit(':').next().unwrap().parse().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has a client send `input` there, in a thread, and gives what came back. When `expected` bytes have, its input ends; with none
/// expected, it ends right away.
///
/// Then it waits `linger` seconds for more, unless the other side ends.
pub(crate) async fn talk(
    there: impl AsRef<OsStr>,
    input: Vec<u8>,
    expected: usize,
    linger: &'static str,
) -> (bool, Vec<u8>, String) {
    let there = there.as_ref().to_owned();
    to_thread(move || {
        let mut child = Command::new("socat")
            .args(["-t", linger, "-"])
            .arg(there)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            // It fails if the other side has ended, which what came back shows.
            let _ = stdin.write_all(&input);
            (expected > 0).then_some(stdin)
        });
        let mut stdout = child.stdout.take().unwrap();
        let mut answer = vec![0; expected];
        let mut count = 0;
        while count < expected {
            match stdout.read(&mut answer[count..]).unwrap() {
                0 => break,
                more => count += more,
            }
        }
        answer.truncate(count);
        if expected > 0 {
            drop(writer.join().unwrap());
        }
        stdout.read_to_end(&mut answer).unwrap();
        let mut complaints = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut complaints)
            .unwrap();
        (child.wait().unwrap().success(), answer, complaints)
    })
    .await
    .unwrap()
}
