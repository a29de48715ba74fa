//! Two groups of pages, of which one is cancelled half way: what its children hold is cleaned up before it is over.
//!
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::GroupError;
use rondel::prelude::*;
use std::cell::Cell;

async fn get_html(url: &str) -> Result<(), std::io::Error> {
    println!("start get {url}");
    let connection = url.to_owned();
    bracket(
        connection,
        async |_| sleep(Duration::from_secs(2)).await,
        async |connection| {
            // Saying goodbye may take its time: whoever cancels waits for it.
            sleep(Duration::from_millis(100)).await;
            println!("closed {connection}");
        },
    )
    .await;
    println!("end get {url}");
    Ok(())
}

fn main() -> Result<(), RunError> {
    run(async {
        let clock = LocalLoop::current().expect("inside run");
        let start = clock.time();
        let cancelled_at = Cell::new(None);

        let group1 = task_group(async |group| {
            for n in 0..2 {
                group.spawn(async move { get_html(&format!("http://one.example.com/{n}")).await });
            }
            Ok("all of group 1")
        });
        let group2 = task_group(async |group| {
            for n in 0..2 {
                group.spawn(async move { get_html(&format!("http://two.example.com/{n}")).await });
            }
            sleep(Duration::from_secs(1)).await;
            println!("cancel group 2");
            cancelled_at.set(Some(clock.time()));
            group.cancel();
            Ok("all of group 2")
        });

        let (one, two) = gather((group1, group2)).await;
        println!("group 1: {:?}", one.expect("nobody cancels it"));
        match two {
            Err(GroupError::Cancelled) => println!("group 2: cancelled"),
            other => println!("group 2: {other:?}"),
        }
        let passed = |until: std::time::Instant| format!("{:.1} s", (until - start).as_secs_f64());
        println!(
            "cancelled after {}",
            cancelled_at.get().map_or_else(String::new, passed)
        );
        println!("{}", passed(clock.time()));
    })
}
