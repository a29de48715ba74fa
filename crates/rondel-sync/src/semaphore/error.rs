//! What can go wrong with a semaphore.

use std::error::Error;
use std::fmt;

/// Permits were not to be had at once; from
/// [`Semaphore::try_acquire`](super::Semaphore::try_acquire) and its kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TryAcquireError {
    /// How many were asked for.
    pub asked: usize,
    /// How many were free.
    pub available: usize,
    /// How many tasks waited already; nobody gets in front of them.
    pub waiting: usize,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked,
            available,
            waiting,
        } = self;
        write!(
            f,
            "cannot acquire {asked} semaphore permit(s) at once: {available} free, {waiting} waiting"
        )
    }
}

impl Error for TryAcquireError {}

/// Permits were added beyond what the semaphore may have; from
/// [`Semaphore::add_permits`](super::Semaphore::add_permits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddPermitsError {
    /// How many were to be added.
    pub asked: usize,
    /// How many there are, free and held.
    pub total: usize,
    /// How many there may be.
    pub limit: usize,
}

impl fmt::Display for AddPermitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked,
            total,
            limit,
        } = self;
        write!(
            f,
            "cannot add {asked} permit(s) to a semaphore that has {total} and may have {limit}"
        )
    }
}

impl Error for AddPermitsError {}
