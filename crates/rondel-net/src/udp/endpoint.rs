//! [`create_datagram_endpoint`]: a socket whose datagrams a protocol is called with.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rondel_loop::LocalLoop;

use crate::connect::{AddressFamily, Target, TargetError, ToTarget};
use crate::datagram::dispatch::{self, DatagramProtocolRef};
use crate::datagram::protocol::DatagramProtocol;
use crate::datagram::transport::{Core, DatagramTransport, invalid};
use crate::udp::options::{UdpOptions, failed};
use crate::udp::socket::UdpSocket;

/// What [`create_datagram_endpoint`] makes.
///
/// ```
/// use rondel_net::DatagramOptions;
///
/// let server = DatagramOptions::new().local_addr("localhost:9999").reuse_port(true);
/// let client = DatagramOptions::new().remote_addr(("time.example", 123));
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing unless it is used"]
pub struct DatagramOptions {
    local: Option<Result<Target, TargetError>>,
    remote: Option<Result<Target, TargetError>>,
    family: AddressFamily,
    reuse_port: bool,
    allow_broadcast: bool,
    socket: Option<std::net::UdpSocket>,
}

impl DatagramOptions {
    /// Nothing set, which is not enough: there must be an address, a family or a socket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where it is bound. A name is looked up; of several addresses, the first that can be bound is.
    pub fn local_addr(mut self, local: impl ToTarget) -> Self {
        self.local = Some(local.to_target());
        self
    }

    /// Where everything is sent to, and where alone is received from. A name is looked up.
    pub fn remote_addr(mut self, remote: impl ToTarget) -> Self {
        self.remote = Some(remote.to_target());
        self
    }

    /// Which addresses are used. Given alone, the endpoint has no address until it first sends.
    pub fn family(mut self, family: AddressFamily) -> Self {
        self.family = family;
        self
    }

    /// See [`UdpOptions::reuse_port`]. Default: no.
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Whether it may send to broadcast addresses. With a remote address, the socket is then not connected to it: everything is
    /// sent there, and anybody may answer. Default: no.
    pub fn allow_broadcast(mut self, on: bool) -> Self {
        self.allow_broadcast = on;
        self
    }

    /// A socket that exists already, in the place of everything else. asyncio: `sock`.
    #[doc(alias = "sock")]
    pub fn socket(mut self, socket: std::net::UdpSocket) -> Self {
        self.socket = Some(socket);
        self
    }

    fn is_mixed(&self) -> bool {
        self.local.is_some()
            || self.remote.is_some()
            || self.family != AddressFamily::Any
            || self.reuse_port
            || self.allow_broadcast
    }

    async fn open(mut self) -> io::Result<(UdpSocket, Option<SocketAddr>)> {
        if let Some(socket) = self.socket.take() {
            if self.is_mixed() {
                return Err(invalid("a socket is given, and so are options to make one"));
            }
            let socket = UdpSocket::from_std(socket)?;
            let peer = socket.peer_addr();
            return Ok((socket, peer));
        }
        let local = resolve(self.local.take(), self.family).await?;
        let remote = resolve(self.remote.take(), self.family).await?;
        let mut first = None;
        for (local, remote) in pairs(local, remote, self.family)? {
            match self.open_one(local, remote) {
                Ok(socket) => return Ok((socket, remote)),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| invalid("there is no address of the family asked for")))
    }

    fn open_one(
        &self,
        local: Option<SocketAddr>,
        remote: Option<SocketAddr>,
    ) -> io::Result<UdpSocket> {
        let options = UdpOptions::new()
            .reuse_port(self.reuse_port)
            .broadcast(self.allow_broadcast);
        let socket = match (local, remote) {
            (Some(local), _) => options.bind(local)?,
            (None, Some(remote)) => unbound(&options, remote)?,
            (None, None) => unbound(&options, any(self.family))?,
        };
        if let Some(remote) = remote
            && !self.allow_broadcast
        {
            socket
                .connect(remote)
                .map_err(|error| failed("connecting UDP to", remote, error))?;
        }
        Ok(socket)
    }
}

/// A socket that the system binds when it first sends.
fn unbound(options: &UdpOptions, like: SocketAddr) -> io::Result<UdpSocket> {
    let local = LocalLoop::current().map_err(io::Error::other)?;
    UdpSocket::register(&local, options.socket(like)?.into())
}

