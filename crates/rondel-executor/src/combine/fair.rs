//! Who is looked at first.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
}

/// A number below `count`, drawn evenly. Every thread draws the same numbers in the same order, so that runs repeat: this is
/// for fairness, not for secrets.
///
/// Drawn rather than counted up, so that no pattern of the program's own can fall into step with it.
pub(super) fn start(count: usize) -> usize {
    if count < 2 {
        return 0;
    }
    STATE.with(|state| {
        // Marsaglia's xorshift, 64 bits; the upper half of a product spreads it over `count` without a division.
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        ((u128::from(x) * count as u128) >> 64) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::start;

    #[test]
    fn everyone_is_first_about_equally_often() {
        for count in 1..=12 {
            let mut first = vec![0; count];
            for _ in 0..1000 * count {
                first[start(count)] += 1;
            }
            assert!(
                first.iter().all(|times| (800..1200).contains(times)),
                "{first:?}"
            );
        }
    }
}
