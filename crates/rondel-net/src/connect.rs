//! Connecting: a name or address in, a connection out.
//!
//! Look up, put the addresses in an order that wastes no time, try them with a head start for each
//! ([RFC 8305](https://www.rfc-editor.org/rfc/rfc8305), "Happy Eyeballs"), under one deadline. If nothing comes of it, say what was
//! tried.

mod attempt;
mod error;
mod happy_eyeballs;
mod progress;
mod target;

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rondel_loop::{LocalLoop, Registration};

pub use error::{AttemptStep, ConnectAttempt, ConnectError, ConnectErrorKind, ConnectPhase};
pub use target::{Target, TargetError, TargetErrorKind, ToTarget};

use crate::engine::Side;
use crate::resolver::Resolve;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::tcp::keep_alive::KeepAlive;
use crate::tcp::options::SocketOptions;
use crate::tcp::stream::TcpStream;
use attempt::Connecting;
use happy_eyeballs::Race;
use progress::Progress;

/// RFC 8305, section 5: the recommended delay between attempts.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to `target` by TCP and gives a reader and a writer. asyncio: `open_connection`.
///
/// `target` is a host and a port, `("example.com", 80)` or `"example.com:80"`, an address, or several. A name is looked up by
/// the process's [`Resolver`](crate::Resolver). Of several addresses, IPv6 and IPv4 in turn, each is tried when one before it has
/// failed or the latest has had 250 ms; the first that answers wins, and the others are closed. There is no time limit but the
/// system's (some two minutes for each address); [`ConnectOptions`] sets one, and everything else.
///
/// # Cancel safety
/// Dropped at any point, it closes every descriptor that it has opened.
///
/// # Errors
/// [`ConnectError`]: the name cannot be resolved, or no address could be connected to; also if no loop is running on this
/// thread.
///
/// ```
/// use rondel_net::open_connection;
/// use std::net::TcpListener;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TcpListener::bind(("127.0.0.1", 0))?;
/// rondel_loop::run(async {
///     let (_reader, writer) = open_connection(("localhost", server.local_addr()?.port())).await?;
///     let (_, client) = server.accept()?;
///     assert_eq!(writer.local_addr()?, client);
///     Ok(())
/// })?
/// # }
/// ```
pub async fn open_connection(
    target: impl ToTarget,
) -> Result<(StreamReader, StreamWriter), ConnectError> {
    ConnectOptions::new().open_connection(target).await
}

/// How to connect: time limit, Happy Eyeballs, own address, family, resolver, options of the socket.
///
/// An option that the system does not take has the attempt fail at [`AttemptStep::Open`], with an error that names it.
///
/// ```
/// use rondel_net::ConnectOptions;
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// let options = ConnectOptions::new()
///     .timeout(Duration::from_secs(5))
///     .local_addr(([127, 0, 0, 1], 0).into());
/// // Nobody listens on port 1.
/// let error = options.connect("127.0.0.1:1").await.unwrap_err();
/// assert_eq!(error.to_string(), "connect to 127.0.0.1:1: Connection refused");
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::ConnectionRefused);
/// # }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "options do nothing by themselves: call `connect` or `open_connection`"]
pub struct ConnectOptions {
    pub(crate) timeout: Option<Duration>,
    head_start: Option<Duration>,
    family: AddressFamily,
    local_v4: Option<SocketAddr>,
    local_v6: Option<SocketAddr>,
    nodelay: bool,
    socket: SocketOptions,
    pub(crate) limit: Option<usize>,
    resolver: Option<Rc<dyn Resolve>>,
}

