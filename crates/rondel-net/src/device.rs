//! Binding a socket to a network interface by its name.

use std::io;

use socket2::Socket;

/// Has the socket send and receive through `interface` alone, whatever the routes say. An error names the interface.
pub(crate) fn bind_device(socket: &Socket, interface: &[u8]) -> io::Result<()> {
    bind(socket, interface).map_err(|error| {
        let name = String::from_utf8_lossy(interface);
        crate::error::while_doing(format!("bind to the interface {name:?}"), error)
    })
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
fn bind(socket: &Socket, interface: &[u8]) -> io::Result<()> {
    /// `IFNAMSIZ`, less the zero at the end.
    const LONGEST: usize = 15;

    // The system would take no name for "any interface", and cut off what is behind a zero or too long: it would bind to
    // another interface than was asked for, or to none, and not say so.
    if interface.is_empty() || interface.len() > LONGEST || interface.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no interface can have this name: it has 1 to 15 bytes, none of them zero",
        ));
    }
    socket.bind_device(Some(interface))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "fuchsia")))]
fn bind(_: &Socket, _: &[u8]) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system cannot bind a socket to an interface by name",
    ))
}
