//! Where a connection comes from.

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// The one that has connected.
    Connected,
    /// The one that was connected to.
    Accepted,
    /// Nobody knows: it came from elsewhere.
    Given,
}

impl Side {
    #[cfg(feature = "tracing")]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Accepted => "accepted",
            Self::Given => "given",
        }
    }
}
