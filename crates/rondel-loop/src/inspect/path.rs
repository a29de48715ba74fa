//! Where the socket of a process is looked for.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The place of this process's socket, in a directory that nobody else can write to; made if it is not there.
pub(super) fn default() -> Result<PathBuf, (PathBuf, io::Error)> {
    let user = rustix::process::geteuid().as_raw();
    let directory = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if !runtime.is_empty() => PathBuf::from(runtime).join("rondel"),
        _ => PathBuf::from(format!("/tmp/rondel-{user}")),
    };
    match make(&directory, user) {
        Ok(()) => Ok(directory.join(format!("{}.sock", std::process::id()))),
        Err(error) => Err((directory, error)),
    }
}

fn make(directory: &Path, user: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Not followed: in /tmp anybody can put a link.
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the directory belongs to somebody else, or others may write to it",
        ));
    }
    Ok(())
}
