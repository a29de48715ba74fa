//! Operations per second, over batches.

use std::time::{Duration, Instant};

use super::Lengths;
use crate::figure::{Figure, RATE};

/// Runs `batch`, which does `operations` at a time, until the measured time is over.
pub(crate) async fn rate(
    lengths: &Lengths,
    operations: usize,
    mut batch: impl AsyncFnMut(),
) -> Vec<Figure> {
    run_for(lengths.warm_up, &mut batch).await;
    let (batches, elapsed) = run_for(lengths.measured, &mut batch).await;
    vec![RATE.of((batches * operations) as f64 / elapsed.as_secs_f64())]
}

/// At least one batch; how many, and how long they took.
async fn run_for(time: Duration, batch: &mut impl AsyncFnMut()) -> (usize, Duration) {
    let start = Instant::now();
    let mut batches = 0;
    loop {
        batch().await;
        batches += 1;
        let elapsed = start.elapsed();
        if elapsed >= time {
            return (batches, elapsed);
        }
    }
}
