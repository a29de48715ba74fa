//! The bell of the epoll selector.

use crate::Bell;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An eventfd(2) that is watched edge-triggered and never read.
///
/// Each write is an edge, whatever the counter says, so the waiting side has
/// nothing to do after a wake-up.
#[derive(Debug)]
pub(crate) struct Eventfd(OwnedFd);

impl Eventfd {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?))
    }
}

impl AsFd for Eventfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Bell for Eventfd {
    fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        if rustix::io::write(&self.0, &one) == Err(Errno::AGAIN) {
            // After 2^64 - 2 rings the counter is full: empty it. Another error
            // cannot occur: the descriptor is ours, eight bytes are right, and
            // a write that does not block is not interrupted.
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
            let _ = rustix::io::write(&self.0, &one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_counter_still_rings() {
        let bell = Eventfd::new().unwrap();
        rustix::io::write(&bell.0, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        bell.ring();
        let mut count = [0; 8];
        rustix::io::read(&bell.0, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }
}
