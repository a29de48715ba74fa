//! What to connect to: a host and a port, or addresses.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::resolver::{Resolve, ResolveError, Resolver};

/// Where a connection leads, or where a server listens: a host and a port, or addresses.
///
/// Made by [`ToTarget`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target(Place);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Host { host: String, port: u16 },
    Addresses(Vec<SocketAddr>),
}

impl Target {
    /// A host, by name or literal address, and a port. Nothing is checked or looked up yet.
    pub fn host(host: impl Into<String>, port: u16) -> Self {
        Self(Place::Host {
            host: host.into(),
            port,
        })
    }

    /// One or several addresses, in the order in which they are to be tried.
    ///
    /// # Errors
    /// [`TargetErrorKind::NoAddresses`].
    pub fn addresses(addresses: impl Into<Vec<SocketAddr>>) -> Result<Self, TargetError> {
        let addresses = addresses.into();
        if addresses.is_empty() {
            return Err(TargetError::new("", TargetErrorKind::NoAddresses));
        }
        Ok(Self(Place::Addresses(addresses)))
    }

    /// The host, if it is one.
    #[cfg(feature = "tls-core")]
    pub(crate) fn host_name(&self) -> Option<&str> {
        match &self.0 {
            Place::Host { host, .. } => Some(host),
            Place::Addresses(_) => None,
        }
    }

    /// Its addresses; a name is looked up by `resolver`, or the process's own. Literal addresses are not.
    pub(crate) async fn resolve(
        &self,
        resolver: Option<&dyn Resolve>,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let (host, port) = match &self.0 {
            Place::Addresses(addresses) => return Ok(addresses.clone()),
            Place::Host { host, port } => (host, *port),
        };
        let look_up = Resolver::system().resolve(host, port);
        let addresses = match resolver {
            Some(resolver) if !look_up.is_answered() => resolver.resolve(host, port).await?,
            _ => look_up.await?,
        };
        if addresses.is_empty() {
            return Err(ResolveError::no_address(host));
        }
        Ok(addresses)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Host { host, port } if host.contains(':') && !host.starts_with('[') => {
                write!(f, "[{host}]:{port}")
            }
            Place::Host { host, port } => write!(f, "{host}:{port}"),
            Place::Addresses(addresses) => match &**addresses {
                [address] => address.fmt(f),
                several => write!(f, "any of {} addresses", several.len()),
            },
        }
    }
}

/// What can be connected to.
///
/// | | |
/// | --- | --- |
/// | `("example.com", 80)` | host and port; the host may be a literal address, IPv6 without brackets and with a scope |
/// | `"example.com:80"`, `"[::1]:80"` | the same in one; a `String`, too |
/// | `SocketAddr`, `(IpAddr, u16)` and their kin | an address |
/// | slices, arrays, vectors of `SocketAddr` | several, of which one will do |
#[diagnostic::on_unimplemented(
    message = "`{Self}` says neither host and port nor an address",
    label = "this cannot be connected to, nor listened at",
    note = "write `(\"localhost\", 8080)`, `\"localhost:8080\"`, or give a `SocketAddr`"
)]
pub trait ToTarget {
    /// What it means.
    ///
    /// # Errors
    /// [`TargetError`] if it means nothing.
    fn to_target(&self) -> Result<Target, TargetError>;
}

/// What was given is no host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    input: String,
    kind: TargetErrorKind,
}

/// What is wrong with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetErrorKind {
    /// There is no host.
    NoHost,
    /// There is no port.
    NoPort,
    /// The port is not a number from 0 to 65535. Names of services are not looked up.
    InvalidPort,
    /// An IPv6 address without brackets, so that its end cannot be told from the port; or brackets around something else.
    InvalidBrackets,
    /// An empty list.
    NoAddresses,
}

impl TargetError {
    fn new(input: &str, kind: TargetErrorKind) -> Self {
        Self {
            input: input.to_owned(),
            kind,
        }
    }

    /// What was given.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// What is wrong with it.
    pub fn kind(&self) -> TargetErrorKind {
        self.kind
    }

    pub(super) fn reason(&self) -> &'static str {
        match self.kind {
            TargetErrorKind::NoHost => "there is no host; write host:port",
            TargetErrorKind::NoPort => "there is no port; write host:port",
            TargetErrorKind::InvalidPort => "the port is not a number from 0 to 65535",
            TargetErrorKind::InvalidBrackets => {
                "an IPv6 address, and nothing else, is written in brackets: [::1]:80"
            }
            TargetErrorKind::NoAddresses => "the list of addresses is empty",
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.input, self.reason())
    }
}

impl Error for TargetError {}

impl ToTarget for str {
    fn to_target(&self) -> Result<Target, TargetError> {
        let wrong = |kind| TargetError::new(self, kind);
        let (host, port) = match self.strip_prefix('[') {
            Some(rest) => {
                let (inner, port) = rest
                    .split_once(']')
                    .filter(|(inner, _)| inner.contains(':'))
                    .ok_or_else(|| wrong(TargetErrorKind::InvalidBrackets))?;
                (inner, port.strip_prefix(':'))
            }
            None => match self.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return Err(wrong(TargetErrorKind::InvalidBrackets));
                }
                Some((host, port)) => (host, Some(port)),
                None => (self, None),
            },
        };
        if host.is_empty() {
            return Err(wrong(TargetErrorKind::NoHost));
        }
        let port = port.ok_or_else(|| wrong(TargetErrorKind::NoPort))?;
        // `parse` alone would take a sign.
        let port = Some(port)
            .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| wrong(TargetErrorKind::InvalidPort))?;
        Ok(Target::host(host, port))
    }
}

impl ToTarget for String {
    fn to_target(&self) -> Result<Target, TargetError> {
        self.as_str().to_target()
    }
}

impl ToTarget for (&str, u16) {
    fn to_target(&self) -> Result<Target, TargetError> {
        Ok(Target::host(self.0, self.1))
    }
}

impl ToTarget for (String, u16) {
    fn to_target(&self) -> Result<Target, TargetError> {
        Ok(Target::host(&*self.0, self.1))
    }
}

impl ToTarget for Target {
    fn to_target(&self) -> Result<Target, TargetError> {
        Ok(self.clone())
    }
}

impl ToTarget for [SocketAddr] {
    fn to_target(&self) -> Result<Target, TargetError> {
        Target::addresses(self)
    }
}

impl<const N: usize> ToTarget for [SocketAddr; N] {
    fn to_target(&self) -> Result<Target, TargetError> {
        Target::addresses(*self)
    }
}

impl ToTarget for Vec<SocketAddr> {
    fn to_target(&self) -> Result<Target, TargetError> {
        Target::addresses(&**self)
    }
}

impl<T: ToTarget + ?Sized> ToTarget for &T {
    fn to_target(&self) -> Result<Target, TargetError> {
        (**self).to_target()
    }
}

/// One address, in the forms that the standard library has for it.
macro_rules! address {
    ($($form:ty),*) => {$(
        impl ToTarget for $form {
            fn to_target(&self) -> Result<Target, TargetError> {
                Target::addresses([SocketAddr::from(*self)])
            }
        }
    )*};
}

address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);
