//! How often something took how long.

use std::fmt;
use std::time::Duration;

/// The width of each doubling: eight buckets, so that a value is known to an eighth.
const PER_DOUBLING: usize = 8;
/// From one nanosecond to half an hour; what takes longer counts as that.
const DOUBLINGS: usize = 41;

/// Durations, counted in buckets that are an eighth of their value wide, from a nanosecond to half an hour. Of fixed size; nothing
/// is allocated after the first entry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Empty until something is recorded.
    buckets: Vec<u64>,
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Histogram {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            buckets: Vec::new(),
            count: 0,
            sum: Duration::ZERO,
            max: Duration::ZERO,
        }
    }

    /// Counts one more.
    pub fn record(&mut self, time: Duration) {
        if self.buckets.is_empty() {
            self.buckets.resize(PER_DOUBLING * DOUBLINGS, 0);
        }
        self.buckets[bucket_of(time)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(time);
        self.max = self.max.max(time);
    }

    /// How many were counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All together.
    pub const fn sum(&self) -> Duration {
        self.sum
    }

    /// The longest, exactly.
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// Such that this share of all took at most as long: 0.5 for the median, 0.99 for the ninety-ninth percentile. To an eighth,
    /// upwards, and never more than the longest. Zero if nothing was counted; a share beyond 0 to 1 counts as the nearer of them.
    pub fn quantile(&self, share: f64) -> Duration {
        if self.count == 0 {
            return Duration::ZERO;
        }
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank between 0 and the count, rounded upwards"
        )]
        let rank = ((share.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return end_of(bucket).min(self.max);
            }
        }
        self.max
    }

    /// What was counted, by buckets that are not empty: the longest that each counts, and how many it did. The difference of two
    /// moments is what came in between.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let buckets = self.buckets.iter().enumerate();
        buckets
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, count)| (end_of(bucket), *count))
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
                *mine += theirs;
            }
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }
}

fn bucket_of(time: Duration) -> usize {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
    let doubling = nanos.ilog2() as usize;
    // The three bits below the highest one.
    let fine = if doubling >= 3 {
        nanos >> (doubling - 3)
    } else {
        nanos << (3 - doubling)
    };
    let fine = usize::try_from(fine & 7).unwrap_or(0);
    (doubling * PER_DOUBLING + fine).min(PER_DOUBLING * DOUBLINGS - 1)
}

/// The longest that counts into this bucket.
fn end_of(bucket: usize) -> Duration {
    let (doubling, fine) = (bucket / PER_DOUBLING, bucket % PER_DOUBLING);
    let begin_of_next = (9 + fine as u64) << doubling;
    Duration::from_nanos(
        (begin_of_next >> 3)
            .saturating_sub(u64::from(doubling >= 3))
            .max(1),
    )
}

/// The count, the median, the ninety-ninth percentile, the longest.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} times, half within {:?}, 99 % within {:?}, at most {:?}",
            self.count,
            self.quantile(0.5),
            self.quantile(0.99),
            self.max
        )
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_tell_what_was_counted() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.buckets().count(), 0);
        for micros in [1, 1, 70] {
            histogram.record(Duration::from_micros(micros));
        }
        let buckets: Vec<_> = histogram.buckets().collect();
        let counts: Vec<_> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1]);
        assert_eq!(buckets[0].0, histogram.quantile(0.5));
    }

    proptest! {
        #[test]
        fn quantiles_are_right_to_an_eighth(
            times in proptest::collection::vec(1_u64..1 << 40, 1..200),
            share in 0.0_f64..=1.0,
        ) {
            let mut histogram = Histogram::new();
            for time in &times {
                histogram.record(Duration::from_nanos(*time));
            }
            let mut sorted = times;
            sorted.sort_unstable();
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let rank = ((share * sorted.len() as f64).ceil() as usize).max(1);
            let exact = u128::from(sorted[rank - 1]);
            let told = histogram.quantile(share).as_nanos();
            prop_assert!(told >= exact && told <= exact + exact / 8 + 1, "{exact} {told}");
            prop_assert_eq!(histogram.max().as_nanos(), u128::from(*sorted.last().unwrap()));
        }

        #[test]
        fn merging_is_as_recording_both(
            one in proptest::collection::vec(0_u64..1 << 40, 0..50),
            other in proptest::collection::vec(0_u64..1 << 40, 0..50),
        ) {
            let of = |times: &[u64]| {
                let mut histogram = Histogram::new();
                times.iter().for_each(|time| histogram.record(Duration::from_nanos(*time)));
                histogram
            };
            let mut merged = of(&one);
            merged.merge(&of(&other));
            let both: Vec<_> = one.into_iter().chain(other).collect();
            prop_assert_eq!(merged, of(&both));
        }
    }

    #[test]
    fn extremes_stay_inside() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        histogram.record(Duration::MAX);
        assert_eq!((histogram.count(), histogram.max()), (3, Duration::MAX));
        assert!(histogram.quantile(1.0) > Duration::from_secs(1800));
        assert_eq!(histogram.quantile(-1.0), histogram.quantile(0.0));
    }
}
