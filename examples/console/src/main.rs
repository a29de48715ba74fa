//! A program that tokio-console can look into: tasks that are busy, that sleep, that wait for each other.
//!
//! The crate `console-subscriber` asks for a cfg; with it, this is what to type, and `tokio-console` in another terminal:
//!
//! ```text
//! RUSTFLAGS='--cfg console_without_tokio_unstable' cargo run -p console_guest
//! ```
//!
//! It runs until a line has been typed and the input has ended, or until Ctrl-C. An argument is the path of a Unix socket to listen on, in place of
//! 127.0.0.1:6669.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for people"
)]

#[cfg(console_without_tokio_unstable)]
mod program;

#[cfg(console_without_tokio_unstable)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    program::main()
}

#[cfg(not(console_without_tokio_unstable))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "built without what it needs: RUSTFLAGS='--cfg console_without_tokio_unstable' cargo run -p console_guest"
    );
    std::process::ExitCode::FAILURE
}
