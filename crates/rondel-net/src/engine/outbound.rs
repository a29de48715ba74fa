//! The bytes of a connection that wait to be sent, and its flow control.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use crate::engine::spare;
use crate::error::WriteError;

/// What small writes are joined to.
pub(super) const CHUNK: usize = 64 * 1024;

/// How many chunks one system call takes; more would make it slower to prepare, not faster.
const SLICES: usize = 64;

/// The high water mark unless set; the low one is a quarter of it. asyncio's values.
const HIGH: usize = 64 * 1024;

/// The hard limit unless set.
const LIMIT: usize = 16 * 1024 * 1024;

/// A queue of chunks. Small writes join the last one; a large one is a chunk of its own.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// None is empty.
    chunks: VecDeque<Vec<u8>>,
    /// How much of the first chunk is sent.
    sent: usize,
    /// How much is left of all of them.
    len: usize,
    /// `None`: as at the beginning, like nearly all of many connections.
    limits: Option<Box<Limits>>,
    /// Above the high water mark, and not back at the low one since.
    paused: bool,
}

/// How much may be queued.
#[derive(Clone, Copy, Debug)]
struct Limits {
    high: usize,
    low: usize,
    hard: usize,
}

impl Limits {
    const INITIAL: Self = Self {
        high: HIGH,
        low: HIGH / 4,
        hard: LIMIT,
    };
}

impl Outbound {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.paused
    }

    #[inline]
    fn limits(&self) -> Limits {
        self.limits.as_deref().copied().unwrap_or(Limits::INITIAL)
    }

    fn limits_mut(&mut self) -> &mut Limits {
        self.limits.get_or_insert_with(|| Box::new(Limits::INITIAL))
    }

    /// Low, then high.
    pub(super) fn marks(&self) -> (usize, usize) {
        let Limits { low, high, .. } = self.limits();
        (low, high)
    }

    pub(super) fn set_marks(&mut self, high: Option<usize>, low: Option<usize>) -> io::Result<()> {
        let high = high.unwrap_or_else(|| low.map_or(HIGH, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4);
        if low > high {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the low water mark, {low}, is above the high one, {high}"),
            ));
        }
        let limits = self.limits_mut();
        (limits.low, limits.high) = (low, high);
        self.mark();
        Ok(())
    }

    pub(super) fn limit(&self) -> usize {
        self.limits().hard
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limits_mut().hard = limit;
    }

    /// Whether `more` bytes may be queued.
    pub(super) fn check_room(&self, more: usize) -> Result<(), WriteError> {
        let limit = self.limit();
        if self.len.saturating_add(more) > limit {
            return Err(WriteError::Full {
                refused: more,
                queued: self.len,
                limit,
            });
        }
        Ok(())
    }

    fn mark(&mut self) {
        let Limits { high, low, .. } = self.limits();
        if self.len > high {
            self.paused = true;
        } else if self.len <= low {
            self.paused = false;
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.chunks.back_mut() {
            Some(last) if last.len() + bytes.len() <= CHUNK => last.extend_from_slice(bytes),
            _ => {
                let mut chunk = spare::take();
                chunk.extend_from_slice(bytes);
                self.chunks.push_back(chunk);
            }
        }
        self.len += bytes.len();
        self.mark();
    }

    /// Queues a chunk as it is.
    #[cfg(feature = "tls-core")]
    pub(super) fn push_chunk(&mut self, chunk: Vec<u8>) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.chunks.push_back(chunk);
            self.mark();
        }
    }

    /// Calls `send` with the first chunks and, behind them, `extra`.
    pub(super) fn offer<R>(
        &self,
        extra: &[IoSlice<'_>],
        send: impl FnOnce(&[IoSlice<'_>]) -> R,
    ) -> R {
        let Some(first) = self.chunks.front() else {
            return send(&extra[..extra.len().min(SLICES)]);
        };
        let first = &first[self.sent..];
        if self.chunks.len() == 1 && extra.is_empty() {
            return send(&[IoSlice::new(first)]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let queued = std::iter::once(first).chain(self.chunks.iter().skip(1).map(Vec::as_slice));
        let all = queued.chain(extra.iter().map(|slice| &**slice));
        let mut count = 0;
        for (place, bytes) in slices.iter_mut().zip(all) {
            *place = IoSlice::new(bytes);
            count += 1;
        }
        send(&slices[..count])
    }

    /// Forgets the first `count` bytes, which have been sent; gives what of `count` goes beyond those queued.
    pub(super) fn advance(&mut self, mut count: usize) -> usize {
        while let Some(first) = self.chunks.front() {
            let left = first.len() - self.sent;
            if count < left {
                self.sent += count;
                self.len -= count;
                count = 0;
                break;
            }
            count -= left;
            self.len -= left;
            self.sent = 0;
            if let Some(chunk) = self.chunks.pop_front() {
                spare::give(chunk);
            }
        }
        self.mark();
        count
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.sent = 0;
        self.len = 0;
        self.paused = false;
    }
}
