//! Where things come from.

use std::panic::Location;

/// Where a thing was made, for reports.
pub(crate) type Site = &'static Location<'static>;
