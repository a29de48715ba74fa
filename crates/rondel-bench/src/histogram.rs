//! A latency histogram of fixed size: exact below 128 ns, then within 1 %.

use std::time::Duration;

/// Each power of two is divided into this many buckets.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Enough for 2^40 ns, 18 minutes; longer values count as that.
const MAX_BITS: u32 = 40;
const BUCKETS: usize = ((MAX_BITS - STEP_BITS + 1) as usize) * STEPS as usize;

/// Counts of durations in logarithmic buckets.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            total: 0,
        }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The value, in microseconds, below which `share` of the recorded durations lie; 0 of none.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        let rank = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle(index as u64) / 1000.0;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min((1 << MAX_BITS) - 1);
    if nanos < STEPS {
        return nanos as usize;
    }
    // The leading bit selects the octave, the STEP_BITS below it the bucket in it.
    let octave = nanos.ilog2() - STEP_BITS;
    let step = (nanos >> octave) - STEPS;
    ((u64::from(octave) + 1) * STEPS + step) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle(index: u64) -> f64 {
    if index < STEPS {
        return index as f64;
    }
    let octave = index / STEPS - 1;
    let low = (STEPS + index % STEPS) << octave;
    low as f64 + ((1_u64 << octave) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_own_middle() {
        for index in 0..BUCKETS as u64 {
            assert_eq!(
                bucket(middle(index) as u64),
                index as usize,
                "bucket {index}"
            );
        }
    }

    #[test]
    fn buckets_are_within_one_per_cent() {
        let mut nanos = 1_u64;
        while nanos < 1 << MAX_BITS {
            let found = middle(bucket(nanos) as u64);
            assert!(
                (found / nanos as f64 - 1.0).abs() < 0.01,
                "{nanos} became {found}"
            );
            nanos += nanos / 3 + 1;
        }
    }

    #[test]
    fn percentiles_of_a_known_sequence() {
        let mut histogram = Histogram::new();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        assert_eq!(histogram.total(), 1000);
        assert!((histogram.percentile_us(0.5) - 500.0).abs() < 5.0);
        assert!((histogram.percentile_us(0.99) - 990.0).abs() < 10.0);
        histogram.clear();
        assert_eq!((histogram.total(), histogram.percentile_us(0.5)), (0, 0.0));
    }

    #[test]
    fn values_beyond_the_range_count_as_the_largest() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::MAX);
        assert!(histogram.percentile_us(0.5) > 1e9);
    }
}
