//! How files are opened.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rondel_loop::to_thread;

use crate::files::error::failed;
use crate::files::file::File;

/// How a [`File`] is opened; the options are those of [`std::fs::OpenOptions`].
///
/// ```
/// use rondel_net::files::OpenOptions;
///
/// # rondel_loop::run(async {
/// let missing = OpenOptions::new().write(true).open("/no/such/file").await.unwrap_err();
/// assert!(missing.to_string().starts_with("opening /no/such/file: "));
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing unless it is used"]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: Option<u32>,
}

impl OpenOptions {
    /// Nothing is asked for yet, which cannot be opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// To read from.
    pub fn read(mut self, on: bool) -> Self {
        self.read = on;
        self
    }

    /// To write to, at the position.
    pub fn write(mut self, on: bool) -> Self {
        self.write = on;
        self
    }

    /// To write to, always at its end, wherever the position is.
    pub fn append(mut self, on: bool) -> Self {
        self.append = on;
        self
    }

    /// Makes the file empty.
    pub fn truncate(mut self, on: bool) -> Self {
        self.truncate = on;
        self
    }

    /// Makes the file if there is none.
    pub fn create(mut self, on: bool) -> Self {
        self.create = on;
        self
    }

    /// Makes the file, and fails if there is one.
    pub fn create_new(mut self, on: bool) -> Self {
        self.create_new = on;
        self
    }

    /// The permissions of a file that is made, which the process's umask cuts down. Default: `0o666`.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Opens the file.
    ///
    /// # Errors
    /// What the system says, with the path; the loop's pool takes no more jobs.
    ///
    /// # Cancel safety
    /// Dropped, it may still open the file, which is closed again then; what that truncates or makes stays so.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path: Arc<Path> = path.as_ref().into();
        let mut options = std::fs::OpenOptions::new();
        options
            .read(self.read)
            .write(self.write)
            .append(self.append)
            .truncate(self.truncate)
            .create(self.create)
            .create_new(self.create_new);
        if let Some(mode) = self.mode {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        }
        let append = self.append;
        to_thread(move || match options.open(&path) {
            Ok(file) => Ok(File::new(file, path, append)),
            Err(error) => Err(failed("opening", &path, error)),
        })
        .await?
    }
}

impl File {
    /// Opens a file to read from. asyncio has no files; this is the built-in `open`.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    ///
    /// # Cancel safety
    /// Dropped, it leaves nothing open.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::options().read(true).open(path).await
    }

    /// Opens a file to write to: an empty one, which is made if there is none.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    ///
    /// # Cancel safety
    /// Dropped, it may still make or empty the file.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let options = Self::options().write(true).create(true).truncate(true);
        options.open(path).await
    }

    /// Other ways to open a file.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }
}
