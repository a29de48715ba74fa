//! [`SendFile`]: a file, sent over a connection.

pub(crate) mod error;
pub(crate) mod source;

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use rondel_loop::to_thread;

use crate::engine::{Connection, Piece, SendingFile};
use crate::send_file::error::{SendFileError, SendFileErrorKind};
use crate::send_file::source::FileToSend;

/// How much is copied at a time, where it has to be. asyncio's value for plain sockets.
const PIECE: usize = 256 * 1024;

/// A file about to be sent: await it. asyncio: `loop.sendfile`.
///
/// It waits until what was written before is sent, then sends the file, and gives the number of bytes; the system has taken all of
/// them by then. Until it has ended, other writes to the connection fail with
/// [`WriteError::SendingFile`](crate::WriteError::SendingFile). A file that ends before `count` bytes is sent to its end: compare
/// the number.
///
/// On a plain socket of Linux or Android the system copies from its cache to the socket (sendfile(2)), 1 MiB at a time before
/// others have their turn. What is not in the cache it reads meanwhile, and the loop waits for the disk. Elsewhere, over TLS, and
/// where the system refuses the file, pieces of 256 KiB are read in the loop's thread pool and written, unless
/// [`fallback`](SendFile::fallback) says no.
///
/// # Position
/// The file's own position does not matter. When sending has ended, in whatever way, it is behind the last byte that was sent, or
/// was given to TLS; unless nothing was begun.
///
/// # Errors
/// [`SendFileError`], which says how much was sent. If that is not nothing and less than it was to be, the connection is aborted, so
/// that the peer does not take it for the whole; it is, too, if the connection is closed meanwhile.
///
/// # Cancel safety
/// Dropped before the first byte of the file was sent, it has sent nothing; afterwards that aborts the connection.
#[must_use = "nothing is sent unless it is awaited"]
pub struct SendFile<'f> {
    connection: &'f Rc<Connection>,
    file: &'f dyn FileToSend,
    offset: u64,
    count: Option<u64>,
    fallback: bool,
}

impl<'f> SendFile<'f> {
    pub(crate) fn new(
        connection: &'f Rc<Connection>,
        file: &'f impl FileToSend,
        offset: u64,
        count: Option<u64>,
    ) -> Self {
        Self {
            connection,
            file,
            offset,
            count,
            fallback: true,
        }
    }

    /// Whether the bytes are copied through this process where the system cannot do without. If not, sending fails with
    /// [`SendFileErrorKind::Unavailable`]. Default: yes.
    pub fn fallback(mut self, copies: bool) -> Self {
        self.fallback = copies;
        self
    }

    async fn send(self) -> Result<u64, SendFileError> {
        let mut sent = Progress {
            file: self.file,
            from: self.offset,
            offset: self.offset,
            begun: false,
        };
        match self.send_from(&mut sent).await {
            Ok(()) => Ok(sent.count()),
            Err(kind) => Err(SendFileError {
                sent: sent.count(),
                kind,
            }),
        }
    }

    async fn send_from(&self, sent: &mut Progress<'_>) -> Result<(), SendFileErrorKind> {
        let end = self.count.map(|count| self.offset.saturating_add(count));
        let mut sending = SendingFile::begin(self.connection)?;
        poll_fn(|cx| sending.poll_sent(cx)).await?;
        sent.begun = true;
        let mut refused = io::Error::new(
            io::ErrorKind::Unsupported,
            "the connection encrypts what is sent",
        );
        if sending.is_plain() {
            let piece =
                poll_fn(|cx| sending.poll_piece(cx, self.file.descriptor(), &mut sent.offset, end));
            match piece.await? {
                Piece::Sent => {
                    sending.end();
                    return Ok(());
                }
                Piece::FileFailed(error) => return Err(SendFileErrorKind::File(error)),
                Piece::Unavailable(error) => refused = error,
            }
        }
        if !self.fallback {
            return Err(SendFileErrorKind::Unavailable(refused));
        }
        self.copy(&mut sending, sent, end).await?;
        sending.end();
        Ok(())
    }

    /// Reads and writes, piece by piece.
    async fn copy(
        &self,
        sending: &mut SendingFile,
        sent: &mut Progress<'_>,
        end: Option<u64>,
    ) -> Result<(), SendFileErrorKind> {
        let file = self
            .file
            .descriptor()
            .try_clone_to_owned()
            .map_err(SendFileErrorKind::File)?;
        let file = Arc::new(std::fs::File::from(file));
        let mut buffer = Vec::new();
        loop {
            let left = end.map_or(u64::MAX, |end| end.saturating_sub(sent.offset));
            let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            if size == 0 {
                break;
            }
            let (file, offset) = (Arc::clone(&file), sent.offset);
            let read = to_thread(move || read_piece(&file, offset, buffer, size)).await;
            buffer = read
                .and_then(|read| read)
                .map_err(SendFileErrorKind::File)?;
            if buffer.is_empty() {
                break;
            }
            let mut bytes = &buffer[..];
            while !bytes.is_empty() {
                let before = bytes.len();
                poll_fn(|cx| {
                    let polled = sending.poll_bytes(cx, &mut bytes);
                    sent.offset = offset + (buffer.len() - bytes.len()) as u64;
                    polled
                })
                .await?;
                debug_assert!(bytes.len() < before, "ready only when all is written");
            }
        }
        poll_fn(|cx| sending.poll_sent(cx)).await?;
        Ok(())
    }
}

/// Reads up to `size` bytes into `buffer`; none at the end.
fn read_piece(
    file: &std::fs::File,
    offset: u64,
    mut buffer: Vec<u8>,
    size: usize,
) -> io::Result<Vec<u8>> {
    buffer.resize(size, 0);
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(count) => {
                buffer.truncate(count);
                return Ok(buffer);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How far the file is sent. Its end puts the file's position there.
struct Progress<'f> {
    file: &'f dyn FileToSend,
    from: u64,
    offset: u64,
    begun: bool,
}

impl Progress<'_> {
    const fn count(&self) -> u64 {
        self.offset - self.from
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.begun {
            self.file.set_position(self.offset);
        }
    }
}

impl<'f> IntoFuture for SendFile<'f> {
    type Output = Result<u64, SendFileError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + 'f>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for SendFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFile")
            .field("offset", &self.offset)
            .field("count", &self.count)
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}
