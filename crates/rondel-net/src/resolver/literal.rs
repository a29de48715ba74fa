//! Addresses written out: nobody has to be asked what they mean.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

use super::error::ResolveError;

/// The address that `host` spells, with port 0; `None` if it is a name.
pub(super) fn parse(host: &str) -> Option<Result<SocketAddr, ResolveError>> {
    // As URLs have them, RFC 3986 3.2.2. No name begins like that.
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest
            .strip_suffix(']')
            // Not around an IPv4 address.
            .filter(|inner| inner.contains(':'))
            .and_then(parse_bare);
        return Some(address.unwrap_or_else(|| Err(ResolveError::invalid(host))));
    }
    parse_bare(host)
}

fn parse_bare(host: &str) -> Option<Result<SocketAddr, ResolveError>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(Ok(SocketAddr::new(ip, 0)));
    }
    let (ip, scope) = host.split_once('%')?;
    let ip = ip.parse::<Ipv6Addr>().ok()?;
    let address = match scope.parse::<u32>() {
        Ok(scope) => Ok(SocketAddrV6::new(ip, 0, 0, scope).into()),
        Err(_) => by_interface(host),
    };
    Some(address)
}

/// An address whose scope is the name of an interface. getaddrinfo knows these names; it takes text that begins like this for a
/// literal, and asks neither files nor servers (glibc, musl, BSD alike), so it may be called right here.
fn by_interface(host: &str) -> Result<SocketAddr, ResolveError> {
    match (host, 0).to_socket_addrs() {
        Ok(mut found) => found.next().ok_or_else(|| ResolveError::no_address(host)),
        Err(error) => Err(ResolveError::new(host, error)),
    }
}
