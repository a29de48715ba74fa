//! What an endpoint has accepted and not sent yet.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;

use crate::datagram::addr::DatagramAddr;

/// What a datagram counts beside its bytes, so that empty ones are not for nothing. asyncio's value.
pub(super) const HEADER: usize = 8;

/// An empty queue that has grown larger gives its memory back.
const KEPT: usize = 64 * 1024;

/// Datagrams in order, their bytes behind each other.
#[derive(Debug)]
pub(super) struct Queue<A> {
    bytes: Vec<u8>,
    /// Where the first one begins: what is before has been sent.
    start: usize,
    entries: VecDeque<Entry<A>>,
}

#[derive(Debug)]
struct Entry<A> {
    len: usize,
    /// None: the connected peer.
    to: Option<A>,
}

impl<A> Default for Queue<A> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            entries: VecDeque::new(),
        }
    }
}

impl<A: DatagramAddr> Queue<A> {
    /// What all that is queued counts.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() - self.start + HEADER * self.entries.len()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Who the first one is for.
    pub(super) fn first_to(&self) -> Option<&A> {
        self.entries.front()?.to.as_ref()
    }

    pub(super) fn push(&mut self, bytes: &[u8], to: Option<A>) {
        // Moved only when half of it is behind, so that each byte is moved once at most.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
        self.entries.push_back(Entry {
            len: bytes.len(),
            to,
        });
    }

    /// Lets go of the first `count`.
    pub(super) fn advance(&mut self, count: usize) {
        let gone: usize = self.entries.drain(..count).map(|entry| entry.len).sum();
        self.start += gone;
        if self.entries.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.start = 0;
        if self.bytes.capacity() > KEPT {
            *self = Self::default();
        }
    }

    /// The datagrams, in order.
    fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&A>)> {
        let mut rest = &self.bytes[self.start..];
        self.entries.iter().map(move |entry| {
            let (bytes, behind) = rest.split_at(entry.len);
            rest = behind;
            (bytes, entry.to.as_ref())
        })
    }

    /// Sends some of what is queued, at least one. An error belongs to the first.
    pub(super) fn send_some(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        if self.entries.len() == 1 {
            A::send(fd, &self.bytes[self.start..], self.first_to())?;
            return Ok(1);
        }
        A::send_many(fd, self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>, u16),
        Advance(usize),
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..40);
        let step = prop_oneof![
            6 => (bytes, any::<u16>()).prop_map(|(bytes, port)| Step::Push(bytes, port)),
            3 => (0usize..5).prop_map(Step::Advance),
            1 => Just(Step::Clear),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn what_comes_in_counts_until_it_goes_out_and_nothing_else_does(steps in steps()) {
            let mut queue = Queue::default();
            let mut model: VecDeque<(Vec<u8>, Option<SocketAddr>)> = VecDeque::new();
            for step in steps {
                match step {
                    Step::Push(bytes, port) => {
                        let to = (port % 2 == 0).then(|| ([127, 0, 0, 1], port).into());
                        queue.push(&bytes, to);
                        model.push_back((bytes, to));
                    }
                    Step::Advance(count) => {
                        let count = count.min(model.len());
                        queue.advance(count);
                        model.drain(..count);
                    }
                    Step::Clear => {
                        queue.clear();
                        model.clear();
                    }
                }
                let size: usize = model.iter().map(|(bytes, _)| bytes.len() + HEADER).sum();
                prop_assert_eq!(queue.size(), size);
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.first_to(), model.front().and_then(|(_, to)| to.as_ref()));
                let queued: Vec<_> = queue
                    .iter()
                    .map(|(bytes, to)| (bytes.to_vec(), to.copied()))
                    .collect();
                prop_assert_eq!(queued, Vec::from(model.clone()));
                prop_assert!(queue.start <= queue.bytes.len());
            }
        }
    }

    #[test]
    fn an_empty_queue_gives_its_memory_back_and_a_long_lived_one_does_not_grow() {
        let mut queue = Queue::<SocketAddr>::default();
        for _ in 0..10_000 {
            queue.push(&[7; 1000], None);
            queue.push(&[8; 1000], None);
            queue.advance(1);
            if queue.len() > 10 {
                queue.advance(9);
            }
        }
        assert!(
            queue.bytes.capacity() < 100_000,
            "{}",
            queue.bytes.capacity()
        );
        queue.push(&[0; 2 * KEPT], None);
        queue.advance(queue.len());
        assert_eq!(queue.bytes.capacity(), 0);
    }
}
