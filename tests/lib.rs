//! What the tests in this folder have in common: running the programs of `examples/`, and finding peers.

pub mod inspected;
pub mod site;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The built program `name` of `examples/`, ready to be given arguments.
///
/// `cargo test --workspace` has built it; a test that is run alone builds it first.
///
/// # Panics
/// If it cannot be built.
pub fn example(name: &str) -> Command {
    let mut path = examples_folder();
    path.push(name);
    if !path.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "-p", "rondel-examples", "--example", name])
            .stdout(Stdio::null())
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "example {name} could not be built"
        );
    }
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).env_remove("RONDEL_CLOCK");
    command
}

/// The command `rondel`, ready to be given arguments.
///
/// `cargo test --workspace` has built it; a test that is run alone builds it first.
///
/// # Panics
/// If it cannot be built.
pub fn rondel() -> Command {
    let path = built_folder().join("rondel");
    if !path.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "-p", "rondel-cli"])
            .stdout(Stdio::null())
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "the command could not be built"
        );
    }
    Command::new(path)
}

fn examples_folder() -> PathBuf {
    built_folder().join("examples")
}

/// Where the running test's `deps` is: `target/debug`.
fn built_folder() -> PathBuf {
    let mut folder = std::env::current_exe().expect("a running test has a path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder
}

/// Runs a program to its end and gives what it printed.
///
/// # Panics
/// If it fails, with what it said.
pub fn run_to_end(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program starts");
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    assert!(
        status.success(),
        "{command:?}: {status}\n{stdout}\n{}",
        String::from_utf8_lossy(&stderr)
    );
    stdout
}

/// A Python that has the module `name`; without one, the test is to be skipped, as by [`has_peer`].
///
/// # Panics
/// If the peer is required and missing.
pub fn python_with(name: &str) -> Option<&'static str> {
    // The system's own has what the system's packages bring, though another may be found first.
    let found = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        Command::new(python)
            .args(["-c", &format!("import {name}")])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if found.is_none() {
        missing(&format!("Python's {name}"));
    }
    found
}

/// Whether the program `name` is there to test against. If it is not, the test is to be skipped, which is said; with
/// `RONDEL_PEERS=required` it fails instead.
///
/// # Panics
/// If the peer is required and missing.
pub fn has_peer(name: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    if !found {
        missing(name);
    }
    found
}

fn missing(name: &str) {
    assert!(
        std::env::var_os("RONDEL_PEERS").is_none_or(|peers| peers != "required"),
        "{name} is required and not installed"
    );
    use std::io::Write;
    // Nowhere to report a failing standard error to.
    let _ = writeln!(std::io::stderr(), "skipped 1 test: {name} is not installed");
}
