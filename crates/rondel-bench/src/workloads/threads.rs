//! Other threads: one that completes what the loop waits for, and the pool.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::Lengths;
use super::rate::rate;
use super::runtime::{Pool, Tasks};
use crate::figure::{Figure, P50, P99};
use crate::histogram::Histogram;

/// How long the helper waits, so that the loop is certainly asleep when it completes.
const HEAD_START: Duration = Duration::from_micros(30);
const WARM_UP: usize = 20;

/// From the moment at which a thread on the same core completes a value to the moment at which the
/// task that awaits it runs. The value is handed over by the task's waker alone, the same way for all.
pub(crate) fn cross_thread<R: Tasks>(lengths: &Lengths) -> Vec<Figure> {
    let hand_overs = lengths.hand_overs;
    let (ask, asked) = mpsc::channel::<Arc<HandOver>>();
    let helper = thread::spawn(move || {
        for hand_over in asked {
            thread::sleep(HEAD_START);
            hand_over.complete();
        }
    });
    let histogram = R::run(async move {
        let mut histogram = Histogram::new();
        for round in 0..WARM_UP + hand_overs {
            let hand_over = Arc::new(HandOver::default());
            ask.send(hand_over.clone())
                .expect("the helper ends after the sender");
            let completed = hand_over.completed().await;
            let latency = completed.elapsed();
            if round >= WARM_UP {
                histogram.record(latency);
            }
        }
        histogram
    });
    helper.join().expect("the helper does not panic");
    vec![
        P50.of(histogram.percentile_us(0.5)),
        P99.of(histogram.percentile_us(0.99)),
    ]
}

#[derive(Default)]
struct HandOver(Mutex<State>);

#[derive(Default)]
struct State {
    completed: Option<Instant>,
    waiter: Option<Waker>,
}

impl HandOver {
    fn complete(&self) {
        let waiter = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.completed = Some(Instant::now());
            state.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    async fn completed(&self) -> Instant {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match state.completed {
                Some(at) => Poll::Ready(at),
                None => {
                    state.waiter = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// A function that does nothing, sent to the thread pool and awaited, again and again.
pub(crate) fn blocking<R: Pool>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move { rate(&lengths, 1, async || R::unblock(|| ()).await).await })
}
