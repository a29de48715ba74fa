//! The file that a listening socket is reached by: made when it is bound, and left behind unless somebody removes it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// A socket file of ours, as it was made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// The one that has just been made at `path`.
    pub(super) fn made_at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            // The working directory may be another by the time it is removed.
            path: std::path::absolute(path)?,
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Removes it, unless something else has taken its place.
    pub(super) fn remove(&self) -> io::Result<()> {
        let metadata = fs::symlink_metadata(&self.path)?;
        if (metadata.dev(), metadata.ino()) == (self.device, self.inode) {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

/// A socket file of ours, removed when this is dropped.
#[allow(unnameable_types, reason = "belongs to a sealed trait")]
#[derive(Debug)]
pub struct RemovedOnDrop(pub(super) SocketFile);

impl Drop for RemovedOnDrop {
    fn drop(&mut self) {
        // Somebody else has removed it, or may not be asked: there is nothing to be done about that here.
        let _ = self.0.remove();
    }
}

/// Removes the socket file at `path` if nobody listens there any more. What is not a socket stays.
pub(super) fn remove_stale(path: &Path) -> io::Result<()> {
    remove_stale_of(path, Type::STREAM)
}

/// The same for sockets of this type.
pub(super) fn remove_stale_of(path: &Path, kind: Type) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        // Nothing there, or nothing to be removed, which binding will say.
        _ => return Ok(()),
    }
    if is_served(path, kind)? {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether somebody listens at `path`. The only way to know is to connect.
fn is_served(path: &Path, kind: Type) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    // A backlog that is full is no reason to wait.
    socket.set_nonblocking(true)?;
    let outcome = socket.connect(&SockAddr::unix(path)?);
    Ok(!matches!(outcome, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused))
}
