//! Looking for separators.

use std::io::BufRead;

/// Where a separator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The separator in `bytes`, not before `from`, that ends first; of several that end there, the shortest.
pub(super) fn find(bytes: &[u8], from: usize, separators: &[&[u8]]) -> Option<Found> {
    let mut best: Option<Found> = None;
    for separator in separators {
        // One that ends later than the best so far is of no use.
        let until = best.map_or(bytes.len(), |best| best.end);
        let Some(start) = find_one(&bytes[..until], from, separator) else {
            continue;
        };
        let found = Found {
            start,
            end: start + separator.len(),
        };
        if best.is_none_or(|best| (found.end, best.start) < (best.end, found.start)) {
            best = Some(found);
        }
    }
    best
}

fn find_one(bytes: &[u8], from: usize, separator: &[u8]) -> Option<usize> {
    let (&first, rest) = separator.split_first()?;
    let mut at = from;
    while let Some(offset) = bytes.get(at..).and_then(|bytes| find_byte(bytes, first)) {
        at += offset;
        if bytes[at + 1..].starts_with(rest) {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    // The standard library's `memchr`, by the one door to it that gives a position.
    let mut rest = bytes;
    let passed = rest
        .skip_until(byte)
        .expect("a slice can be read without error");
    let last = passed.checked_sub(1)?;
    (bytes[last] == byte).then_some(last)
}
