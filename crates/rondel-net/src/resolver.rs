//! Names to addresses: getaddrinfo, away from the loop.
//!
//! The system's own look-up knows `/etc/hosts`, search domains, mDNS and whatever else the machine is set up with, and it
//! blocks. So it runs in a few threads of its own, where a slow name server keeps nobody waiting but those who ask for names.

mod error;
mod literal;
mod name_info;
mod under_way;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rondel_executor::Waits;

pub use error::{ResolveError, ResolveErrorKind};
pub use name_info::{NameInfo, NameInfoError, NameInfoOptions, name_info};

use under_way::{Found, Shared, Ticket};

/// Looks up the addresses of `host` with the process's resolver, [`Resolver::system`], and gives each with `port`, in the order
/// in which getaddrinfo has them (RFC 6724: the most promising first), without duplicates. asyncio: `getaddrinfo`.
///
/// Literal addresses are answered at once, without a thread: IPv4 and IPv6, the latter also in brackets and with a scope
/// (`fe80::1%eth0`). There is no limit of time but the system's own; put a [`timeout`](rondel_loop::timeout) around it.
///
/// # Cancel safety
/// Dropped, it abandons the look-up: one that has not begun is taken back, one that has runs on for those who still wait for
/// it, or for nobody.
///
/// # Errors
/// [`ResolveError`], when awaited: the name is unknown, has no address, cannot be a name; or no thread could be started.
///
/// # Panics
/// When polled after it was ready. It needs no running loop.
///
/// ```
/// rondel_loop::run(async {
///     let addresses = rondel_net::resolve("::1", 80).await?;
///     assert_eq!(addresses, ["[::1]:80".parse().unwrap()]);
///     for address in rondel_net::resolve("localhost", 80).await? {
///         assert!(address.ip().is_loopback());
///     }
///     Ok::<(), rondel_net::ResolveError>(())
/// }).unwrap()?;
/// # Ok::<(), rondel_net::ResolveError>(())
/// ```
#[doc(alias = "getaddrinfo")]
#[doc(alias = "lookup_host")]
pub fn resolve(host: &str, port: u16) -> LookUp {
    Resolver::system().resolve(host, port)
}

/// What turns names into addresses, for [`ConnectOptions::resolver`](crate::ConnectOptions::resolver).
///
/// [`Resolver`] does, and so does every async closure of this shape: a table of your own, a DNS client, a test. It is not asked
/// about literal addresses.
///
/// ```
/// use rondel_net::{ConnectOptions, ResolveError};
///
/// let options = ConnectOptions::new().resolver(async |host: &str, port: u16| match host {
///     "db.internal" => Ok(vec![([127, 0, 0, 1], port).into()]),
///     other => rondel_net::resolve(other, port).await,
/// });
/// ```
pub trait Resolve {
    /// Looks up `host`; the addresses carry `port`, or whichever port the name stands for.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The future of [`Resolve::resolve`].
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, ResolveError>> + 'a>>;

impl<F> Resolve for F
where
    F: AsyncFn(&str, u16) -> Result<Vec<SocketAddr>, ResolveError>,
{
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(self(host, port))
    }
}

impl Resolve for Resolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(Self::resolve(self, host, port))
    }
}

/// Looks names up in at most four threads of its own, started when they are needed and ended when they have been idle for 10 s.
///
/// - Look-ups of the same name that are under way at the same time are one look-up, whatever the port and whichever loop
///   asks. Results are not kept beyond that: caching is the system's affair.
/// - A fifth name waits until a thread is free; in the order of asking.
/// - Nothing waits for a look-up to end, neither the loop when it closes nor the process when it exits.
/// - While a look-up is under way for a loop, that loop's virtual clock stands still.
///
/// Cheap to clone; all clones are the same resolver. May be used from any thread.
///
/// Not for many thousands of different names a second: that takes a DNS client, as a [`Resolve`] of your own.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

impl Resolver {
    /// The one that [`resolve`] and [`open_connection`](crate::open_connection) use, the same in the whole process: so is what
    /// it asks, the system's configuration.
    pub fn system() -> Self {
        static SYSTEM: OnceLock<Resolver> = OnceLock::new();
        SYSTEM.get_or_init(Self::new).clone()
    }

    /// A resolver beside the process's own, with threads of its own: for names that are known to take long, perhaps.
    pub fn new() -> Self {
        Self::from_blocking(getaddrinfo)
    }

