//! A counter whose change takes an `await` in the middle: wrong without a lock, right with one.
//!
//! `shared_counter` needs no lock, as nobody comes in between two lines of code. Across an `await` somebody does.
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel::sync::Lock;
use std::cell::Cell;

/// Reads, asks somebody far away, writes.
async fn change(total: &Cell<i64>, by: i64) {
    let before = total.get();
    sleep(Duration::from_millis(1)).await;
    total.set(before + by);
}

async fn count(lock: Option<&Lock>) -> i64 {
    let total = Cell::new(0);
    task_scope(async |scope| {
        let total = &total;
        for by in [1, -1] {
            scope.spawn(async move {
                for _ in 0..100 {
                    let _held = match lock {
                        Some(lock) => Some(lock.acquire().await),
                        None => None,
                    };
                    change(total, by).await;
                }
            });
        }
    })
    .await;
    total.get()
}

fn main() -> Result<(), RunError> {
    run(async {
        println!("without a lock: {}", count(None).await);
        println!("with a lock: {}", count(Some(&Lock::new())).await);
    })
}
