//! How long things took: a histogram of fixed size.

use std::time::Duration;

/// Below this many microseconds every value has a bucket of its own; above, each power of two is cut into half as many.
const FINE: u64 = 128;

/// Values of a microsecond up to hours, each known to within 1.6 %.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            buckets: vec![0; bucket(u64::MAX) + 1],
            count: 0,
            max: Duration::ZERO,
        }
    }

    pub fn record(&mut self, value: Duration) {
        let micros = value.as_micros().try_into().unwrap_or(u64::MAX);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// What so many percent of the values do not exceed.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (self.count as f64 * percent / 100.0).ceil() as u64;
        let mut below = 0;
        let reached = self.buckets.iter().position(|&bucket| {
            below += bucket;
            below >= rank.max(1)
        });
        reached.map_or(Duration::ZERO, |index| {
            Duration::from_micros(upper_end(index)).min(self.max)
        })
    }

    pub fn max(&self) -> Duration {
        self.max
    }
}

fn bucket(micros: u64) -> usize {
    if micros < FINE {
        return micros as usize;
    }
    // How often to halve it until it is below FINE; what is left has its highest bit set.
    let halvings = FINE.leading_zeros() + 1 - micros.leading_zeros();
    let half = FINE / 2;
    (FINE + u64::from(halvings - 1) * half + (micros >> halvings) - half) as usize
}

/// The largest value that falls into a bucket.
fn upper_end(index: usize) -> u64 {
    let index = index as u64;
    if index < FINE {
        return index;
    }
    let half = FINE / 2;
    let halvings = (index - FINE) / half + 1;
    let leading = (index - FINE) % half + half;
    // Wraps for the very last bucket alone, into what it should be.
    ((leading + 1) << halvings).wrapping_sub(1)
}
