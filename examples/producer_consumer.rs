//! A producer, a queue with room for two, and a consumer that is slower: the producer waits for room.
//!
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel::sync::Queue;

fn main() -> Result<(), RunError> {
    run(async {
        let clock = LocalLoop::current().expect("inside run");
        let start = clock.time();
        let now = || (clock.time() - start).as_secs_f64();
        let queue = Queue::new(2);

        // Both borrow the queue, and both have ended when the scope has.
        task_scope(async |scope| {
            let (queue, now) = (&queue, &now);
            scope.spawn(async move {
                for item in 1..=6 {
                    queue.put(item).await.expect("it is shut down below");
                    println!("{:.1} s: put {item}, {} waiting", now(), queue.len());
                }
                queue.shutdown(false); // what is in there can still be got
            });
            scope.spawn(async move {
                while let Ok(item) = queue.get().await {
                    sleep(Duration::from_secs(1)).await;
                    println!("{:.1} s: {item} is done", now());
                }
                println!("{:.1} s: the queue is shut down and empty", now());
            });
        })
        .await;
    })
}
