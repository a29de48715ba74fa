//! Coroutines that await coroutines: a result travels up through every level, an error as far as the one who handles it.
//!
//! `RONDEL_CLOCK=virtual` runs it without waiting.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;

/// The innermost: the only one that really waits.
async fn compute(x: i32, y: i32) -> Result<i32, String> {
    println!("compute {x} + {y} …");
    sleep(Duration::from_secs(1)).await;
    x.checked_add(y)
        .ok_or_else(|| format!("{x} + {y} is too large"))
}

/// Between the two: suspended and resumed together with what it awaits.
async fn print_sum(x: i32, y: i32) -> Result<i32, String> {
    let sum = compute(x, y).await?;
    println!("{x} + {y} = {sum}");
    Ok(sum)
}

fn main() -> Result<(), RunError> {
    run(async {
        let three = print_sum(1, 2).await.expect("small numbers");
        let seven = print_sum(three, 4).await.expect("small numbers");
        println!("nested result: {seven}");

        match print_sum(i32::MAX, seven).await {
            Ok(sum) => println!("unexpected: {sum}"),
            Err(error) => println!("nested error: {error}"),
        }
    })
}
