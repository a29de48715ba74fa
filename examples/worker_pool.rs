//! Three workers share a queue of jobs, until the pool is told to stop: what has begun is finished, the rest is given back.
//!
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel::sync::Queue;
use std::rc::Rc;

struct Job {
    name: String,
    takes: Duration,
}

/// Works until the queue is shut down and empty, or stopping is called for. Says how many jobs it has done.
async fn worker(number: usize, jobs: Rc<Queue<Job>>, stop: CancelToken) -> usize {
    let mut done = 0;
    // Only waiting for a job is cut short by the token, never a job.
    while let Some(Ok(job)) = stop.run(jobs.get()).await {
        sleep(job.takes).await;
        println!("worker {number} has done {}", job.name);
        jobs.task_done().expect("one for each job that was got");
        done += 1;
        if stop.is_cancelled() {
            break;
        }
    }
    done
}

fn main() -> Result<(), RunError> {
    run(async {
        let clock = LocalLoop::current().expect("inside run");
        let start = clock.time();
        let jobs = Rc::new(Queue::new(100));
        let stop = CancelToken::new();
        let mut workers = TaskSet::new();
        for number in 1..=3 {
            workers.spawn(worker(number, Rc::clone(&jobs), stop.clone()));
        }

        let job = |n: u64| Job {
            name: format!("job {n}"),
            takes: Duration::from_millis(300 + 100 * (n % 3)),
        };
        for n in 1..=6 {
            jobs.put(job(n)).await.expect("the queue is open");
        }
        jobs.join().await;
        println!(
            "the first six took {:.1} s",
            (clock.time() - start).as_secs_f64()
        );

        for n in 7..=16 {
            jobs.put(job(n)).await.expect("the queue is open");
        }
        sleep(Duration::from_millis(500)).await;
        println!("stop");
        stop.cancel();
        let mut done = 0;
        // No longer than this, whatever a job is up to; a set that is dropped cancels what is left.
        let in_time = timeout(Duration::from_secs(5), async {
            while let Some(ended) = workers.join_next().await {
                done += ended.expect("no worker panics");
            }
        });
        in_time.await.expect("each job takes half a second at most");
        println!("{done} jobs done, {} not begun", jobs.len());
        println!("{:.1} s", (clock.time() - start).as_secs_f64());
    })
}
