//! What a child's standard streams are.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio as StdStdio;

use rondel_loop::LocalLoop;
use rustix::fs::OFlags;

use crate::engine::Calls;
use crate::peer::Peer;
use crate::pipe::{PipeReader, PipeWriter, own_reader, own_writer};

/// What one of a child's standard streams is connected with.
///
/// A file, or anything else that has a descriptor, is one by `from`: `Stdio::from(File::create("log")?)`. The
/// [`Command`](crate::Command) keeps it open as long as it lives, to be started again.
pub struct Stdio(pub(super) Kind);

pub(super) enum Kind {
    Inherit,
    Null,
    Piped,
    Merged,
    Pty,
    Fd(OwnedFd),
}

impl Stdio {
    /// The same as this process has.
    pub const fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// Nothing: `/dev/null`. asyncio: `DEVNULL`.
    #[doc(alias = "DEVNULL")]
    pub const fn null() -> Self {
        Self(Kind::Null)
    }

    /// A pipe, whose other end is in the [`Child`](crate::Child). asyncio: `PIPE`.
    #[doc(alias = "PIPE")]
    pub const fn piped() -> Self {
        Self(Kind::Piped)
    }

    /// For standard error only: the same as standard output, whatever that is. asyncio: `stderr=STDOUT`.
    ///
    /// ```
    /// use rondel_net::{Command, Stdio};
    ///
    /// # rondel_loop::run(async {
    /// let output = Command::shell("echo one; echo two >&2").stderr(Stdio::merged()).output().await?;
    /// assert_eq!(output.stdout, b"one\ntwo\n");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[doc(alias = "STDOUT")]
    pub const fn merged() -> Self {
        Self(Kind::Merged)
    }

    /// A pseudo-terminal, one for all streams of the child that are told so, whose other side is in
    /// [`Child::pty`](crate::Child::pty). The child begins a session that it controls.
    pub const fn pty() -> Self {
        Self(Kind::Pty)
    }

    pub(super) const fn is_pty(&self) -> bool {
        matches!(self.0, Kind::Pty)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Self(Kind::Fd(fd))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Self(Kind::Fd(file.into()))
    }
}

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Inherit => "Stdio(inherit)",
            Kind::Null => "Stdio(null)",
            Kind::Piped => "Stdio(piped)",
            Kind::Merged => "Stdio(merged)",
            Kind::Pty => "Stdio(pty)",
            Kind::Fd(_) => "Stdio(a descriptor)",
        })
    }
}

/// A child's end of one stream.
pub(super) enum Theirs {
    Inherit,
    Null,
    Fd(OwnedFd),
}

impl Theirs {
    /// Another like this one, which if inherited is `inherited`.
    pub(super) fn duplicate(&self, inherited: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(match self {
            Self::Inherit => Self::Fd(inherited.try_clone_to_owned()?),
            Self::Null => Self::Null,
            Self::Fd(fd) => Self::Fd(fd.try_clone()?),
        })
    }
}

impl From<Theirs> for StdStdio {
    fn from(theirs: Theirs) -> Self {
        match theirs {
            Theirs::Inherit => Self::inherit(),
            Theirs::Null => Self::null(),
            Theirs::Fd(fd) => Self::from(fd),
        }
    }
}

/// A stream that is no pipe; `None` for those that are more.
pub(super) fn plain(kind: &Kind) -> io::Result<Option<Theirs>> {
    Ok(match kind {
        Kind::Inherit => Some(Theirs::Inherit),
        Kind::Null => Some(Theirs::Null),
        Kind::Fd(fd) => Some(Theirs::Fd(fd.as_fd().try_clone_to_owned()?)),
        Kind::Piped | Kind::Merged | Kind::Pty => None,
    })
}

/// A pipe that the child writes to.
pub(super) fn pipe_from_child(local: &LocalLoop, peer: Peer) -> io::Result<(PipeReader, Theirs)> {
    let (ours, theirs) = io::pipe()?;
    let reader = own_reader(local, without_waiting(ours.into())?, Calls::Pipe, peer)?;
    Ok((reader, Theirs::Fd(theirs.into())))
}

/// A pipe that the child reads.
pub(super) fn pipe_to_child(local: &LocalLoop, peer: Peer) -> io::Result<(PipeWriter, Theirs)> {
    let (theirs, ours) = io::pipe()?;
    let writer = own_writer(local, without_waiting(ours.into())?, Calls::Pipe, peer)?;
    Ok((writer, Theirs::Fd(theirs.into())))
}

/// The two ends of a pipe are opened each for itself: the child's goes on waiting.
fn without_waiting(fd: OwnedFd) -> io::Result<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}
