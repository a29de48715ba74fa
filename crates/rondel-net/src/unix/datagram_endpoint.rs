//! [`create_unix_datagram_endpoint`]: a Unix socket whose datagrams a protocol is called with.

use std::io;
use std::os::unix::net::SocketAddr;

use crate::datagram::dispatch::{self, DatagramProtocolRef};
use crate::datagram::protocol::DatagramProtocol;
use crate::datagram::transport::{Core, DatagramTransport, invalid};
use crate::unix::addr::ToUnixAddr;
use crate::unix::datagram::UnixDatagram;

/// What [`create_unix_datagram_endpoint`] makes.
///
/// ```
/// use rondel_net::UnixDatagramOptions;
///
/// let server = UnixDatagramOptions::new().local_addr("/run/notes");
/// let client = UnixDatagramOptions::new().remote_addr("/run/notes");
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing unless it is used"]
pub struct UnixDatagramOptions {
    local: Option<io::Result<SocketAddr>>,
    remote: Option<io::Result<SocketAddr>>,
    socket: Option<std::os::unix::net::UnixDatagram>,
}

impl UnixDatagramOptions {
    /// Nothing set: an endpoint that nobody can answer, and that sends to whomever it is told.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where it is bound. A socket file that was left behind there is replaced, as by [`UnixDatagram::bind`], and removed when
    /// the endpoint is lost.
    pub fn local_addr(mut self, local: impl ToUnixAddr) -> Self {
        self.local = Some(local.to_unix_addr());
        self
    }

    /// Where everything is sent to, and where alone is received from.
    pub fn remote_addr(mut self, remote: impl ToUnixAddr) -> Self {
        self.remote = Some(remote.to_unix_addr());
        self
    }

    /// A socket that exists already, in the place of the addresses. Its file is left alone. asyncio: `sock`.
    #[doc(alias = "sock")]
    pub fn socket(mut self, socket: std::os::unix::net::UnixDatagram) -> Self {
        self.socket = Some(socket);
        self
    }

    fn open(self) -> io::Result<UnixDatagram> {
        if let Some(socket) = self.socket {
            if self.local.is_some() || self.remote.is_some() {
                return Err(invalid(
                    "a socket is given, and so are addresses to make one",
                ));
            }
            return UnixDatagram::from_std(socket);
        }
        let remote = self.remote.transpose()?;
        let socket = match self.local.transpose()? {
            Some(local) => UnixDatagram::bind(local)?,
            None => UnixDatagram::unbound()?,
        };
        if let Some(remote) = remote {
            socket.connect(remote)?;
        }
        Ok(socket)
    }
}

/// Makes an endpoint for datagrams on a Unix socket, and puts a protocol in charge of it. asyncio: `create_datagram_endpoint`
/// with `family=AF_UNIX`.
///
/// Returns when the protocol's [`connection_made`](DatagramProtocol::connection_made) has. For tasks that wait, there is
/// [`UnixDatagram`].
///
/// Unlike UDP nothing is lost on the way: a receiver that does not keep up makes the endpoint's queue grow, and the protocol
/// pause. An endpoint that sends to several waits for the one that the first in its queue is for.
///
/// ```
/// use rondel_net::{
///     DatagramProtocol, DatagramTransport, UnixDatagram, UnixDatagramOptions, create_unix_datagram_endpoint,
/// };
/// use std::os::unix::net::SocketAddr;
///
/// struct Echo;
///
/// impl DatagramProtocol<SocketAddr> for Echo {
///     fn datagram_received(&mut self, transport: &DatagramTransport<SocketAddr>, data: &[u8], from: SocketAddr) {
///         // Whoever has no name cannot be answered.
///         let _ = transport.send_to(data, from);
///     }
/// }
///
/// # rondel_loop::run(async {
/// # let folder = std::env::temp_dir().join(format!("rondel-echo-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let options = UnixDatagramOptions::new().local_addr(folder.join("echo"));
/// let (transport, _) = create_unix_datagram_endpoint(|| Echo, options).await?;
///
/// let client = UnixDatagram::bind(folder.join("client"))?;
/// client.send_to(b"ping", transport.local_addr()?).await?;
/// let mut buffer = [0; 16];
/// assert_eq!(client.recv(&mut buffer).await?, 4);
/// transport.close();
/// transport.wait_closed().await;
/// # drop(client);
/// # std::fs::remove_dir(folder)?; // the socket files are gone
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
///
/// # Errors
/// As [`UnixDatagram::bind`] and [`UnixDatagram::connect`]; `InvalidInput` for a socket and an address, and for what is no
/// address.
///
/// # Cancel safety
/// Dropped, it leaves nothing: an endpoint that exists already is aborted.
pub async fn create_unix_datagram_endpoint<P: DatagramProtocol<SocketAddr>>(
    factory: impl FnOnce() -> P,
    options: UnixDatagramOptions,
) -> io::Result<(
    DatagramTransport<SocketAddr>,
    DatagramProtocolRef<P, SocketAddr>,
)> {
    let socket = options.open()?;
    Ok(socket.into_endpoint(factory()).await)
}

impl UnixDatagram {
    /// Hands the socket to a protocol; see [`create_unix_datagram_endpoint`]. If it is connected, the endpoint's remote address
    /// is that of its peer, which may have no name.
    ///
    /// # Cancel safety
    /// Dropped, the endpoint is aborted.
    pub async fn into_endpoint<P: DatagramProtocol<SocketAddr>>(
        self,
        protocol: P,
    ) -> (
        DatagramTransport<SocketAddr>,
        DatagramProtocolRef<P, SocketAddr>,
    ) {
        let peer = self.peer_addr().ok();
        let connected = peer.is_some();
        let (registration, file) = self.into_parts();
        let core = Core::new(registration, peer, connected, file);
        dispatch::open(core, protocol).await
    }
}
