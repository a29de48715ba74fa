//! The test binary once more, as a child process that runs a single test: for what concerns a whole process.

use std::env;
use std::process::Command;

const IN_CHILD: &str = "RONDEL_TEST_CHILD";

/// Whether this process is the child that runs `test`.
#[allow(dead_code, reason = "not every test binary has such tests")]
pub(crate) fn is_child(test: &str) -> bool {
    env::var_os(IN_CHILD).is_some_and(|child| child == test)
}

/// The command that runs `test`, and nothing else, in a child process.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(IN_CHILD, test)
        .env("RUST_BACKTRACE", "0");
    command
}

/// Whether to go on, in the child; elsewhere runs `test` in one, and fails with what that said if it fails.
#[allow(dead_code, reason = "not every test binary has such tests")]
pub(crate) fn in_child(test: &str) -> bool {
    if is_child(test) {
        return true;
    }
    let output = child(test).output().unwrap();
    let (out, err) = (output.stdout, output.stderr);
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&out),
        String::from_utf8_lossy(&err)
    );
    false
}
