//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::BorrowedFd;

/// The process that connected, or listened when one connected to it, as the system saw it at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Its number; `None` if the system does not tell.
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// The credentials of a Unix socket's peer (`SO_PEERCRED`). Of a transport: `transport.with_fd(peer_credentials)`.
///
/// ```
/// use rondel_net::{UnixStream, peer_credentials};
///
/// # rondel_loop::run(async {
/// let (stream, _other) = UnixStream::pair()?;
/// # #[cfg(target_os = "linux")]
/// assert_eq!(stream.with_fd(peer_credentials)?.pid, Some(std::process::id()));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
///
/// # Errors
/// What the system says; `Unsupported` where it has no such question.
pub fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    credentials_of(socket)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn credentials_of(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    let found = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(PeerCredentials {
        pid: u32::try_from(found.pid.as_raw_nonzero().get()).ok(),
        uid: found.uid.as_raw(),
        gid: found.gid.as_raw(),
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn credentials_of(_: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "a Unix socket's peer is not known on this system",
    ))
}
