//! Files without blocking the loop.
//!
//! The system has no readiness for files: reading one blocks, if only for the disk. So each operation is a job in the thread pool
//! of the loop ([`run_in_executor`](rondel_loop::run_in_executor)), which costs some 10 µs of going there and back: read and
//! write large pieces. A job cannot be stopped once it has begun, so dropping a future here forgets the result and lets the job
//! finish.
//!
//! Errors say what was attempted, on which path, and keep the system's kind.
//!
//! ```
//! use rondel_net::files;
//!
//! # rondel_loop::run(async {
//! let path = std::env::temp_dir().join(format!("rondel-files-{}", std::process::id()));
//! files::write(&path, "a line\n").await?;
//! let mut file = files::File::options().append(true).open(&path).await?;
//! file.write_all("another\n").await?;
//! assert_eq!(files::read(&path).await?, b"a line\nanother\n");
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap().unwrap();
//! ```

mod error;
mod file;
mod open;
mod whole;

pub use file::File;
pub use open::OpenOptions;
pub use whole::{read, write};
