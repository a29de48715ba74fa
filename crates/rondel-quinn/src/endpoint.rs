//! Endpoints on the loop that runs here.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{Endpoint, EndpointConfig, ServerConfig};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::EndpointError;
use crate::runtime::RondelRuntime;

/// An endpoint for connecting, on the loop that runs here, with a socket bound to the local `addr`: mostly a wildcard such as
/// `0.0.0.0:0`. A socket for IPv6 speaks IPv4 as well where the system lets it.
///
/// As `quinn::Endpoint::client`, which looks for runtimes that quinn knows itself.
///
/// # Errors
/// [`EndpointError`].
pub fn client(addr: SocketAddr) -> Result<Endpoint, EndpointError> {
    let socket = bind_dual(addr).map_err(|error| EndpointError::Bind(addr, error))?;
    endpoint(EndpointConfig::default(), None, socket)
}

/// An endpoint that accepts connections, and may make some, on the loop that runs here, with a socket bound to `addr`.
///
/// As `quinn::Endpoint::server`.
///
/// # Errors
/// [`EndpointError`].
pub fn server(config: ServerConfig, addr: SocketAddr) -> Result<Endpoint, EndpointError> {
    let socket = UdpSocket::bind(addr).map_err(|error| EndpointError::Bind(addr, error))?;
    endpoint(EndpointConfig::default(), Some(config), socket)
}

/// An endpoint on the loop that runs here, with a configuration and a socket of your own. The socket is made non-blocking.
///
/// ```
/// use rondel_quinn::quinn::EndpointConfig;
/// use std::net::UdpSocket;
///
/// # rondel_loop::run(async {
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// let addr = socket.local_addr()?;
/// let endpoint = rondel_quinn::endpoint(EndpointConfig::default(), None, socket)?;
/// assert_eq!(endpoint.local_addr()?, addr);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
///
/// # Errors
/// [`EndpointError`].
pub fn endpoint(
    config: EndpointConfig,
    server: Option<ServerConfig>,
    socket: UdpSocket,
) -> Result<Endpoint, EndpointError> {
    let runtime = RondelRuntime::current()?;
    Endpoint::new(config, server, socket, Arc::new(runtime)).map_err(EndpointError::Socket)
}

fn bind_dual(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // OpenBSD has sockets for IPv6 alone; they do.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}
