//! Addresses to names: getnameinfo, away from the loop.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use rondel_executor::ThreadPool;
use rondel_loop::run_in_executor;

/// What an address is called; see [`name_info`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameInfo {
    /// The name of the host, or its address in figures if it has none.
    pub host: String,
    /// The name of the service at that port, or the port in figures.
    pub service: String,
}

/// How an address is to be named; see getnameinfo(3) for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameInfoOptions {
    numeric_host: bool,
    numeric_service: bool,
    name_required: bool,
    datagram: bool,
    no_domain: bool,
}

impl NameInfoOptions {
    /// Names where there are some, figures elsewhere.
    pub fn new() -> Self {
        Self::default()
    }

    /// The address in figures: nobody is asked for its name. Default: no. `NI_NUMERICHOST`.
    #[must_use]
    pub fn numeric_host(mut self, numeric: bool) -> Self {
        self.numeric_host = numeric;
        self
    }

    /// The port in figures. Default: no. `NI_NUMERICSERV`.
    #[must_use]
    pub fn numeric_service(mut self, numeric: bool) -> Self {
        self.numeric_service = numeric;
        self
    }

    /// A host without a name is an error. Default: no. `NI_NAMEREQD`.
    #[must_use]
    pub fn name_required(mut self, required: bool) -> Self {
        self.name_required = required;
        self
    }

    /// The service is one of UDP, for the few ports where it has another name there. Default: TCP. `NI_DGRAM`.
    #[must_use]
    pub fn datagram(mut self, datagram: bool) -> Self {
        self.datagram = datagram;
        self
    }

    /// Hosts of the own domain without it. Default: no. `NI_NOFQDN`.
    #[must_use]
    pub fn no_domain(mut self, without: bool) -> Self {
        self.no_domain = without;
        self
    }

    fn flags(self) -> i32 {
        [
            (self.numeric_host, libc::NI_NUMERICHOST),
            (self.numeric_service, libc::NI_NUMERICSERV),
            (self.name_required, libc::NI_NAMEREQD),
            (self.datagram, libc::NI_DGRAM),
            (self.no_domain, libc::NI_NOFQDN),
        ]
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |flags, (_, flag)| flags | flag)
    }
}

/// An address has no name, or could not be asked for it.
#[derive(Debug)]
pub struct NameInfoError {
    address: SocketAddr,
    source: io::Error,
}

impl NameInfoError {
    /// The address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for NameInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "name {}: {}", self.address, self.source)
    }
}

impl Error for NameInfoError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Asks for the name of an address, and of the service at its port: getnameinfo(3). asyncio: `getnameinfo`.
///
/// It runs in at most two threads of its own, since name servers may be slow; one that only wants figures asks nobody, but is not
/// quicker than formatting the address. There is no limit of time but the system's own; put a [`timeout`](rondel_loop::timeout) around
/// it. While it is under way, a virtual clock stands still.
///
/// # Cancel safety
/// Dropped, it lets the look-up run to its end for nobody, or takes it back if it has not begun.
///
/// # Errors
/// [`NameInfoError`]: no name where one [is required](NameInfoOptions::name_required), a name server that does not answer, no thread.
///
/// # Panics
/// If no loop is running on this thread.
///
/// ```
/// use rondel_net::{NameInfoOptions, name_info};
///
/// rondel_loop::run(async {
///     let address = "127.0.0.1:80".parse().unwrap();
///     let figures = NameInfoOptions::new().numeric_host(true).numeric_service(true);
///     let info = name_info(address, figures).await?;
///     assert_eq!((&*info.host, &*info.service), ("127.0.0.1", "80"));
///     Ok::<(), rondel_net::NameInfoError>(())
/// }).unwrap()?;
/// # Ok::<(), rondel_net::NameInfoError>(())
/// ```
#[doc(alias = "getnameinfo")]
pub async fn name_info(
    address: SocketAddr,
    options: NameInfoOptions,
) -> Result<NameInfo, NameInfoError> {
    let failed = |source| NameInfoError { address, source };
    let flags = options.flags();
    let asked = run_in_executor(Some(pool()), move || {
        dns_lookup::getnameinfo(&address, flags).map_err(io::Error::from)
    });
    let named = asked.map_err(failed)?.await;
    let (host, service) = named
        .map_err(|error| failed(io::Error::other(error)))?
        .map_err(failed)?;
    Ok(NameInfo { host, service })
}

/// The threads that ask, the same in the whole process.
fn pool() -> &'static ThreadPool {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| {
        ThreadPool::builder()
            .threads(2)
            .name("rondel-names")
            .idle_timeout(Some(Duration::from_secs(10)))
            .build()
    })
}
