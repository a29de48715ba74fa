//! Pseudo-terminals for children that want one.

use std::io;
use std::os::fd::OwnedFd;

use rondel_loop::LocalLoop;
use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::engine::Calls;
use crate::peer::Peer;
use crate::pipe::{PipeReader, PipeWriter, own_reader, own_writer};

/// The controlling side of a child's pseudo-terminal; see [`Stdio::pty`](crate::Stdio::pty).
///
/// What the child prints, and the terminal's echo of what is written to it, is read as from a terminal: lines end in `\r\n`.
/// The terminal is hung up when both are dropped. The end of reading is that no process has the terminal open any more.
#[derive(Debug)]
#[non_exhaustive]
pub struct Pty {
    /// What the terminal shows.
    pub reader: PipeReader,
    /// What is typed. `b"\x04"` at the beginning of a line is an end, `b"\x03"` an interrupt.
    pub writer: PipeWriter,
}

#[cfg(target_os = "linux")]
const FLAGS: OpenptFlags = OpenptFlags::RDWR
    .union(OpenptFlags::NOCTTY)
    .union(OpenptFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY);

/// Both sides, the child's second.
pub(super) fn open(
    local: &LocalLoop,
    peer: impl Fn() -> Peer,
    (rows, columns): (u16, u16),
) -> io::Result<(Pty, OwnedFd)> {
    let ours = rustix::pty::openpt(FLAGS)?;
    #[cfg(not(target_os = "linux"))]
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let theirs = other_side(&ours)?;
    rustix::termios::tcsetwinsize(
        &theirs,
        Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )?;
    let status = rustix::fs::fcntl_getfl(&ours)?;
    rustix::fs::fcntl_setfl(&ours, status | OFlags::NONBLOCK)?;
    let writer = own_writer(local, ours.try_clone()?, Calls::Master, peer())?;
    let reader = own_reader(local, ours, Calls::Master, peer())?;
    Ok((Pty { reader, writer }, theirs))
}

fn other_side(ours: &OwnedFd) -> io::Result<OwnedFd> {
    let path = rustix::pty::ptsname(ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?)
}
