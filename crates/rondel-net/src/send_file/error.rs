//! Why a file was not sent.

use std::error::Error;
use std::fmt;
use std::io;

use crate::error::WriteError;

/// Why a file was not sent, or not all of it.
#[derive(Debug)]
pub struct SendFileError {
    pub(super) sent: u64,
    pub(super) kind: SendFileErrorKind,
}

/// What has failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendFileErrorKind {
    /// The connection; or it is closed, or another file is being sent over it.
    Write(WriteError),
    /// The file cannot be read; or, where it has to be copied, the loop's pool takes no more jobs.
    File(io::Error),
    /// The system cannot do it without copying, and [`fallback`](crate::SendFile::fallback) is off. asyncio:
    /// `SendfileNotAvailableError`.
    Unavailable(io::Error),
}

impl SendFileError {
    /// How many bytes were sent, or given to TLS.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// What has failed.
    pub const fn kind(&self) -> &SendFileErrorKind {
        &self.kind
    }
}

impl From<WriteError> for SendFileErrorKind {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl fmt::Display for SendFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sending a file, after {} bytes: ", self.sent)?;
        match &self.kind {
            SendFileErrorKind::Write(error) => error.fmt(f),
            SendFileErrorKind::File(error) => write!(f, "reading it: {error}"),
            SendFileErrorKind::Unavailable(error) => {
                write!(f, "the system cannot do it without copying: {error}")
            }
        }
    }
}

impl Error for SendFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            // Shown in its place, so its source is the next.
            SendFileErrorKind::Write(error) => error.source(),
            SendFileErrorKind::File(error) | SendFileErrorKind::Unavailable(error) => Some(error),
        }
    }
}

impl From<SendFileError> for io::Error {
    fn from(error: SendFileError) -> Self {
        let kind = match &error.kind {
            SendFileErrorKind::Write(WriteError::Io(error)) => error.kind(),
            SendFileErrorKind::Write(WriteError::SendingFile) => io::ErrorKind::ResourceBusy,
            SendFileErrorKind::Write(WriteError::Finished) => io::ErrorKind::BrokenPipe,
            SendFileErrorKind::Write(WriteError::Closed | WriteError::Full { .. }) => {
                io::ErrorKind::NotConnected
            }
            SendFileErrorKind::File(error) => error.kind(),
            SendFileErrorKind::Unavailable(_) => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}
