//! Talking with a child to its end: input, both outputs and the status, all at once.

use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::process::{ExitStatus, Output};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::ReadError;
use crate::pipe::{PipeReader, PipeWriter};
use crate::process::child::Child;
use crate::process::error::SpawnError;

/// What is collected of each stream unless told otherwise.
pub(super) const MAX_OUTPUT: usize = 64 * 1024 * 1024;

impl Child {
    /// Writes `input` to the process and closes its standard input, reads standard output and error to their ends, both at
    /// the same time, and waits for the end. A process that does not want its input is no error. asyncio: `communicate`.
    ///
    /// The ends of the streams come when nobody holds the pipes any more: what the process has started may hold them after
    /// its end. See [`Communicate::timeout`].
    pub fn communicate<'c>(&'c mut self, input: &'c [u8]) -> Communicate<'c> {
        Communicate::new(self, input)
    }
}

/// What [`Child::communicate`] does when it is awaited.
///
/// Without a pipe at a stream, nothing is read or written there. The child is not killed if this fails or is dropped, unless
/// it is dropped itself.
///
/// # Cancel safety
/// Dropped, it leaves what it has read in the child's readers; standard input is closed, and what of the input the pipe had
/// not taken is lost.
#[must_use = "nothing is done unless this is awaited"]
pub struct Communicate<'c> {
    child: &'c mut Child,
    input: &'c [u8],
    max_output: usize,
    timeout: Option<Duration>,
}

impl<'c> Communicate<'c> {
    pub(super) fn new(child: &'c mut Child, input: &'c [u8]) -> Self {
        Self {
            child,
            input,
            max_output: MAX_OUTPUT,
            timeout: None,
        }
    }

    /// How many bytes are collected of each stream: 64 MiB unless set.
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.max_output = bytes;
        self
    }

    /// How long it may take, on the loop's clock: for ever unless set.
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.timeout = limit.into();
        self
    }
}

impl<'c> IntoFuture for Communicate<'c> {
    type Output = Result<Output, CommunicateError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(communicate(
            self.child,
            self.input,
            self.max_output,
            self.timeout,
        ))
    }
}

impl fmt::Debug for Communicate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Communicate")
            .field("child", &self.child.id())
            .field("input", &self.input.len())
            .field("max_output", &self.max_output)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Does it.
pub(super) async fn communicate(
    child: &mut Child,
    input: &[u8],
    max_output: usize,
    timeout: Option<Duration>,
) -> Result<Output, CommunicateError> {
    let outcome = match timeout {
        None => talk(child, input, max_output).await,
        Some(limit) => match rondel_loop::timeout(limit, talk(child, input, max_output)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CommunicateErrorKind::TimedOut),
        },
    };
    let take = |reader: &mut Option<PipeReader>| {
        reader
            .as_mut()
            .map(PipeReader::take_buffer)
            .unwrap_or_default()
    };
    let stdout = take(&mut child.stdout);
    let stderr = take(&mut child.stderr);
    match outcome {
        Ok(status) => Ok(Output {
            status,
            stdout,
            stderr,
        }),
        Err(kind) => Err(CommunicateError {
            kind,
            stdout,
            stderr,
        }),
    }
}

/// Collects in the readers, where it is not lost.
async fn talk(
    child: &mut Child,
    input: &[u8],
    max: usize,
) -> Result<ExitStatus, CommunicateErrorKind> {
    let mut ended = pin!(child.wait());
    let stdin = child.stdin.take();
    if stdin.is_none() && !input.is_empty() {
        return Err(CommunicateErrorKind::Io(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there is input, and the child's standard input is no pipe",
        )));
    }
    let mut feeding = pin!(feed(stdin, input));
    let mut fed = false;
    let mut collect = |cx: &mut Context<'_>| {
        let stdout = poll_collect(cx, child.stdout.as_mut(), 1, max)?;
        let stderr = poll_collect(cx, child.stderr.as_mut(), 2, max)?;
        Ok(stdout.is_ready() && stderr.is_ready())
    };
    poll_fn(|cx| {
        if !fed && let Poll::Ready(outcome) = feeding.as_mut().poll(cx) {
            outcome.map_err(CommunicateErrorKind::Io)?;
            fed = true;
        }
        let collected: bool = collect(cx)?;
        if collected && fed {
            return ended.as_mut().poll(cx).map_err(CommunicateErrorKind::Io);
        }
        Poll::Pending
    })
    .await
}

