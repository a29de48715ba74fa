//! What a connection has received before there was an attendant to hand it to.

use crate::engine::Connection;

#[derive(Debug)]
pub(super) struct Early {
    bytes: Vec<u8>,
    given: usize,
}

impl Connection {
    pub(super) fn set_early(&self, bytes: Vec<u8>) {
        self.attendance.has_early.set(!bytes.is_empty());
        if bytes.is_empty() {
            drop(self.early());
        } else {
            let rare = self.rare.get_or_init(Box::default);
            rare.early.set(Some(Early { bytes, given: 0 }));
        }
    }

    fn early(&self) -> Option<Early> {
        self.rare.get()?.early.take()
    }

    #[inline]
    pub(super) fn has_early(&self) -> bool {
        self.attendance.has_early.get()
    }

    /// Takes as much as `buffer` has room for.
    pub(super) fn take_early(&self, buffer: &mut [u8]) -> usize {
        let Some(rare) = self.rare.get() else {
            return 0;
        };
        let Some(mut early) = rare.early.take() else {
            return 0;
        };
        let left = &early.bytes[early.given..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        early.given += count;
        if early.given < early.bytes.len() {
            rare.early.set(Some(early));
        } else {
            self.attendance.has_early.set(false);
        }
        count
    }

    /// Takes all that is left.
    pub(crate) fn take_all_early(&self) -> Vec<u8> {
        self.attendance.has_early.set(false);
        self.early().map_or_else(Vec::new, |mut early| {
            early.bytes.drain(..early.given);
            early.bytes
        })
    }
}