fn any(family: AddressFamily) -> SocketAddr {
    match family {
        AddressFamily::V6 => (Ipv6Addr::UNSPECIFIED, 0).into(),
        AddressFamily::V4 | AddressFamily::Any => (Ipv4Addr::UNSPECIFIED, 0).into(),
    }
}

async fn resolve(
    target: Option<Result<Target, TargetError>>,
    family: AddressFamily,
) -> io::Result<Option<Vec<SocketAddr>>> {
    let Some(target) = target else {
        return Ok(None);
    };
    let target = target.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut addresses = target.resolve(None).await.map_err(io::Error::other)?;
    addresses.retain(|addr| match family {
        AddressFamily::Any => true,
        AddressFamily::V4 => addr.is_ipv4(),
        AddressFamily::V6 => addr.is_ipv6(),
    });
    if addresses.is_empty() {
        return Err(invalid(format!(
            "{target} has no address of the family asked for"
        )));
    }
    Ok(Some(addresses))
}

type Pair = (Option<SocketAddr>, Option<SocketAddr>);

/// What is to be tried: each local address, and each remote one of the same family.
fn pairs(
    local: Option<Vec<SocketAddr>>,
    remote: Option<Vec<SocketAddr>>,
    family: AddressFamily,
) -> io::Result<Vec<Pair>> {
    let pairs: Vec<Pair> = match (local, remote) {
        (None, None) if family == AddressFamily::Any => {
            return Err(invalid(
                "an endpoint needs a local or a remote address, a family or a socket",
            ));
        }
        (None, None) => vec![(None, None)],
        (Some(local), None) => local.into_iter().map(|local| (Some(local), None)).collect(),
        (None, Some(remote)) => remote
            .into_iter()
            .map(|remote| (None, Some(remote)))
            .collect(),
        (Some(local), Some(remote)) => {
            let of_a_family = |remote: &SocketAddr| {
                let remote = *remote;
                let same = move |local: &&SocketAddr| local.is_ipv4() == remote.is_ipv4();
                let same: Vec<_> = local.iter().filter(same).copied().collect();
                same.into_iter()
                    .map(move |local| (Some(local), Some(remote)))
            };
            remote.iter().flat_map(of_a_family).collect()
        }
    };
    if pairs.is_empty() {
        return Err(invalid(
            "the local address and the remote one are of different families",
        ));
    }
    Ok(pairs)
}

/// Makes an endpoint for datagrams, and puts a protocol in charge of it. asyncio: `create_datagram_endpoint`.
///
/// Returns when the protocol's [`connection_made`](DatagramProtocol::connection_made) has. There is an example at
/// [`DatagramProtocol`]; for tasks that wait, there is [`UdpSocket`], and for options that are not here
/// [`UdpSocket::into_endpoint`].
///
/// # Errors
/// `InvalidInput`: no address, family or socket; a socket and something else; a local and a remote address of different
/// families; a target that means nothing. What looking names up says, and the first that the system says of the addresses.
///
/// # Cancel safety
/// Dropped, it leaves nothing: an endpoint that exists already is aborted.
pub async fn create_datagram_endpoint<P: DatagramProtocol>(
    factory: impl FnOnce() -> P,
    options: DatagramOptions,
) -> io::Result<(DatagramTransport, DatagramProtocolRef<P>)> {
    let (socket, remote) = options.open().await?;
    let connected = socket.peer_addr().is_some();
    let core = Core::new(socket.into_registration(), remote, connected, ());
    Ok(dispatch::open(core, factory()).await)
}

impl UdpSocket {
    /// Hands the socket to a protocol; see [`create_datagram_endpoint`]. If it is connected, the endpoint's remote address is
    /// that of its peer.
    ///
    /// # Cancel safety
    /// Dropped, the endpoint is aborted.
    pub async fn into_endpoint<P: DatagramProtocol>(
        self,
        protocol: P,
    ) -> (DatagramTransport, DatagramProtocolRef<P>) {
        let peer = self.peer_addr();
        let core = Core::new(self.into_registration(), peer, peer.is_some(), ());
        dispatch::open(core, protocol).await
    }
}