/// Writes all of `input` and closes; that nobody wants it is no failure.
async fn feed(stdin: Option<PipeWriter>, input: &[u8]) -> io::Result<()> {
    let Some(stdin) = stdin else {
        return Ok(());
    };
    match stdin.write_all(input).await.map_err(io::Error::from) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            ) =>
        {
            Err(error)
        }
        // Closed by whoever had it before.
        _ => Ok(()),
    }
}

fn poll_collect(
    cx: &mut Context<'_>,
    reader: Option<&mut PipeReader>,
    stream: u8,
    max: usize,
) -> Result<Poll<()>, CommunicateErrorKind> {
    let Some(reader) = reader else {
        return Ok(Poll::Ready(()));
    };
    match reader.poll_fill_to_end(cx, max) {
        Poll::Pending => Ok(Poll::Pending),
        Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
        Poll::Ready(Err(ReadError::LimitOverrun { limit, .. })) => {
            Err(CommunicateErrorKind::TooLong { stream, limit })
        }
        Poll::Ready(Err(error)) => Err(CommunicateErrorKind::Io(error.into())),
    }
}

/// Why a child was not talked with to its end. What it had printed by then, and was not read before, is in it.
pub struct CommunicateError {
    kind: CommunicateErrorKind,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// See [`CommunicateError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum CommunicateErrorKind {
    /// The program could not be started.
    Spawn(SpawnError),
    /// The time was up.
    TimedOut,
    /// The child printed more than was allowed.
    TooLong {
        /// 1 for standard output, 2 for standard error.
        stream: u8,
        /// How many bytes were allowed.
        limit: usize,
    },
    /// A pipe failed, or waiting did.
    Io(io::Error),
}

impl CommunicateError {
    pub(super) fn from_spawn(error: SpawnError) -> Self {
        Self {
            kind: CommunicateErrorKind::Spawn(error),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    /// What happened.
    pub const fn kind(&self) -> &CommunicateErrorKind {
        &self.kind
    }

    /// What was printed to standard output.
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// What was printed to standard error.
    pub fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// Standard output and standard error, to keep.
    pub fn into_output(self) -> (Vec<u8>, Vec<u8>) {
        (self.stdout, self.stderr)
    }
}

impl fmt::Display for CommunicateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            CommunicateErrorKind::Spawn(error) => error.fmt(f),
            CommunicateErrorKind::TimedOut => {
                f.write_str("the child had not ended when the time was up")
            }
            CommunicateErrorKind::TooLong { stream, limit } => {
                let stream = match stream {
                    1 => "standard output",
                    _ => "standard error",
                };
                write!(f, "the child printed more than {limit} bytes to {stream}")
            }
            CommunicateErrorKind::Io(error) => error.fmt(f),
        }
    }
}

/// The output may be long.
impl fmt::Debug for CommunicateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommunicateError")
            .field("kind", &self.kind)
            .field("stdout", &format_args!("{} bytes", self.stdout.len()))
            .field("stderr", &format_args!("{} bytes", self.stderr.len()))
            .finish()
    }
}

impl Error for CommunicateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            // Shown in its place, so its source is the next.
            CommunicateErrorKind::Spawn(error) => error.source(),
            CommunicateErrorKind::Io(error) => error.source(),
            CommunicateErrorKind::TimedOut | CommunicateErrorKind::TooLong { .. } => None,
        }
    }
}

impl From<CommunicateError> for io::Error {
    fn from(error: CommunicateError) -> Self {
        let kind = match &error.kind {
            CommunicateErrorKind::Spawn(error) => error.kind(),
            CommunicateErrorKind::TimedOut => io::ErrorKind::TimedOut,
            CommunicateErrorKind::TooLong { .. } => io::ErrorKind::InvalidData,
            CommunicateErrorKind::Io(error) => error.kind(),
        };
        Self::new(kind, error)
    }
}
