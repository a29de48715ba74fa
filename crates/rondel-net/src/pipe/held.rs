//! What a reader has received and not given yet.

/// Bytes in front of which some are given already; without any, it has no memory.
#[derive(Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    given: usize,
}

impl Held {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.given..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.given
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, more: &[u8]) {
        // Moved only when more than half is given: each byte at most once for each of those that go.
        if self.given > self.bytes.len() / 2 {
            self.bytes.drain(..self.given);
            self.given = 0;
        }
        self.bytes.extend_from_slice(more);
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.given += count;
        if self.given >= self.bytes.len() {
            *self = Self::default();
        }
    }

    pub(super) fn copy_to(&mut self, out: &mut [u8]) -> usize {
        let count = self.len().min(out.len());
        out[..count].copy_from_slice(&self.as_slice()[..count]);
        self.consume(count);
        count
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        if count == self.bytes.len() {
            return self.take_all();
        }
        let taken = self.as_slice()[..count].to_vec();
        self.consume(count);
        taken
    }

    pub(super) fn take_all(&mut self) -> Vec<u8> {
        let Self { mut bytes, given } = std::mem::take(self);
        bytes.drain(..given);
        bytes
    }

    /// Where `separator` begins, at or behind `from`.
    pub(super) fn find(&self, from: usize, separator: &[u8]) -> Option<usize> {
        let bytes = &self.as_slice()[from..];
        let found = match separator {
            [one] => bytes.iter().position(|byte| byte == one),
            _ => bytes
                .windows(separator.len())
                .position(|window| window == separator),
        };
        found.map(|start| from + start)
    }
}
