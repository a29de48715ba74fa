//! Redis by the crate `redis`, which demands tokio: rondel's loop is a guest of tokio's, and rondel's tasks use the connection.
//!
//! `redis redis://127.0.0.1:6379/`. Without that it says so and ends.
#![allow(clippy::print_stdout, reason = "a program for people")]

use redis::AsyncCommands;
use rondel::prelude::*;
use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;

async fn show(url: String) -> Result<(), Box<dyn Error>> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let key = format!("rondel:{}", std::process::id());
    connection
        .set_ex::<_, _, ()>(&key, "round and round", 60)
        .await?;
    let value: String = connection.get(&key).await?;
    println!("{value}");

    // Tasks of rondel's share the connection; what they count together needs no lock.
    let highest = Rc::new(Cell::new(0));
    let counter = format!("{key}:count");
    let mut tasks = TaskSet::new();
    for _ in 0..100 {
        let (mut connection, counter) = (connection.clone(), counter.clone());
        let highest = Rc::clone(&highest);
        tasks.spawn(async move {
            let count: u64 = connection.incr(&counter, 1).await?;
            highest.set(highest.get().max(count));
            redis::RedisResult::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    println!("counted to {}", highest.get());
    let removed: u64 = connection.del(&[key, counter]).await?;
    println!("removed {removed}");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(url) = std::env::args().nth(1) else {
        println!("no server was named: pass its URL, as in redis://127.0.0.1:6379/");
        return Ok(());
    };
    rondel_tokio::run(show(url))?
}
