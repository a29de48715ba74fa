//! The bytes of a connection that wait to be sent, and its flow control.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use crate::engine::send::Urgency;
use crate::engine::spare;
use crate::error::WriteError;

/// What small writes are joined to.
const CHUNK: usize = 64 * 1024;

/// With nothing queued, this much is sent at once: joining it to what may follow would cost more than it saves.
const AT_ONCE: usize = 16 * 1024;

/// How many chunks one system call takes; more would make it slower to prepare, not faster.
const SLICES: usize = 64;

/// The high water mark unless set; the low one is a quarter of it. asyncio's values.
const HIGH: usize = 64 * 1024;

/// The hard limit unless set.
const LIMIT: usize = 16 * 1024 * 1024;

/// A queue of chunks. Small writes join the last one; a large one is a chunk of its own.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// The first chunk, and nearly always the only one. Empty only if there is none.
    first: Vec<u8>,
    /// Those behind it, none of them empty; boxed, since hardly any connection has some.
    #[allow(
        clippy::box_collection,
        reason = "a pointer instead of four words in every idle connection"
    )]
    rest: Option<Box<VecDeque<Vec<u8>>>>,
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

    /// Whether `more` bytes are sent at once, with what is queued.
    #[inline]
    pub(super) fn is_at_once(&self, more: usize, urgency: Urgency) -> bool {
        urgency == Urgency::Now || (self.is_empty() && more >= AT_ONCE) || self.len + more >= CHUNK
    }

    fn mark(&mut self) {
        let Limits { high, low, .. } = self.limits();
        if self.len > high {
            self.paused = true;
        } else if self.len <= low {
            self.paused = false;
        }
    }

    /// Whether so many bytes can join what is queued, with nothing to be done about it: they are few, and there is no need to
    /// pause.
    #[inline]
    pub(super) fn joins(&self, more: usize) -> bool {
        let len = self.len + more;
        more < AT_ONCE
            && len < CHUNK
            && !self.paused
            && match &self.limits {
                // The initial ones are not below what is sent at once.
                None => true,
                Some(limits) => len <= limits.high && len <= limits.hard,
            }
    }

    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.rest.is_none() && self.first.len() + bytes.len() <= CHUNK {
            if self.first.is_empty() {
                self.first = spare::take();
            }
            self.first.extend_from_slice(bytes);
        } else {
            self.push_behind(bytes);
        }
        self.len += bytes.len();
        if self.len > self.limits().high {
            self.paused = true;
        }
    }

    /// Queues `bytes` where they do not fit into the first chunk.
    fn push_behind(&mut self, bytes: &[u8]) {
        let last = match &mut self.rest {
            Some(rest) => rest.back_mut(),
            None => None,
        };
        match last {
            Some(last) if last.len() + bytes.len() <= CHUNK => last.extend_from_slice(bytes),
            _ => {
                let mut chunk = spare::take();
                chunk.extend_from_slice(bytes);
                if self.first.is_empty() {
                    self.first = chunk;
                } else {
                    self.rest.get_or_insert_default().push_back(chunk);
                }
            }
        }
    }

    /// What is to be sent, if it is in one piece.
    #[inline]
    pub(super) fn only_chunk(&self) -> Option<&[u8]> {
        (self.rest.is_none() && !self.first.is_empty()).then(|| &self.first[self.sent..])
    }

    /// Queues a chunk as it is.
    #[cfg(feature = "tls-core")]
    pub(super) fn push_chunk(&mut self, chunk: Vec<u8>) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            if self.first.is_empty() {
                self.first = chunk;
            } else {
                self.rest.get_or_insert_default().push_back(chunk);
            }
            self.mark();
        }
    }

    /// Calls `send` with the first chunks and, behind them, `extra`.
    pub(super) fn offer<R>(
        &self,
        extra: &[IoSlice<'_>],
        send: impl FnOnce(&[IoSlice<'_>]) -> R,
    ) -> R {
        if self.first.is_empty() {
            return send(&extra[..extra.len().min(SLICES)]);
        }
        let first = &self.first[self.sent..];
        if self.rest.is_none() && extra.is_empty() {
            return send(&[IoSlice::new(first)]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        let queued = std::iter::once(first).chain(rest.map(Vec::as_slice));
        let all = queued.chain(extra.iter().map(|slice| &**slice));
        let mut count = 0;
        for (place, bytes) in slices.iter_mut().zip(all) {
            *place = IoSlice::new(bytes);
            count += 1;
        }
        send(&slices[..count])
    }

    /// Forgets the only chunk, all of which has been sent.
    #[inline]
    pub(super) fn advance_all(&mut self) {
        debug_assert!(self.rest.is_none());
        self.sent = 0;
        self.len = 0;
        self.paused = false;
        spare::give(std::mem::take(&mut self.first));
    }

    /// Forgets the first `count` bytes, which have been sent; gives what of `count` goes beyond those queued.
    pub(super) fn advance(&mut self, mut count: usize) -> usize {
        while !self.first.is_empty() {
            let left = self.first.len() - self.sent;
            if count < left {
                self.sent += count;
                self.len -= count;
                count = 0;
                break;
            }
            count -= left;
            self.len -= left;
            self.sent = 0;
            spare::give(std::mem::take(&mut self.first));
            if let Some(rest) = &mut self.rest {
                self.first = rest.pop_front().unwrap_or_default();
                if rest.is_empty() {
                    self.rest = None;
                }
            }
        }
        self.mark();
        count
    }

    pub(super) fn clear(&mut self) {
        self.first = Vec::new();
        self.rest = None;
        self.sent = 0;
        self.len = 0;
        self.paused = false;
    }
}
