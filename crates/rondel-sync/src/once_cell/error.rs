//! What can go wrong with a once cell.

use std::error::Error;
use std::fmt;

/// A value was not set, and comes back; from [`OnceCell::set`](super::OnceCell::set).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SetError<T> {
    /// There is a value already.
    Initialized(T),
    /// A task is initialising the cell.
    Initializing(T),
}

impl<T> SetError<T> {
    /// The value that was not set.
    pub fn into_inner(self) -> T {
        match self {
            Self::Initialized(value) | Self::Initializing(value) => value,
        }
    }
}

impl<T> fmt::Debug for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialized(_) => "Initialized",
            Self::Initializing(_) => "Initializing",
        })
    }
}

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialized(_) => "cannot set the value of a cell that has one already",
            Self::Initializing(_) => "cannot set the value of a cell that is being initialised",
        })
    }
}

impl<T> Error for SetError<T> {}
