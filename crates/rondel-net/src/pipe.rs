//! Pipes: one direction each, for what was opened elsewhere and for a child's standard streams.
//!
//! They are connections that go one way. What differs is which calls their descriptors want, which the engine knows.

mod adopt;

use std::io;
use std::os::fd::OwnedFd;

use rondel_loop::LocalLoop;

pub use adopt::NotAPipe;

#[cfg(feature = "process")]
use crate::engine::Calls;
use crate::engine::{Connection, Handle};
use crate::peer::Peer;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::Transport;
use crate::transport::endpoint::begin_one_way;
use crate::transport::kind::AnyProtocol;
use crate::transport::protocol_ref::ProtocolRef;
use adopt::{Direction, adopt};

/// What reads a pipe: standard output or error of a [`Child`](crate::Child), or what [`open_read_pipe`] has taken over.
///
/// Dropped, the end is closed; whoever writes to the pipe sees it as broken.
pub type PipeReader = StreamReader;

/// What writes to a pipe: standard input of a [`Child`](crate::Child), or what [`open_write_pipe`] has taken over.
///
/// Whoever reads the pipe sees its end when this is closed, which [`write_eof`](StreamWriter::write_eof) does, too. Dropped, it
/// sends what the pipe takes at that moment, and closes: a pipe knows no reset, which would tell its reader that something is
/// missing, so flush what must arrive whole. That nobody reads it any more is noticed by writing (`BrokenPipe`).
pub type PipeWriter = StreamWriter;

/// Takes over the reading end of a pipe, a socket or a character device (a terminal, one side of a pty), to be read as a stream.
/// asyncio: `connect_read_pipe` with a `StreamReaderProtocol`.
///
/// The descriptor need not be non-blocking, and nothing else that shares it becomes so: a pipe or terminal is opened anew
/// where the system can (Linux: by way of `/proc/self/fd`), so that standard input can be handed over without leaving
/// the shell's terminal non-blocking; sockets are asked not to wait call by call. Where a pipe cannot be opened anew (there is
/// no `/proc`, or it belongs to somebody else), the flag is set on the pipe itself, and others who share this very end
/// see it; a terminal is refused then. One that is non-blocking already is taken as it is.
///
/// # Errors
/// `InvalidInput` with [`NotAPipe`] for files, folders and block devices, and if it is not open for reading; `PermissionDenied`
/// for devices that cannot be waited for, such as `/dev/null`; `Unsupported` under a virtual clock; and if no loop is running
/// on this thread. The descriptor is closed then.
///
/// ```
/// # rondel_loop::run(async {
/// let (theirs, mut ours) = std::io::pipe()?;
/// let mut reader = rondel_net::open_read_pipe(theirs)?;
/// std::io::Write::write_all(&mut ours, b"one\ntwo")?;
/// drop(ours);
/// assert_eq!(reader.read_line().await?, b"one\n");
/// assert_eq!(reader.read_to_end(100).await?, b"two");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub fn open_read_pipe(fd: impl Into<OwnedFd>) -> io::Result<PipeReader> {
    Ok(StreamReader::new(take_over(fd.into(), Direction::Read)?))
}

/// Takes over the writing end of a pipe, a socket or a character device; all else as with [`open_read_pipe`]. asyncio:
/// `connect_write_pipe`, of which a `StreamWriter` is made.
///
/// # Errors
/// As [`open_read_pipe`].
///
/// ```
/// # rondel_loop::run(async {
/// let (ours, theirs) = std::io::pipe()?;
/// let writer = rondel_net::open_write_pipe(theirs)?;
/// writer.write_all(b"hello").await?;
/// drop(writer);
/// assert_eq!(std::io::read_to_string(ours)?, "hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub fn open_write_pipe(fd: impl Into<OwnedFd>) -> io::Result<PipeWriter> {
    Ok(StreamWriter::new(take_over(fd.into(), Direction::Write)?))
}