/// Which addresses of a name are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv4 and IPv6.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl ConnectOptions {
    /// The defaults: what [`open_connection`] does.
    pub fn new() -> Self {
        Self {
            timeout: None,
            head_start: Some(HEAD_START),
            family: AddressFamily::Any,
            local_v4: None,
            local_v6: None,
            nodelay: true,
            socket: SocketOptions::default(),
            limit: None,
            resolver: None,
        }
    }

    /// One time limit, on the loop's clock, for looking the name up and connecting together. Default: `None`.
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.timeout = limit.into();
        self
    }

    /// How long an address is given before the next one is tried beside it. Default: 250 ms, as RFC 8305 recommends; it does
    /// not want less than 10 ms, nor more than 2 s. asyncio: `happy_eyeballs_delay`.
    ///
    /// `None`: one address after the other, in the order in which they were found, each until it has failed.
    pub fn happy_eyeballs_delay(mut self, delay: impl Into<Option<Duration>>) -> Self {
        self.head_start = delay.into();
        self
    }

    /// Leaves out addresses of the other family. Default: [`AddressFamily::Any`]. asyncio: `family`.
    pub fn family(mut self, family: AddressFamily) -> Self {
        self.family = family;
        self
    }

    /// Connects from this address; port 0 lets the system choose one. Default: the system chooses both. asyncio: `local_addr`.
    ///
    /// Addresses of a family for which none was given are left out; call it once for each family to use both. A port other
    /// than 0 is only good for one attempt at a time: the next one beside it finds it in use.
    pub fn local_addr(mut self, address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => self.local_v4 = Some(address),
            SocketAddr::V6(_) => self.local_v6 = Some(address),
        }
        self
    }

    /// Whether small writes go out at once (`TCP_NODELAY`). Default: yes, as in asyncio.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Whether a peer that is silent for long is asked whether it is still there (`SO_KEEPALIVE`), as often as the system is
    /// set to: on Linux after two hours, unless set; [`keep_alive_with`](Self::keep_alive_with) says how often. Default: no.
    pub fn keep_alive(mut self, on: bool) -> Self {
        self.socket.keep_alive = on.then(KeepAlive::new);
        self
    }

    /// How often the system asks a silent peer whether it is still there, and when it gives it up. The later of this and
    /// [`keep_alive`](Self::keep_alive) counts. Default: not at all.
    pub fn keep_alive_with(mut self, times: KeepAlive) -> Self {
        self.socket.keep_alive = Some(times);
        self
    }

    /// How long closing waits for the peer to acknowledge what was sent (`SO_LINGER`, socket(7)), and what zero means; see
    /// [`TcpStream::set_linger`]. Default: `None`, it does not wait, and the system sends what is left by itself.
    pub fn linger(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.socket.linger = time.into();
        self
    }

    /// How many bytes the system keeps that have not been read yet (`SO_RCVBUF`). It has a limit (on Linux
    /// `net.core.rmem_max`), to which it cuts larger ones down, and Linux takes twice as much, for its own bookkeeping
    /// (socket(7)). Default: as the system has it, which then also lets it grow as needed (tcp(7)); a size that is set is
    /// fixed.
    #[doc(alias = "SO_RCVBUF")]
    pub fn receive_buffer_size(mut self, bytes: usize) -> Self {
        self.socket.receive_buffer_size = Some(bytes);
        self
    }

    /// How many bytes the system takes that the peer has not acknowledged yet (`SO_SNDBUF`); the rest is queued here. Limit
    /// (`net.core.wmem_max`), doubling and default as with [`receive_buffer_size`](Self::receive_buffer_size).
    #[doc(alias = "SO_SNDBUF")]
    pub fn send_buffer_size(mut self, bytes: usize) -> Self {
        self.socket.send_buffer_size = Some(bytes);
        self
    }

    /// The network interface, by name, that the connection goes through, whatever the routes say (`SO_BINDTODEVICE`,
    /// socket(7)). Linux only; before 5.7 it takes the capability `CAP_NET_RAW`. Default: as the routes say.
    #[doc(alias = "SO_BINDTODEVICE")]
    pub fn bind_device(mut self, interface: impl Into<Vec<u8>>) -> Self {
        self.socket.device = Some(interface.into());
        self
    }

    /// How much the reader of [`open_connection`](Self::open_connection) buffers, in bytes. Default: 64 KiB. asyncio: `limit`.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Who looks names up. Default: [`Resolver::system`](crate::Resolver::system).
    pub fn resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        self.resolver = Some(Rc::new(resolver));
        self
    }

    /// Connects and gives a reader and a writer; see [`open_connection`].
    ///
    /// # Cancel safety
    /// Dropped at any point, it closes every descriptor that it has opened.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn open_connection(
        &self,
        target: impl ToTarget,
    ) -> Result<(StreamReader, StreamWriter), ConnectError> {
        let (mut reader, writer) = self.connect(target).await?.into_split();
        if let Some(limit) = self.limit {
            reader.set_limit(limit);
        }
        Ok((reader, writer))
    }

    /// Connects and gives the stream; see [`open_connection`]. Of a socket that is connected already,
    /// [`TcpStream::from_std`] makes one.
    ///
    /// # Cancel safety
    /// Dropped at any point, it closes every descriptor that it has opened.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, target: impl ToTarget) -> Result<TcpStream, ConnectError> {
        let target = target.to_target()?;
        let fail = |kind| ConnectError::new(target.to_string(), kind);
        let local = LocalLoop::current().map_err(|error| fail(ConnectErrorKind::NoLoop(error)))?;
        let progress = Progress::default();
        let connected = match self.timeout {
            None => self.find_and_connect(&local, &target, &progress).await,
            Some(limit) => {
                let within = self.find_and_connect(&local, &target, &progress);
                match rondel_loop::timeout(limit, within).await {
                    Ok(connected) => connected,
                    Err(_) => Err(ConnectErrorKind::TimedOut {
                        limit,
                        phase: progress.phase.get(),
                    }),
                }
            }
        };
        connected
            .map(|(registration, peer)| TcpStream::open(registration, Some(peer), Side::Connected))
            .map_err(|kind| {
                let addresses = progress.addresses.get();
                fail(kind).with_attempts(progress.into_attempts(), addresses)
            })
    }

    async fn find_and_connect(
        &self,
        local: &LocalLoop,
        target: &Target,
        progress: &Progress,
    ) -> Result<(Registration, SocketAddr), ConnectErrorKind> {
        let found = target.resolve(self.resolver.as_deref()).await;
        let mut addresses = found.map_err(ConnectErrorKind::Resolve)?;
        let count = addresses.len();
        addresses.retain(|address| self.may_use(address));
        if addresses.is_empty() {
            return Err(ConnectErrorKind::Unusable { found: count });
        }
        progress.phase.set(ConnectPhase::Connect);
        progress.addresses.set(addresses.len());
        if self.head_start.is_some() {
            addresses = happy_eyeballs::interleave(addresses);
        }
        let start = |peer| {
            let socket = attempt::open(peer, self.nodelay, &self.socket)?;
            Connecting::start(local, socket, peer, self.own_address(&peer))
        };
        Race::new(addresses, self.head_start, start, &progress.tried)
            .await
            .ok_or(ConnectErrorKind::Failed)
    }

    fn may_use(&self, address: &SocketAddr) -> bool {
        let binds = self.local_v4.is_some() || self.local_v6.is_some();
        match self.family {
            AddressFamily::V4 if address.is_ipv6() => return false,
            AddressFamily::V6 if address.is_ipv4() => return false,
            _ => {}
        }
        !binds || self.own_address(address).is_some()
    }

    /// What to bind to before connecting to `peer`.
    fn own_address(&self, peer: &SocketAddr) -> Option<SocketAddr> {
        match peer {
            SocketAddr::V4(_) => self.local_v4,
            SocketAddr::V6(_) => self.local_v6,
        }
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("timeout", &self.timeout)
            .field("happy_eyeballs_delay", &self.head_start)
            .field("family", &self.family)
            .field("local_v4", &self.local_v4)
            .field("local_v6", &self.local_v6)
            .field("nodelay", &self.nodelay)
            .field("socket", &self.socket)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
