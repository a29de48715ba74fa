//! Errors of any kind, as HTTP libraries pass them on.

use std::error::Error;

/// An error of any kind. What services and bodies fail with has to convert into it.
pub type BoxError = Box<dyn Error + Send + Sync>;
