//! A pipeline of programs, `sort | uniq -c`, whose both ends are in this one: words go in, counts come out.
//!
//! Both ends are served at the same time: a pipe holds 64 KiB, and a program that only writes while nobody reads what comes
//! back waits for ever.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::net::{Command, PipeReader, PipeWriter, Stdio};
use rondel::prelude::*;
use std::error::Error;
use std::io;

const REFRAIN: &str = "row row row your boat gently down the stream merrily merrily merrily merrily life is but a dream";
const TIMES: usize = 10_000;

/// Sings the refrain again and again, a word a line.
async fn sing(stdin: PipeWriter) -> io::Result<()> {
    for _ in 0..TIMES {
        let words: Vec<_> = REFRAIN.split(' ').collect();
        stdin.write((words.join("\n") + "\n").as_bytes())?;
        // Waits while sort has more than enough.
        stdin.drain().await?;
    }
    stdin.flush().await?;
    Ok(())
}

/// Prints the counts as they come.
async fn listen(mut stdout: PipeReader) -> io::Result<usize> {
    let mut words = 0;
    loop {
        let line = stdout.read_line().await?;
        if line.is_empty() {
            return Ok(words);
        }
        words += 1;
        println!("{}", String::from_utf8_lossy(&line).trim());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run(async {
        // The pipe between the two is theirs alone: this program keeps neither of its ends.
        let (between, into) = io::pipe()?;
        let mut sort = Command::new("sort")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(std::os::fd::OwnedFd::from(into))
            .kill_on_drop(true)
            .spawn()?;
        let mut uniq = Command::new("uniq")
            .arg("-c")
            .stdin(std::os::fd::OwnedFd::from(between))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;

        let stdin = sort.stdin.take().ok_or("sort has a pipe")?;
        let stdout = uniq.stdout.take().ok_or("uniq has a pipe")?;
        let singing = spawn(sing(stdin));
        let words = timeout(Duration::from_secs(60), listen(stdout)).await??;
        singing.await??;
        println!("{words} different words");
        println!("sort: {}, uniq: {}", sort.wait().await?, uniq.wait().await?);
        Ok(())
    })?
}
