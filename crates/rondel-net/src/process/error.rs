//! What can go wrong with a child.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;

/// A program could not be started.
///
/// ```
/// use rondel_net::Command;
///
/// # rondel_loop::run(async {
/// let error = Command::new("/no/such/program").spawn().unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// assert!(error.to_string().starts_with("starting /no/such/program: "));
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct SpawnError {
    program: OsString,
    source: io::Error,
}

impl SpawnError {
    pub(super) fn new(program: &OsStr, source: io::Error) -> Self {
        Self {
            program: program.to_owned(),
            source,
        }
    }

    /// What the system said.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// What was to be started.
    pub fn program(&self) -> &OsStr {
        &self.program
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "starting {}: {}", self.program.display(), self.source)
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// How a child ended is not known: something else in this process has waited for it (a `wait` for any child, an ignored
/// SIGCHLD). It is what an [`io::Error`] of a wait holds. asyncio: a warning, and the return code 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReapedElsewhere {
    pub(super) pid: u32,
}

impl ReapedElsewhere {
    /// The child's number. It may belong to another process by now.
    pub const fn id(&self) -> u32 {
        self.pid
    }
}

impl fmt::Display for ReapedElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "child {} has ended, and something else has waited for it: its status is lost",
            self.pid
        )
    }
}

impl Error for ReapedElsewhere {}

impl From<ReapedElsewhere> for io::Error {
    fn from(error: ReapedElsewhere) -> Self {
        Self::other(error)
    }
}
