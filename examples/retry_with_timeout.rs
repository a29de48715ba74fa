//! A request that is tried again: each attempt has its time, the pauses grow, and what an attempt leaves behind is cleaned up.
//!
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use std::future::Future;
use std::{error, fmt};

#[derive(Debug)]
enum Failure {
    TooSlow,
    Refused,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSlow => "no answer in time",
            Self::Refused => "the server is busy",
        })
    }
}

impl error::Error for Failure {}

/// A server that hangs at first, then is busy, then answers.
async fn request(attempt: u32) -> Result<String, Failure> {
    let connection = format!("connection {attempt}");
    bracket(
        connection,
        async |connection| match attempt {
            1 => std::future::pending().await,
            2 => Err(Failure::Refused),
            _ => {
                sleep(Duration::from_millis(400)).await;
                Ok(format!("an answer over {connection}"))
            }
        },
        // Also if the attempt is given up in the middle: then whoever gave it up waits for this.
        async |connection| {
            sleep(Duration::from_millis(50)).await;
            println!("{connection} closed");
        },
    )
    .await
}

/// Up to `attempts` tries, each with `limit` of its own. The pauses between them double.
async fn retry<T, F>(
    attempts: u32,
    limit: Duration,
    mut pause: Duration,
    mut attempt: impl FnMut(u32) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut number = 1;
    loop {
        let outcome = match timeout(limit, attempt(number)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::TooSlow),
        };
        match outcome {
            Err(failure) if number < attempts => println!("attempt {number}: {failure}"),
            last => return last,
        }
        sleep(pause).await;
        pause *= 2;
        number += 1;
    }
}

fn main() -> Result<(), RunError> {
    run(async {
        let clock = LocalLoop::current().expect("inside run");
        let start = clock.time();
        let (limit, pause) = (Duration::from_secs(1), Duration::from_millis(200));
        match retry(4, limit, pause, request).await {
            Ok(answer) => println!("{answer}"),
            Err(failure) => println!("given up: {failure}"),
        }
        println!("{:.2} s", (clock.time() - start).as_secs_f64());

        match retry(2, limit, pause, |_| request(2)).await {
            Ok(answer) => println!("{answer}"),
            Err(failure) => println!("given up: {failure}"),
        }
        println!("{:.2} s", (clock.time() - start).as_secs_f64());
    })
}
