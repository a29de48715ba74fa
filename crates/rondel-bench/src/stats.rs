//! Medians, quartiles, percentiles, and the ratios of paired rounds.

/// First quartile, median and third quartile of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quartiles {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Quartiles {
    /// Of any number of values; `None` of none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then(|| Self {
            low: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            high: quantile(&sorted, 0.75),
        })
    }

    /// The ratios `ours / theirs`, round by round. A round that one of the two lacks, or in which
    /// theirs is zero, has no ratio.
    pub(crate) fn of_ratios(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<Self> {
        let ratios = ours.iter().zip(theirs).filter_map(|pair| match pair {
            (Some(ours), Some(theirs)) if *theirs != 0.0 => Some(ours / theirs),
            _ => None,
        });
        Self::of(ratios)
    }
}

/// The `share`-quantile of a sorted, non-empty sample, linear between neighbours.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = sorted[position.floor() as usize];
    let above = sorted[position.ceil() as usize];
    below + (above - below) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_odd_and_even_samples() {
        let odd = Quartiles::of([5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(
            odd,
            Some(Quartiles {
                low: 2.0,
                median: 3.0,
                high: 4.0
            })
        );
        let even = Quartiles::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(
            even,
            Some(Quartiles {
                low: 1.75,
                median: 2.5,
                high: 3.25
            })
        );
    }

    #[test]
    fn one_value_is_all_its_quartiles_and_none_has_none() {
        assert_eq!(
            Quartiles::of([7.0]),
            Some(Quartiles {
                low: 7.0,
                median: 7.0,
                high: 7.0
            })
        );
        assert_eq!(Quartiles::of([]), None);
    }

    #[test]
    fn ratios_pair_the_rounds_and_not_the_medians() {
        // The medians are equal (10 and 10), the rounds are not.
        let ours = [Some(10.0), Some(20.0), Some(5.0)];
        let theirs = [Some(5.0), Some(10.0), Some(10.0)];
        let ratios = Quartiles::of_ratios(&ours, &theirs).unwrap();
        assert_eq!(ratios.median, 2.0);
        assert_eq!(ratios.low, 1.25);
    }

    #[test]
    fn failed_rounds_and_zeros_have_no_ratio() {
        let ours = [None, Some(3.0), Some(4.0)];
        let theirs = [Some(1.0), Some(0.0), Some(2.0)];
        let ratios = Quartiles::of_ratios(&ours, &theirs).unwrap();
        assert_eq!(
            ratios,
            Quartiles {
                low: 2.0,
                median: 2.0,
                high: 2.0
            }
        );
        assert_eq!(Quartiles::of_ratios(&ours[..1], &theirs[..1]), None);
    }
}
