//! [`File`]: one open file.

use std::cell::Cell;
use std::fmt;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rondel_executor::Job;
use rondel_loop::{LocalLoop, run_in_executor, to_thread};

use crate::files::error::failed;

/// An open file, whose operations run in the loop's thread pool.
///
/// # Position
/// [`read`](File::read), [`read_to_end`](File::read_to_end) and [`write_all`](File::write_all) begin at the file's position,
/// which is this object's own: it moves when their result is delivered, by what was read or written. So a read that is dropped
/// has taken nothing. The system's position, which duplicates of the descriptor share, is neither used nor moved. Files without
/// places, as pipes and terminals are, cannot be read like this; they say `NotSeekable`.
///
/// Writing to a file that was opened with [`append`](crate::files::OpenOptions::append) goes to its end, and leaves the position.
///
/// # Order
/// A job cannot be stopped. A `write_all` that is dropped may still write, and so the next operation that takes `&mut self` waits
/// for it. Operations that take `&self` may overlap; what they do to the same place of the file is the system's choice.
///
/// # Closing
/// Dropped, it is closed by the pool, when the jobs under way have ended: closing may block, too. Outside of a running loop it is
/// closed at once. What closing fails with nobody learns; [`sync_all`](File::sync_all) before it tells.
///
/// ```
/// use rondel_net::files::File;
///
/// # rondel_loop::run(async {
/// let path = std::env::temp_dir().join(format!("rondel-file-{}", std::process::id()));
/// let mut file = File::create(&path).await?;
/// file.write_all("one two").await?;
/// file.seek(4);
/// file.write_all("2").await?;
/// file.sync_all().await?;
///
/// let mut file = File::open(&path).await?;
/// assert_eq!(file.read(4).await?, b"one ");
/// assert_eq!(file.read_to_end(1024).await?, b"2wo");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct File {
    /// `None` only while it is being dropped.
    open: Option<Arc<Open>>,
    position: Cell<u64>,
    /// A write that was dropped.
    unfinished: Option<Job<io::Result<()>>>,
}

struct Open {
    file: std::fs::File,
    path: Arc<Path>,
    append: bool,
}

impl Open {
    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> io::Error {
        move |error| failed(operation, &self.path, error)
    }

    fn read_at(&self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        /// What Linux gives in one call at most.
        const MOST: usize = 0x7fff_f000;
        let most = most.min(MOST);
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(most)
            .map_err(|error| failed("reading", &self.path, io::Error::other(error)))?;
        bytes.resize(most, 0);
        loop {
            match self.file.read_at(&mut bytes, offset) {
                Ok(count) => {
                    bytes.truncate(count);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("reading", &self.path, error)),
            }
        }
    }

    fn read_to_end(&self, from: u64, limit: usize) -> io::Result<Vec<u8>> {
        /// How much is read at least in one call.
        const PIECE: usize = 64 * 1024;
        // The size is a hint: there are files that do not know theirs, and others grow.
        let expected = self.file.metadata().map_or(0, |known| known.len());
        let expected = usize::try_from(expected.saturating_sub(from)).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        loop {
            let room = limit.saturating_add(1) - bytes.len();
            let piece = expected
                .saturating_sub(bytes.len())
                .saturating_add(1)
                .max(PIECE)
                .min(room);
            let old = bytes.len();
            bytes
                .try_reserve(piece)
                .map_err(|error| failed("reading", &self.path, io::Error::other(error)))?;
            bytes.resize(old + piece, 0);
            let read = self
                .file
                .read_at(&mut bytes[old..], from.saturating_add(old as u64));
            bytes.truncate(old + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(bytes),
                Ok(_) if bytes.len() > limit => {
                    let error = io::Error::new(
                        io::ErrorKind::FileTooLarge,
                        format!("there are more than {limit} bytes"),
                    );
                    return Err(failed("reading", &self.path, error));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("reading", &self.path, error)),
            }
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.append {
            (&self.file).write_all(bytes)
        } else {
            self.file.write_all_at(bytes, offset)
        }
        .map_err(self.failed("writing"))
    }
}

impl File {
    pub(super) fn new(file: std::fs::File, path: Arc<Path>, append: bool) -> Self {
        Self {
            open: Some(Arc::new(Open { file, path, append })),
            position: Cell::new(0),
            unfinished: None,
        }
    }

    fn inner(&self) -> &Arc<Open> {
        self.open
            .as_ref()
            .expect("a file is open until it is dropped")
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.inner().path
    }

    /// Where the next read or write begins.
    pub fn position(&self) -> u64 {
        self.position.get()
    }

    /// Has the next read or write begin at `position`, from the file's beginning. Beyond its end, reads give nothing, and a write
    /// leaves a gap of zeros. (For the end, see [`metadata`](File::metadata).)
    pub fn seek(&self, position: u64) {
        self.position.set(position);
    }