/// Takes over the reading end of a pipe, and has a protocol called with what comes out of it. asyncio: `connect_read_pipe`.
///
/// What can be taken over, and what becomes of it, [`open_read_pipe`] says. The protocol's
/// [`connection_made`](crate::Protocol::connection_made) is called before this returns. When everybody has closed the other end,
/// [`eof_received`](crate::Protocol::eof_received) is called, and then [`connection_lost`](crate::Protocol::connection_lost)
/// whatever it returns: there is nothing else to be done with the pipe. Nothing can be written to the transport
/// ([`WriteError::Finished`](crate::WriteError::Finished)).
///
/// # Errors
/// As [`open_read_pipe`]; the factory is not called then.
///
/// ```
/// use rondel_net::{Protocol, Transport, connect_read_pipe};
///
/// #[derive(Default)]
/// struct Collect(Vec<u8>);
///
/// impl Protocol for Collect {
///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
///         self.0.extend_from_slice(data);
///     }
/// }
///
/// # rondel_loop::run(async {
/// let (theirs, mut ours) = std::io::pipe()?;
/// let (transport, collected) = connect_read_pipe(Collect::default, theirs)?;
/// std::io::Write::write_all(&mut ours, b"all there is")?;
/// drop(ours);
/// transport.wait_closed().await?;
/// collected.with(|collected, _| assert_eq!(collected.0, b"all there is"))?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub fn connect_read_pipe<P: AnyProtocol<Kind>, Kind: 'static>(
    factory: impl FnOnce() -> P,
    fd: impl Into<OwnedFd>,
) -> io::Result<(Transport, ProtocolRef<P>)> {
    let handle = take_over(fd.into(), Direction::Read)?;
    Ok(begin_one_way(handle, factory()))
}

/// Takes over the writing end of a pipe, for a protocol that writes to it. asyncio: `connect_write_pipe`.
///
/// All is as with [`connect_read_pipe`], but that nothing is received. The protocol is told when it is to
/// [pause](crate::Protocol::pause_writing) and to [resume](crate::Protocol::resume_writing), and, as soon as nobody reads a pipe
/// or a socket any more, that it is [lost](crate::Protocol::connection_lost): with `BrokenPipe` if something was queued, else
/// without an error. Of a terminal, only writing says so. [`write_eof`](Transport::write_eof) is a
/// [`close`](Transport::close).
///
/// # Errors
/// As [`connect_read_pipe`].
///
/// ```
/// use rondel_net::{Protocol, Transport, connect_write_pipe};
///
/// struct Greet;
///
/// impl Protocol for Greet {
///     fn connection_made(&mut self, transport: &Transport) {
///         let _ = transport.write(b"hello");
///         transport.close();
///     }
/// }
///
/// # rondel_loop::run(async {
/// let (ours, theirs) = std::io::pipe()?;
/// let (transport, _protocol) = connect_write_pipe(|| Greet, theirs)?;
/// transport.wait_closed().await?;
/// assert_eq!(std::io::read_to_string(ours)?, "hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub fn connect_write_pipe<P: AnyProtocol<Kind>, Kind: 'static>(
    factory: impl FnOnce() -> P,
    fd: impl Into<OwnedFd>,
) -> io::Result<(Transport, ProtocolRef<P>)> {
    let handle = take_over(fd.into(), Direction::Write)?;
    Ok(begin_one_way(handle, factory()))
}

fn take_over(fd: OwnedFd, direction: Direction) -> io::Result<Handle> {
    let local = LocalLoop::current().map_err(io::Error::other)?;
    let (registration, calls) = adopt(&local, fd, direction)?;
    let peer = Peer::named("a pipe".to_owned());
    Ok(match direction {
        Direction::Read => Connection::open_in(registration, calls, peer),
        Direction::Write => Connection::open_out(registration, calls, peer),
    })
}

/// Takes over an end that is this process's own and non-blocking.
#[cfg(feature = "process")]
pub(crate) fn own_reader(
    local: &LocalLoop,
    fd: OwnedFd,
    calls: Calls,
    peer: Peer,
) -> io::Result<PipeReader> {
    let registration = local.register(fd, rondel_loop::SourceKind::Other)?;
    let handle = Connection::open_in(registration, calls, peer);
    Ok(StreamReader::new(handle))
}

/// The same for writing.
#[cfg(feature = "process")]
pub(crate) fn own_writer(
    local: &LocalLoop,
    fd: OwnedFd,
    calls: Calls,
    peer: Peer,
) -> io::Result<PipeWriter> {
    let registration = local.register(fd, rondel_loop::SourceKind::Other)?;
    let handle = Connection::open_out(registration, calls, peer);
    Ok(StreamWriter::new(handle))
}
