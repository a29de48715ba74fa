//! Descriptors in words, for reports.

use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::{SocketAddr, UnixStream};

/// What a descriptor is: a socket and its peer, or just its number.
///
/// Asks through types of the standard library that may be wrong for what it is: they ask the system for names, do not look at the
/// kind of socket, and fail for families that are not theirs.
pub(crate) fn describe(fd: BorrowedFd<'_>) -> String {
    let number = fd.as_raw_fd();
    match peer(fd) {
        Some(peer) => format!("descriptor {number}, {peer}"),
        None => format!("descriptor {number}"),
    }
}

fn peer(fd: BorrowedFd<'_>) -> Option<String> {
    let internet = TcpStream::from(fd.try_clone_to_owned().ok()?);
    if let Ok(peer) = internet.peer_addr() {
        return Some(format!("connected to {peer}"));
    }
    if let Ok(local) = internet.local_addr() {
        return Some(format!("bound to {local}"));
    }
    let unix = UnixStream::from(fd.try_clone_to_owned().ok()?);
    match (unix.peer_addr(), unix.local_addr()) {
        (Ok(peer), Ok(local)) => Some(match (name(&peer), name(&local)) {
            (Some(peer), _) => format!("connected to {peer}"),
            (None, Some(local)) => format!("connected at {local}"),
            (None, None) => "a connected Unix socket".into(),
        }),
        (Err(_), Ok(local)) => name(&local).map(|local| format!("bound to {local}")),
        _ => None,
    }
}

fn name(address: &SocketAddr) -> Option<String> {
    address.as_pathname().map(|path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    #[test]
    fn sockets_tell_their_peers_and_others_their_numbers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let words = describe(stream.as_fd());
        assert!(
            words.ends_with(&format!("connected to {address}")),
            "{words}"
        );
        let words = describe(listener.as_fd());
        assert!(words.ends_with(&format!("bound to {address}")), "{words}");
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(describe(one.as_fd()).ends_with("a connected Unix socket"));
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        assert_eq!(describe(file.as_fd()), format!("descriptor {number}"));
    }
}
