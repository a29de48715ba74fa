//! Finding a program's socket, and asking it.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::snapshot::Process;

/// How long a program may take to answer. Its loops have less.
const PATIENCE: Duration = Duration::from_secs(10);
/// Answers are read up to this.
const MOST: u64 = 256 * 1024 * 1024;

/// Whom to ask.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Process(u32),
    Socket(PathBuf),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum AskError {
    NotOpen(u32),
    Connect(PathBuf, io::Error),
    Talk(PathBuf, io::Error),
    Refused(String),
    Malformed(serde_json::Error),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen(pid) => write!(
                f,
                "process {pid} is not open to inspection: there is no such process, it is another user's, or it was not \
                 started with RONDEL_INSPECT=1 (a program can open itself by LocalLoop::inspect)"
            ),
            Self::Connect(path, error) => write!(f, "connecting to {}: {error}", path.display()),
            Self::Talk(path, error) => write!(f, "asking at {}: {error}", path.display()),
            Self::Refused(why) => write!(f, "the program refuses: {why}"),
            Self::Malformed(error) => write!(f, "the answer cannot be understood: {error}"),
        }
    }
}

impl Error for AskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(_, error) | Self::Talk(_, error) => Some(error),
            Self::Malformed(error) => Some(error),
            Self::NotOpen(_) | Self::Refused(_) => None,
        }
    }
}

/// The directories in which sockets lie.
fn directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").filter(|runtime| !runtime.is_empty())
    {
        directories.push(PathBuf::from(runtime).join("rondel"));
    }
    // Who we are, as the system sees it, without a system call of our own.
    if let Ok(own) = fs::metadata("/proc/self") {
        directories.push(PathBuf::from(format!("/tmp/rondel-{}", own.uid())));
    }
    directories
}

/// The processes that have a socket, and where.
pub(crate) fn all() -> Vec<(u32, PathBuf)> {
    let mut found = Vec::new();
    for directory in directories() {
        let Ok(entries) = fs::read_dir(directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let pid = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            if let (Some(pid), Some("sock")) = (pid, path.extension().and_then(|e| e.to_str())) {
                found.push((pid, path));
            }
        }
    }
    found.sort();
    found
}

impl Target {
    fn path(&self) -> Result<PathBuf, AskError> {
        match self {
            Self::Socket(path) => Ok(path.clone()),
            Self::Process(pid) => directories()
                .into_iter()
                .map(|directory| directory.join(format!("{pid}.sock")))
                .find(|path| path.exists())
                .ok_or(AskError::NotOpen(*pid)),
        }
    }

    /// What the program says, as it says it.
    pub(crate) fn ask(&self) -> Result<String, AskError> {
        let path = self.path()?;
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error) => {
                return Err(match (self, error.kind()) {
                    // Left behind by a process that was killed.
                    (Self::Process(pid), io::ErrorKind::ConnectionRefused) => {
                        AskError::NotOpen(*pid)
                    }
                    _ => AskError::Connect(path, error),
                });
            }
        };
        talk(stream).map_err(|error| AskError::Talk(path, error))
    }

    /// The same, understood.
    pub(crate) fn snapshot(&self) -> Result<Process, AskError> {
        understand(&self.ask()?)
    }
}

fn talk(mut stream: UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"snapshot\n")?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn understand(answer: &str) -> Result<Process, AskError> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    if let Ok(Refusal { error }) = serde_json::from_str(answer) {
        return Err(AskError::Refused(error));
    }
    let mut process: Process = serde_json::from_str(answer).map_err(AskError::Malformed)?;
    for one in &mut process.loops {
        if let Some(snapshot) = &mut one.snapshot {
            // They come as they lie in the program's memory.
            snapshot.tasks.sort_by_key(|task| task.id);
        }
    }
    Ok(process)
}

/// Whether somebody listens there.
pub(crate) fn is_alive(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}