    /// Runs `work` in the pool.
    async fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Open) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let open = Arc::clone(self.inner());
        to_thread(move || work(&open)).await?
    }

    /// Waits for the write that was dropped, if one was.
    async fn settle(&mut self) {
        if let Some(job) = &mut self.unfinished {
            // Who dropped it did not want to know.
            let _ = job.await;
            self.unfinished = None;
        }
    }

    /// Reads at most `most` bytes from the position on; none at the file's end.
    ///
    /// # Errors
    /// What the system says, with the path; the loop's pool takes no more jobs.
    ///
    /// # Cancel safety
    /// Dropped, it has read nothing: the position stays.
    pub async fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        self.settle().await;
        let bytes = self.read_at(self.position(), most).await?;
        self.move_on(bytes.len());
        Ok(bytes)
    }

    /// Reads from the position to the file's end: one job.
    ///
    /// # Errors
    /// `FileTooLarge` if there are more than `limit` bytes: the position stays. What the system says, with the path; the loop's
    /// pool takes no more jobs.
    ///
    /// # Cancel safety
    /// Dropped, it has read nothing: the position stays.
    pub async fn read_to_end(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        self.settle().await;
        let from = self.position();
        let bytes = self.job(move |open| open.read_to_end(from, limit)).await?;
        self.move_on(bytes.len());
        Ok(bytes)
    }

    /// Writes all of `bytes` from the position on; or to the end, if it was opened to [append](crate::files::OpenOptions::append).
    ///
    /// # Errors
    /// What the system says, with the path: a part may have been written, the position stays. The loop's pool takes no more jobs.
    ///
    /// # Cancel safety
    /// Dropped, it may still write all of it; the position stays. See [above](File#order).
    pub async fn write_all(&mut self, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        self.settle().await;
        let bytes = bytes.into();
        let len = bytes.len();
        let open = Arc::clone(self.inner());
        let offset = self.position();
        let job = run_in_executor(None, move || open.write(offset, &bytes))?;
        let written = self.unfinished.insert(job).await;
        self.unfinished = None;
        match written {
            Ok(written) => written?,
            Err(rondel_executor::JobError::Panicked(payload)) => payload.resume(),
            Err(error) => return Err(io::Error::other(error)),
        }
        if !self.inner().append {
            self.move_on(len);
        }
        Ok(())
    }

    fn move_on(&self, by: usize) {
        self.position.set(self.position().saturating_add(by as u64));
    }

    /// Reads at most `most` bytes from `offset` on, wherever the position is; none at or beyond the file's end.
    ///
    /// # Errors
    /// What the system says, with the path; the loop's pool takes no more jobs.
    ///
    /// # Cancel safety
    /// Dropped, it has no effect.
    #[doc(alias = "pread")]
    pub async fn read_at(&self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        self.job(move |open| open.read_at(offset, most)).await
    }

    /// Writes all of `bytes` from `offset` on, wherever the position is.
    ///
    /// # Errors
    /// `InvalidInput` if the file was opened to [append](crate::files::OpenOptions::append), where systems differ in what that would do. What the
    /// system says, with the path: a part may have been written. The loop's pool takes no more jobs.
    ///
    /// # Cancel safety
    /// Dropped, it may still write all of it.
    #[doc(alias = "pwrite")]
    pub async fn write_at(&self, offset: u64, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        let open = self.inner();
        if open.append {
            let error = io::Error::new(
                io::ErrorKind::InvalidInput,
                "it was opened to append, and has no other place to write to",
            );
            return Err(open.failed("writing")(error));
        }
        let bytes = bytes.into();
        self.job(move |open| open.write(offset, &bytes)).await
    }

    /// Waits until what was written, and what the system knows about the file, is on the disk.
    ///
    /// # Errors
    /// What the system says, with the path; the loop's pool takes no more jobs.
    ///
    /// # Cancel safety
    /// Dropped, it changes nothing.
    #[doc(alias = "fsync")]
    pub async fn sync_all(&mut self) -> io::Result<()> {
        self.settle().await;
        self.job(|open| open.file.sync_all().map_err(open.failed("syncing")))
            .await
    }

    /// Makes the file `size` bytes long: cut, or filled up by zeros. The position stays.
    ///
    /// # Errors
    /// What the system says, with the path; the loop's pool takes no more jobs.
    ///
    /// # Cancel safety
    /// Dropped, it may still do so.
    #[doc(alias = "truncate")]
    pub async fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.settle().await;
        self.job(move |open| open.file.set_len(size).map_err(open.failed("resizing")))
            .await
    }

    /// What the system knows about the file: its size among others.
    ///
    /// # Errors
    /// What the system says, with the path; the loop's pool takes no more jobs.
    ///
    /// # Cancel safety
    /// Dropped, it has no effect.
    #[doc(alias = "stat")]
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.job(|open| open.file.metadata().map_err(open.failed("looking at")))
            .await
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner().file.as_fd()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Some(open) = self.open.take()
            && let Ok(local) = LocalLoop::current()
        {
            // If the pool takes no more jobs, it is closed here, with the job that was refused.
            let _ = local.run_in_executor(None, move || drop(open));
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.path())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
