//! A file from its beginning to its end.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rondel_loop::to_thread;

use crate::files::error::failed;

/// Reads the whole of a file, however large it is. One job; see [`File::read_to_end`](super::File::read_to_end) for a bound.
///
/// # Errors
/// What the system says, with the path; the loop's pool takes no more jobs.
///
/// # Cancel safety
/// Dropped, it has no effect.
///
/// # Panics
/// If no loop is running on this thread.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path: Arc<Path> = path.as_ref().into();
    to_thread(move || std::fs::read(&path).map_err(|error| failed("reading", &path, error))).await?
}

/// Makes `bytes` the whole of a file, which is made if there is none. One job, which is not atomic: who reads meanwhile may see
/// a part.
///
/// # Errors
/// What the system says, with the path; the loop's pool takes no more jobs.
///
/// # Cancel safety
/// Dropped, it may still write all of it.
///
/// # Panics
/// If no loop is running on this thread.
pub async fn write(path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
    let path: Arc<Path> = path.as_ref().into();
    let bytes = bytes.into();
    to_thread(move || std::fs::write(&path, bytes).map_err(|error| failed("writing", &path, error)))
        .await?
}