    /// A resolver that calls `look_up` in its threads instead of getaddrinfo. It may block; the ports of the addresses it gives
    /// are not heeded. If it panics, those who wait get [`ResolveErrorKind::Panicked`].
    ///
    /// ```
    /// use rondel_net::Resolver;
    /// use std::{io, net::SocketAddr};
    ///
    /// let resolver = Resolver::from_blocking(|name| match name {
    ///     "printer" => Ok(vec![SocketAddr::from(([192, 0, 2, 7], 0))]),
    ///     _ => Err(io::Error::new(io::ErrorKind::NotFound, "not in our table")),
    /// });
    /// rondel_loop::run(async {
    ///     assert_eq!(resolver.resolve("printer", 631).await.unwrap(), ["192.0.2.7:631".parse().unwrap()]);
    ///     let error = resolver.resolve("scanner", 631).await.unwrap_err();
    ///     assert_eq!(error.to_string(), "resolve scanner: not in our table");
    /// }).unwrap();
    /// ```
    pub fn from_blocking<F>(look_up: F) -> Self
    where
        F: Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    {
        Self {
            shared: Arc::new(Shared::new(Box::new(look_up))),
        }
    }

    /// Looks up the addresses of `host`; see [`resolve`](fn@resolve). The look-up begins when the future is first polled.
    pub fn resolve(&self, host: &str, port: u16) -> LookUp {
        let progress = match literal::parse(host) {
            Some(answer) => Progress::Answered(answer),
            None if host.contains('\0') => Progress::Answered(Err(ResolveError::invalid(host))),
            None => Progress::Created(Arc::clone(&self.shared), host.into()),
        };
        LookUp { port, progress }
    }

    /// How many of its threads are alive.
    pub fn threads(&self) -> usize {
        self.shared.threads()
    }

    /// How many names are being looked up, or wait for a thread.
    pub fn under_way(&self) -> usize {
        self.shared.len()
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("threads", &self.threads())
            .field("under_way", &self.under_way())
            .finish_non_exhaustive()
    }
}

/// The standard library's getaddrinfo: stream sockets, any family, no service.
fn getaddrinfo(host: &str) -> io::Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
    Ok((host, 0).to_socket_addrs()?.collect())
}

/// The addresses of a name, when they are known; the future of [`resolve`](fn@resolve) and [`Resolver::resolve`].
#[must_use = "futures do nothing unless awaited"]
pub struct LookUp {
    port: u16,
    progress: Progress,
}

impl LookUp {
    /// Whether nobody has to be asked: the host is a literal address, or nothing that could be looked up.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.progress, Progress::Answered(_))
    }
}

enum Progress {
    /// Nobody had to be asked.
    Answered(Result<SocketAddr, ResolveError>),
    Created(Arc<Shared>, Arc<str>),
    Waiting(Ticket),
    Done,
}

impl Future for LookUp {
    type Output = Result<Vec<SocketAddr>, ResolveError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Progress::Created(shared, host) = &self.progress {
            let ticket = Shared::join(shared, host, cx.waker());
            self.progress = Progress::Waiting(ticket);
        }
        let found: Found = match &self.progress {
            Progress::Waiting(ticket) => match ticket.poll(cx.waker()) {
                Poll::Ready(found) => found,
                Poll::Pending => {
                    Waits::NAME.label(0);
                    return Poll::Pending;
                }
            },
            Progress::Answered(Ok(address)) => Ok(Arc::new([*address])),
            Progress::Answered(Err(error)) => Err(error.clone()),
            Progress::Created(..) | Progress::Done => panic!("`LookUp` polled after it was ready"),
        };
        self.progress = Progress::Done;
        Poll::Ready(found.map(|addresses| with_port(&addresses, self.port)))
    }
}

/// The addresses with their port, each once.
fn with_port(addresses: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    let mut distinct = Vec::with_capacity(addresses.len());
    for &(mut address) in addresses {
        address.set_port(port);
        // A name has few addresses.
        if !distinct.contains(&address) {
            distinct.push(address);
        }
    }
    distinct
}

impl fmt::Debug for LookUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host: &dyn fmt::Debug = match &self.progress {
            Progress::Answered(answer) => answer,
            Progress::Created(_, host) => host,
            Progress::Waiting(ticket) => ticket,
            Progress::Done => &"done",
        };
        f.debug_struct("LookUp")
            .field("host", host)
            .field("port", &self.port)
            .finish()
    }
}
