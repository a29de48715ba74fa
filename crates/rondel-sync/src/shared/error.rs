//! What can go wrong with a channel between threads.

use std::error::Error;
use std::fmt;

pub use crate::mpsc::{SendError, TryRecvError, TrySendError};

/// The item was not sent; from [`Sender::send_timeout`](super::Sender::send_timeout).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// There was no room in time.
    Timeout(T),
    /// The channel is closed.
    Closed(T),
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout(_) => "Timeout",
            Self::Closed(_) => "Closed",
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout(_) => "cannot send in time: the channel is full",
            Self::Closed(_) => "cannot send into a closed channel",
        })
    }
}

impl<T> Error for SendTimeoutError<T> {}

/// Nothing was received; from [`Receiver::recv_timeout`](super::Receiver::recv_timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// Nothing came in time.
    Timeout,
    /// The channel is empty and closed.
    Closed,
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "nothing was received in time",
            Self::Closed => "cannot receive: the channel is empty and closed",
        })
    }
}

impl Error for RecvTimeoutError {}
