//! Pipes: one direction each, for what was opened elsewhere and for a child's standard streams.
//!
//! A pipe's calls are not a socket's, and it knows neither halves nor resets; so it has a small engine of its own, a
//! [`source`] and a [`sink`], with the same rules: try first, accept writes whole, let others have their turn.

mod adopt;
mod calls;
mod held;
pub(crate) mod reader;
mod sink;
mod source;
pub(crate) mod writer;

use std::io;
use std::os::fd::OwnedFd;

use rondel_loop::LocalLoop;

pub use adopt::NotAPipe;
pub use reader::PipeReader;
pub use writer::PipeWriter;

#[cfg(feature = "process")]
pub(crate) use calls::Calls;

use crate::engine::Peer;
use adopt::{Direction, adopt};
use sink::Sink;
use source::Source;

/// Takes over the reading end of a pipe, a socket or a character device (a terminal, one side of a pty). asyncio:
/// `connect_read_pipe`.
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
/// let mut reader = rondel_net::connect_read_pipe(theirs)?;
/// std::io::Write::write_all(&mut ours, b"one\ntwo")?;
/// drop(ours);
/// assert_eq!(reader.read_line().await?, b"one\n");
/// assert_eq!(reader.read_to_end(100).await?, b"two");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub fn connect_read_pipe(fd: impl Into<OwnedFd>) -> io::Result<PipeReader> {
    let local = current()?;
    let (registration, calls) = adopt(&local, fd.into(), Direction::Read)?;
    let source = Source::new(registration, calls, Peer::Named("a pipe".into()));
    Ok(PipeReader::new(source))
}

/// Takes over the writing end of a pipe, a socket or a character device; all else as with [`connect_read_pipe`]. asyncio:
/// `connect_write_pipe`.
///
/// # Errors
/// As [`connect_read_pipe`].
///
/// ```
/// # rondel_loop::run(async {
/// let (ours, theirs) = std::io::pipe()?;
/// let writer = rondel_net::connect_write_pipe(theirs)?;
/// writer.write_all(b"hello").await?;
/// drop(writer);
/// assert_eq!(std::io::read_to_string(ours)?, "hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub fn connect_write_pipe(fd: impl Into<OwnedFd>) -> io::Result<PipeWriter> {
    let local = current()?;
    let (registration, calls) = adopt(&local, fd.into(), Direction::Write)?;
    let sink = Sink::new(registration, calls, Peer::Named("a pipe".into()));
    Ok(PipeWriter::new(sink))
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
    Ok(PipeReader::new(Source::new(registration, calls, peer)))
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
    Ok(PipeWriter::new(Sink::new(registration, calls, peer)))
}

fn current() -> io::Result<LocalLoop> {
    LocalLoop::current().map_err(io::Error::other)
}
