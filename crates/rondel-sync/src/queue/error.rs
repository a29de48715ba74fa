//! What can go wrong with a queue.

use std::error::Error;
use std::fmt;

/// The queue has been shut down; asyncio's [`QueueShutDown`].
///
/// From `put` it brings the item back; from `get`, where nothing is left to be got, it is empty.
///
/// [`QueueShutDown`]: https://docs.python.org/3/library/asyncio-queue.html#asyncio.QueueShutDown
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QueueShutDown<T = ()>(pub T);

impl<T> fmt::Debug for QueueShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueShutDown")
    }
}

impl<T> fmt::Display for QueueShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue has been shut down")
    }
}

impl<T> Error for QueueShutDown<T> {}

/// An item was not put; from [`put_nowait`](super::BaseQueue::put_nowait).
#[doc(alias = "QueueFull")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutNowaitError<T> {
    /// There is no room, or others wait for it already; asyncio's `QueueFull`.
    Full(T),
    /// The queue has been shut down.
    ShutDown(T),
}

impl<T> PutNowaitError<T> {
    /// The item that was not put.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::ShutDown(item) => item,
        }
    }
}

impl<T> fmt::Debug for PutNowaitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::ShutDown(_) => "ShutDown",
        })
    }
}

impl<T> fmt::Display for PutNowaitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "cannot put an item at once: the queue is full",
            Self::ShutDown(_) => "cannot put an item: the queue has been shut down",
        })
    }
}

impl<T> Error for PutNowaitError<T> {}

/// No item was got; from [`get_nowait`](super::BaseQueue::get_nowait).
#[doc(alias = "QueueEmpty")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetNowaitError {
    /// There is none; one may still come. asyncio's `QueueEmpty`.
    Empty,
    /// There is none, and the queue has been shut down.
    ShutDown,
}

impl fmt::Display for GetNowaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "cannot get an item at once: the queue is empty",
            Self::ShutDown => "cannot get an item: the queue is empty and has been shut down",
        })
    }
}

impl Error for GetNowaitError {}

/// [`task_done`](super::BaseQueue::task_done) was called more often than items were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskDoneError;

impl fmt::Display for TaskDoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`task_done` was called more often than items were put into the queue")
    }
}

impl Error for TaskDoneError {}
