//! The test binary once more, as a child process that runs a single test: for what concerns a whole process.

use std::env;
use std::process::Command;

const IN_CHILD: &str = "RONDEL_TEST_CHILD";

/// Whether this process is the child that runs `test`.
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
