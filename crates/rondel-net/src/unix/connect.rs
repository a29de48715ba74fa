//! Connecting to a Unix socket.

use std::io;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use rondel_loop::{LocalLoop, Registration, SourceKind};
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use crate::engine::{Connection, Handles, Side};
use crate::peer::Peer;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::Transport;
use crate::transport::endpoint::begin;
use crate::transport::kind::AnyProtocol;
use crate::transport::protocol_ref::ProtocolRef;
use crate::unix::addr::{ToUnixAddr, failed, name_of};
use crate::unix::listener::to_sock_addr;
use crate::unix::stream::{UnixStream, prepare};

/// How long to wait before a backlog that was full is tried again: at first, and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(64));

/// Connects to a Unix socket and gives a reader and a writer. asyncio: `open_unix_connection`.
///
/// If as many connections wait there as its backlog holds, it waits, too, and tries again; set a limit with
/// [`timeout`](rondel_loop::timeout()).
///
/// # Errors
/// What the system says, with the address: `NotFound`, `ConnectionRefused` if nobody listens there, `PermissionDenied`.
/// `InvalidInput` for what cannot be an address; `Unsupported` under a virtual clock; and if no loop is running on this thread.
///
/// # Cancel safety
/// Dropped, it leaves nothing open.
///
/// ```
/// use rondel_net::{open_unix_connection, start_unix_server};
///
/// # let folder = std::env::temp_dir().join(format!("rondel-doc-open-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # rondel_loop::run(async {
/// let path = folder.join("time.sock");
/// let server = start_unix_server(
///     async |_reader, writer| writer.write_all(b"half past two\n").await,
///     &path,
/// )?;
/// let (mut reader, _writer) = open_unix_connection(&path).await?;
/// assert_eq!(reader.read_line().await?, b"half past two\n");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap()?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn open_unix_connection(
    addr: impl ToUnixAddr,
) -> io::Result<(StreamReader, StreamWriter)> {
    Ok(UnixStream::connect(addr).await?.into_split())
}

/// Connects to a Unix socket and has a protocol called with what the connection brings. asyncio: `create_unix_connection`.
///
/// The protocol's [`connection_made`](crate::Protocol::connection_made) is called before this returns.
///
/// # Errors
/// As [`open_unix_connection`].
///
/// # Cancel safety
/// As [`open_unix_connection`].
pub async fn create_unix_connection<P: AnyProtocol<Kind>, Kind: 'static>(
    factory: impl FnOnce() -> P,
    addr: impl ToUnixAddr,
) -> io::Result<(Transport, ProtocolRef<P>)> {
    let stream = UnixStream::connect(addr).await?;
    Ok(begin(stream.into_handles(), factory()))
}

impl UnixStream {
    /// Connects to a Unix socket; see [`open_unix_connection`].
    ///
    /// # Errors
    /// As [`open_unix_connection`].
    ///
    /// # Cancel safety
    /// Dropped, it leaves nothing open.
    pub async fn connect(addr: impl ToUnixAddr) -> io::Result<Self> {
        let addr = addr.to_unix_addr()?;
        match connect(&addr).await {
            Ok(handles) => Ok(Self::new(handles)),
            Err(error) => Err(failed("connecting to", &addr, error)),
        }
    }
}

async fn connect(addr: &SocketAddr) -> io::Result<Handles> {
    let local = LocalLoop::current().map_err(io::Error::other)?;
    let target = to_sock_addr(addr)?;
    let (mut pause, longest) = PATIENCE;
    let registration = loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        prepare(&socket)?;
        match socket.connect(&target) {
            Ok(()) => break register(&local, socket)?,
            // The backlog is full, and nothing tells when it is not (Linux, unix(7)).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                drop(socket);
                rondel_loop::sleep(pause).await;
                pause = longest.min(pause * 2);
            }
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
                let registration = register(&local, socket)?;
                finish(&registration).await?;
                break registration;
            }
            Err(error) => return Err(error),
        }
    };
    Ok(Connection::open(
        registration,
        Peer::named(name_of(addr)),
        Side::Connected,
    ))
}

fn register(local: &LocalLoop, socket: Socket) -> io::Result<Registration> {
    // Whoever listens may send descriptors along, at which a receive ends, however much follows.
    local.register(socket.into(), SourceKind::Other)
}

/// Waits until connecting is over.
async fn finish(registration: &Registration) -> io::Result<()> {
    let mut waited = false;
    registration
        .write_with(|fd| {
            if !std::mem::replace(&mut waited, true) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            match SockRef::from(&fd).take_error()? {
                None => Ok(()),
                Some(error) => Err(error),
            }
        })
        .await
}
