//! What failed, on which file.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The inside of an [`io::Error`] about a file.
#[derive(Debug)]
struct FileFailed {
    operation: &'static str,
    path: Arc<Path>,
    source: io::Error,
}

impl fmt::Display for FileFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.operation,
            self.path.display(),
            self.source
        )
    }
}

impl Error for FileFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Says what `source` is about.
pub(super) fn failed(operation: &'static str, path: &Arc<Path>, source: io::Error) -> io::Error {
    io::Error::new(
        source.kind(),
        FileFailed {
            operation,
            path: Arc::clone(path),
            source,
        },
    )
}
