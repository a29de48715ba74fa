//! Taking over a descriptor that somebody else has opened, without doing harm to those who share it.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rondel_loop::{LocalLoop, Registration, SourceKind};
use rustix::fs::{FileType, OFlags};

use crate::engine::Calls;

/// What a pipe is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// A descriptor is not what a pipe can be made of: in an [`io::Error`] of the kind `InvalidInput`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPipe {
    problem: &'static str,
}

impl fmt::Display for NotAPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a pipe is a FIFO, a socket or a character device, open for its direction; this is {}",
            self.problem
        )
    }
}

impl Error for NotAPipe {}

impl From<NotAPipe> for io::Error {
    fn from(error: NotAPipe) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

pub(super) fn adopt(
    local: &LocalLoop,
    fd: OwnedFd,
    direction: Direction,
) -> io::Result<(Registration, Calls)> {
    let calls = kind_of(&fd)?;
    check_mode(&fd, direction)?;
    let fd = match calls {
        Calls::Socket | Calls::SharedSocket => fd,
        Calls::Pipe | Calls::Device | Calls::Master => without_waiting(fd, calls)?,
    };
    Ok((local.register(fd, SourceKind::Other)?, calls))
}

fn kind_of(fd: &OwnedFd) -> io::Result<Calls> {
    let stat = rustix::fs::fstat(fd)?;
    let problem = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => return Ok(Calls::Pipe),
        FileType::Socket => return Ok(Calls::SharedSocket),
        FileType::CharacterDevice if is_master(&stat) => return Ok(Calls::Master),
        FileType::CharacterDevice => return Ok(Calls::Device),
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a folder",
        FileType::BlockDevice => "a block device",
        _ => "something else",
    };
    Err(NotAPipe { problem }.into())
}

/// Whether it is the controlling side of a pty: opened anew, it would be another one.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_master(stat: &rustix::fs::Stat) -> bool {
    // /dev/ptmx, and the mounts of devpts, which have it by this number, too.
    let device = stat.st_rdev;
    (rustix::fs::major(device), rustix::fs::minor(device)) == (5, 2)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_master(_: &rustix::fs::Stat) -> bool {
    false
}

fn check_mode(fd: &OwnedFd, direction: Direction) -> io::Result<()> {
    let mode = rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE;
    let problem = match direction {
        Direction::Read if mode == OFlags::WRONLY => "open for writing only",
        Direction::Write if mode == OFlags::RDONLY => "open for reading only",
        _ => return Ok(()),
    };
    Err(NotAPipe { problem }.into())
}

/// One that does not wait. The flag belongs to what is shared with everybody who has inherited the descriptor, perhaps a
/// shell, so it is set on a new opening of the same thing.
fn without_waiting(fd: OwnedFd, calls: Calls) -> io::Result<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    if flags.contains(OFlags::NONBLOCK) {
        return Ok(fd);
    }
    if calls != Calls::Master {
        match open_anew(&fd, flags & OFlags::RWMODE) {
            Ok(own) => return Ok(own),
            Err(error) if rustix::termios::isatty(&fd) => return Err(error),
            // A pipe that nobody reads, or a system without the means.
            Err(_) => {}
        }
    }
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_anew(fd: &OwnedFd, mode: OFlags) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;

    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let flags = mode | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open_anew(fd: &OwnedFd, mode: OFlags) -> io::Result<OwnedFd> {
    let path = rustix::termios::ttyname(fd.as_fd(), Vec::new())?;
    let flags = mode | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?)
}
