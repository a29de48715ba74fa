//! What can go wrong with a broadcast.

use std::error::Error;
use std::fmt;

/// No receiver is there; brings the value back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot broadcast: there is no receiver")
    }
}

impl<T> Error for SendError<T> {}

/// No value was received; from [`Receiver::recv`](super::Receiver::recv).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// The receiver was too slow: so many values have been overwritten before it could receive
    /// them. It goes on with the oldest one that is there.
    Lagged(u64),
    /// All has been received, and no sender is left.
    Closed,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(missed) => {
                write!(
                    f,
                    "the receiver of a broadcast lagged and missed {missed} value(s)"
                )
            }
            Self::Closed => f.write_str("the broadcast is over: no sender is left"),
        }
    }
}

impl Error for RecvError {}

/// No value was received; from [`Receiver::try_recv`](super::Receiver::try_recv).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// All has been received; more may come.
    Empty,
    /// See [`RecvError::Lagged`].
    Lagged(u64),
    /// All has been received, and no sender is left.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("cannot receive at once: nothing new was broadcast"),
            Self::Lagged(missed) => RecvError::Lagged(missed).fmt(f),
            Self::Closed => RecvError::Closed.fmt(f),
        }
    }
}

impl Error for TryRecvError {}
