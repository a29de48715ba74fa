//! TCP: connections and listeners.

pub(crate) mod listener;
pub(crate) mod options;
pub(crate) mod stream;
