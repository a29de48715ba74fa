//! Programs of `examples/` that are open to inspection, and what the command `rondel` says of them.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::{example, rondel, run_to_end};

/// A program that runs, and where its socket is. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    /// The process: its output and errors are pipes.
    pub child: Child,
    folder: PathBuf,
}

impl Program {
    /// Starts an example, open to inspection.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_with(name, arguments, "1")
    }

    /// Starts an example that nobody can look into from outside.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_closed(name: &str, arguments: &[&str]) -> Self {
        Self::start_with(name, arguments, "0")
    }

    fn start_with(name: &str, arguments: &[&str], inspect: &str) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        // Relaxed: a number that nobody else gets.
        let (own, number) = (std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("rondel-{own}-{name}-{number}"));
        fs::create_dir_all(&folder).expect("the temporary folder can be written to");
        let child = example(name)
            .args(arguments)
            .env("RONDEL_INSPECT", inspect)
            .env("XDG_RUNTIME_DIR", &folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        Self { child, folder }
    }

    /// What a command of `rondel` prints of it.
    ///
    /// # Panics
    /// If the command fails.
    pub fn ask(&self, command: &[&str]) -> String {
        run_to_end(
            rondel()
                .args(command)
                .arg(self.child.id().to_string())
                .env("XDG_RUNTIME_DIR", &self.folder),
        )
    }

    /// Whether it can be asked: it is just beginning otherwise.
    pub fn is_open(&self) -> bool {
        let socket = format!("rondel/{}.sock", self.child.id());
        // There, it need not be listened at yet.
        UnixStream::connect(self.folder.join(socket)).is_ok()
    }

    /// What it says of itself.
    ///
    /// # Panics
    /// If the command fails.
    pub fn snapshot(&self) -> Value {
        let said = self.ask(&["ps", "--json"]);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// The tasks of its first loop in a [`snapshot`](Program::snapshot).
    ///
    /// # Panics
    /// If there are none: the loop has never been seen.
    pub fn tasks(snapshot: &Value) -> &Vec<Value> {
        let snapshot = &snapshot["loops"][0]["snapshot"];
        snapshot["tasks"]
            .as_array()
            .unwrap_or_else(|| panic!("{snapshot}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; and what is left behind is a temporary folder.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
