//! TCP: connections and listeners.

mod connect;
pub(crate) mod keep_alive;
pub(crate) mod listener;
pub(crate) mod options;
pub(crate) mod stream;
