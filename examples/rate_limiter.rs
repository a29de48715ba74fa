//! At most two requests a second, with a burst of three: a semaphore whose permits are spent, and come back with time.
//!
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel::sync::Semaphore;
use std::rc::Rc;

/// A bucket of tokens that is refilled at a steady pace.
struct RateLimiter {
    tokens: Rc<Semaphore>,
    /// One task, which a set cancels when it is dropped, and so when the limiter is.
    _refill: TaskSet<()>,
}

impl RateLimiter {
    fn new(burst: usize, period: Duration) -> Self {
        let tokens = Rc::new(Semaphore::new(burst));
        let bucket = Rc::clone(&tokens);
        let mut refill = TaskSet::new();
        refill.spawn(async move {
            let mut ticks = interval(period);
            ticks.tick().await; // the first is at once
            loop {
                ticks.tick().await;
                if bucket.available_permits() < burst {
                    bucket.add_permits(1).expect("there are fewer than a burst");
                }
            }
        });
        Self {
            tokens,
            _refill: refill,
        }
    }

    /// Waits for its turn. First come, first served.
    async fn pass(&self) {
        // Not given back when the request is over, as it would be to limit how many run at a time.
        self.tokens.acquire().await.forget();
    }
}

fn main() -> Result<(), RunError> {
    run(async {
        let clock = LocalLoop::current().expect("inside run");
        let start = clock.time();
        let limiter = Rc::new(RateLimiter::new(3, Duration::from_millis(500)));
        let mut requests = TaskSet::new();
        for n in 1..=8 {
            let (limiter, clock) = (Rc::clone(&limiter), clock.clone());
            requests.spawn(async move {
                limiter.pass().await;
                println!("{:.1} s: request {n}", (clock.time() - start).as_secs_f64());
            });
        }
        for ended in requests.join_all().await {
            ended.expect("no request panics");
        }
    })
}
