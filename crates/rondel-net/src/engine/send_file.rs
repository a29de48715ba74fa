//! Sending a file: nothing else may be written meanwhile, and the system does the copying where it can.

use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;

use crate::engine::send::ALLOWANCE;
use crate::engine::{Connection, Finish, Goal};
use crate::error::{Attempt, WriteError};

/// What sending a piece came to.
#[derive(Debug)]
pub(crate) enum Piece {
    /// All of it, or all there is.
    Sent,
    /// The system cannot do it with this file and this connection.
    Unavailable(io::Error),
    /// The file cannot be read.
    FileFailed(io::Error),
}

/// A connection's word that nothing else is written. Given back when it is dropped; before all is sent, the connection is aborted
/// then, since the peer must not take a part for the whole.
#[derive(Debug)]
pub(crate) struct SendingFile {
    connection: Rc<Connection>,
    /// Whether something was sent, and not all.
    cut: bool,
}

impl SendingFile {
    /// # Errors
    /// Nothing can be written, a file being sent among the reasons.
    pub(crate) fn begin(connection: &Rc<Connection>) -> Result<Self, WriteError> {
        connection.to_send()?;
        connection.finish.set(Finish::AfterFile);
        Ok(Self {
            connection: Rc::clone(connection),
            cut: false,
        })
    }

    /// All is sent, or as much as was wanted.
    pub(crate) fn end(mut self) {
        self.cut = false;
    }

    /// Waits until everything is sent that was written before.
    pub(crate) fn poll_sent(&self, cx: &Context<'_>) -> Poll<Result<(), WriteError>> {
        let sent = self.connection.poll_sent(cx, Goal::Sent);
        if sent.is_pending() {
            // Closed meanwhile, it does not go on.
            self.check_open()?;
        }
        sent
    }

    fn check_open(&self) -> Result<(), WriteError> {
        self.connection.check_fault()?;
        match self.connection.is_closing() {
            true => Err(WriteError::Closed),
            false => Ok(()),
        }
    }

    /// Whether the system could copy, which it cannot through a layer.
    pub(crate) fn is_plain(&self) -> bool {
        !self.connection.is_layered()
    }

    /// Has the system send bytes of `file` from `offset` on, up to `end`, and moves `offset` on.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &Context<'_>,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        end: Option<u64>,
    ) -> Poll<Result<Piece, WriteError>> {
        let mut allowance = ALLOWANCE;
        loop {
            self.check_open()?;
            let left = end.map_or(u64::MAX, |end| end.saturating_sub(*offset));
            if left == 0 {
                return Poll::Ready(Ok(Piece::Sent));
            }
            if allowance == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let registration = self.connection.open_registration()?;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(allowance);
            match self
                .connection
                .calls
                .send_file(&registration, file, offset, count)
            {
                Ok(0) => return Poll::Ready(Ok(Piece::Sent)),
                Ok(count) => {
                    self.cut = true;
                    allowance = allowance.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.connection.poll_writable(&registration, cx))?;
                }
                Err(error) if is_unavailable(&error) => {
                    return Poll::Ready(Ok(Piece::Unavailable(error)));
                }
                Err(error) if is_of_file(&error) => {
                    return Poll::Ready(Ok(Piece::FileFailed(error)));
                }
                Err(error) => {
                    return Poll::Ready(Err(self.connection.fail(Attempt::Send, error).into()));
                }
            }
        }
    }

    /// Sends `bytes`, which were read from the file, and takes from them what is sent.
    pub(crate) fn poll_bytes(
        &mut self,
        cx: &Context<'_>,
        bytes: &mut &[u8],
    ) -> Poll<Result<(), WriteError>> {
        self.check_open()?;
        let connection = &self.connection;
        let len = bytes.len();
        // For the length of this call it is the file's turn to write.
        connection.finish.set(Finish::Open);
        let polled = connection.poll_write_through(cx, bytes);
        if connection.finish.get() == Finish::Open {
            connection.finish.set(Finish::AfterFile);
        }
        self.cut |= bytes.len() < len;
        polled
    }
}

impl Drop for SendingFile {
    fn drop(&mut self) {
        if self.cut {
            self.connection.abort();
        }
        if self.connection.finish.get() == Finish::AfterFile {
            self.connection.finish.set(Finish::Open);
            let connection = &self.connection;
            if !connection.held.get().writer
                && !connection.is_attended()
                && !connection.is_closing()
            {
                // Whose handle went meanwhile: the end was put off.
                connection.finish_soon();
            }
        }
    }
}

/// Whether the system would not do it at all (sendfile(2): the file cannot be mapped, or the system has no such call).
fn is_unavailable(error: &io::Error) -> bool {
    is_one_of(
        error,
        &[Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::SPIPE],
    ) || error.kind() == io::ErrorKind::Unsupported
}

/// Whether it is the file that has failed, and not the connection.
fn is_of_file(error: &io::Error) -> bool {
    is_one_of(
        error,
        &[
            Errno::BADF,
            Errno::IO,
            Errno::OVERFLOW,
            Errno::ISDIR,
            Errno::STALE,
            Errno::ACCESS,
            Errno::NODATA,
        ],
    )
}

fn is_one_of(error: &io::Error, those: &[Errno]) -> bool {
    those
        .iter()
        .any(|one| error.raw_os_error() == Some(one.raw_os_error()))
}
