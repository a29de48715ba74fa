//! The shortest program with the attribute: a task, a moment of sleep, an error that ends it.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;

async fn greeting(name: &str) -> Result<String, String> {
    sleep(Duration::from_millis(10)).await;
    match name {
        "nobody" => Err(format!("there is no greeting for {name}")),
        _ => Ok(format!("hello, {name}")),
    }
}

#[rondel::main]
async fn main() -> Result<(), String> {
    let name = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "world".to_owned());
    println!("{}", greeting(&name).await?);
    Ok(())
}
