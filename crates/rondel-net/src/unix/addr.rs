//! [`ToUnixAddr`]: paths and abstract names.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::net::{SocketAddrAny, SocketAddrUnix};

/// Where a Unix socket is: a path, or, on Linux, an abstract name, which is written as in asyncio with a NUL in front:
/// `"\0name"`. An abstract name is in no folder, and is gone with the last socket that has it.
///
/// ```
/// use rondel_net::ToUnixAddr;
///
/// let addr = "/run/echo.sock".to_unix_addr()?;
/// assert_eq!(addr.as_pathname(), Some("/run/echo.sock".as_ref()));
/// # #[cfg(target_os = "linux")]
/// assert!("\0echo".to_unix_addr()?.as_pathname().is_none());
/// assert!("x".repeat(200).to_unix_addr().is_err()); // some 100 bytes is what the system allows
/// # Ok::<(), std::io::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no Unix socket",
    note = "give a path, or a string that begins with `\\0` for an abstract name"
)]
pub trait ToUnixAddr {
    /// The address.
    ///
    /// # Errors
    /// `InvalidInput` for what is too long or has a NUL in the middle; `Unsupported` for abstract names where there are none.
    fn to_unix_addr(&self) -> io::Result<SocketAddr>;
}

impl ToUnixAddr for SocketAddr {
    fn to_unix_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.clone())
    }
}

impl ToUnixAddr for OsStr {
    fn to_unix_addr(&self) -> io::Result<SocketAddr> {
        match self.as_bytes() {
            [0, name @ ..] => abstract_name(name),
            [] => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path of a Unix socket is empty",
            )),
            _ => SocketAddr::from_pathname(self),
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name)
}

#[cfg(target_os = "android")]
fn abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::android::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_name(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system has no abstract names for Unix sockets",
    ))
}

macro_rules! like_os_str {
    ($($kind:ty),*) => {$(
        impl ToUnixAddr for $kind {
            fn to_unix_addr(&self) -> io::Result<SocketAddr> {
                AsRef::<OsStr>::as_ref(self).to_unix_addr()
            }
        }
    )*};
}

like_os_str!(str, String, OsString, Path, PathBuf);

impl<A: ToUnixAddr + ?Sized> ToUnixAddr for &A {
    fn to_unix_addr(&self) -> io::Result<SocketAddr> {
        (**self).to_unix_addr()
    }
}

/// The same address, as `rustix` has it.
pub(super) fn to_rustix(addr: &SocketAddr) -> io::Result<SocketAddrUnix> {
    if let Some(path) = addr.as_pathname() {
        return Ok(SocketAddrUnix::new(path)?);
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;

        if let Some(name) = addr.as_abstract_name() {
            return Ok(SocketAddrUnix::new_abstract_name(name)?);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "a Unix socket without a name is nowhere",
    ))
}

/// The same address, as the standard library has it: without a name, if it has none that there is a type for.
pub(super) fn from_any(addr: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    let unnamed = || SocketAddr::from_pathname("");
    // A path may fill all of the address, with the NUL behind it: the standard library has no such addresses, and `rustix`
    // expects none.
    let is_known =
        |addr: &SocketAddrAny| addr.addr_len() as usize <= size_of::<libc::sockaddr_un>();
    let Some(addr) = addr.filter(is_known) else {
        return unnamed();
    };
    let addr = SocketAddrUnix::try_from(addr)?;
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;

        // `rustix` makes an empty one of none.
        if let Some(name) = addr.abstract_name()
            && !name.is_empty()
        {
            return SocketAddr::from_abstract_name(name);
        }
    }
    match addr.path() {
        Some(path) => SocketAddr::from_pathname(OsStr::from_bytes(path.to_bytes())),
        None => unnamed(),
    }
}

/// What an address is called in reports.
pub(super) fn name_of(addr: &SocketAddr) -> String {
    match addr.as_pathname() {
        Some(path) => path.display().to_string(),
        None if addr.is_unnamed() => "an unnamed Unix socket".into(),
        None => format!("{addr:?}"),
    }
}

/// An error with what was attempted, on what.
pub(super) fn failed(doing: &str, addr: &SocketAddr, error: io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        Failed {
            what: format!("{doing} {}", name_of(addr)),
            error,
        },
    )
}

#[derive(Debug)]
struct Failed {
    what: String,
    error: io::Error,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
