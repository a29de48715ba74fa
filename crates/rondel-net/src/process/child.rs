//! [`Child`]: a process that was started.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;

use rondel_loop::LocalLoop;
use rustix::process::Signal;

use crate::pipe::{PipeReader, PipeWriter};
use crate::process::exit::Wait;
use crate::process::pty::Pty;
use crate::process::watch::Watch;

/// A process that was started by a [`Command`](crate::Command). asyncio: `Process`.
///
/// Dropped, it closes its streams and leaves the process running, unless
/// [`kill_on_drop`](crate::Command::kill_on_drop) says otherwise. In any case the process is reaped when it ends: by the loop
/// in the background, or by a thread after the loop is closed. `!Send`.
///
/// ```
/// use rondel_net::{Command, Stdio};
///
/// # rondel_loop::run(async {
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let stdin = child.stdin.take().unwrap();
/// stdin.write_all(b"one line\nanother\n").await?;
/// drop(stdin);
/// let stdout = child.stdout.as_mut().unwrap();
/// assert_eq!(stdout.read_line().await?, b"one line\n");
/// assert_eq!(stdout.read_line().await?, b"another\n");
/// assert!(child.wait().await?.success());
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[doc(alias = "Process")]
pub struct Child {
    /// Writes to the child's standard input, if that is a [pipe](crate::Stdio::piped). While it is there, the child's input
    /// does not end: [`wait`](Child::wait) does not close it, so take it out and drop it.
    pub stdin: Option<PipeWriter>,
    /// Reads the child's standard output, if that is a pipe.
    pub stdout: Option<PipeReader>,
    /// Reads the child's standard error, if that is a pipe.
    pub stderr: Option<PipeReader>,
    /// The other side of the child's terminal, if it has [one of its own](crate::Stdio::pty).
    pub pty: Option<Pty>,
    hold: Hold,
}

/// This process's ends.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) stdin: Option<PipeWriter>,
    pub(super) stdout: Option<PipeReader>,
    pub(super) stderr: Option<PipeReader>,
    pub(super) pty: Option<Pty>,
}

/// The hold on a process, without its streams.
pub(super) struct Hold {
    watch: Rc<Watch>,
    pub(super) kill_on_drop: bool,
}

impl Child {
    pub(super) fn new(watch: Rc<Watch>, streams: Streams, kill_on_drop: bool) -> Self {
        Self {
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            pty: streams.pty,
            hold: Hold {
                watch,
                kill_on_drop,
            },
        }
    }

    pub(super) fn into_parts(self) -> (Streams, Hold) {
        let streams = Streams {
            stdin: self.stdin,
            stdout: self.stdout,
            stderr: self.stderr,
            pty: self.pty,
        };
        (streams, self.hold)
    }

    pub(super) fn set_kill_on_drop(&mut self, kill: bool) {
        self.hold.kill_on_drop = kill;
    }

    /// The process's number. After its end it may be another's. asyncio: `pid`.
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.hold.watch.exit().id()
    }

    /// Waits for the end of the process: of this one alone, whoever else may still hold its pipes. Any number of tasks may
    /// wait. The future has no hold on the child.
    ///
    /// A child that waits for the end of its input, or for somebody to read its output, never ends by itself:
    /// [`communicate`](Child::communicate) sees to both.
    ///
    /// # Errors
    /// [`ReapedElsewhere`](crate::ReapedElsewhere) in an [`io::Error`].
    ///
    /// # Cancel safety
    /// Dropped, it changes nothing.
    pub fn wait(&self) -> Wait {
        Wait::new(Arc::clone(self.hold.watch.exit()))
    }

    /// How the process ended, if it has; asks the system. asyncio: `returncode`.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    #[doc(alias = "returncode")]
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.hold.try_wait()
    }

    /// Sends SIGKILL, which cannot be caught. To a process that has ended, no signal is ever sent, and that is no error.
    ///
    /// # Errors
    /// `PermissionDenied` if it runs as somebody else by now.
    pub fn kill(&self) -> io::Result<()> {
        self.hold.watch.signal(Signal::KILL)
    }

    /// Sends SIGTERM: please end. All else as with [`kill`](Child::kill).
    ///
    /// # Errors
    /// As [`kill`](Child::kill).
    pub fn terminate(&self) -> io::Result<()> {
        self.hold.watch.signal(Signal::TERM)
    }

    /// Sends a signal by its number; see [`Signal::as_raw`](rondel_loop::signal::Signal::as_raw). All else as with
    /// [`kill`](Child::kill).
    ///
    /// # Errors
    /// As [`kill`](Child::kill); `InvalidInput` for what is not the number of a signal with a name.
    pub fn send_signal(&self, signal: i32) -> io::Result<()> {
        self.hold.send_signal(signal)
    }

    /// Kills the [group](crate::Command::process_group) that the process leads: it, and what it has started, though it may
    /// have ended itself.
    ///
    /// # Errors
    /// `InvalidInput` if it does not lead one.
    pub fn kill_group(&self) -> io::Result<()> {
        self.hold.watch.exit().signal_group(Signal::KILL)
    }

    /// Sends a signal to the [group](crate::Command::process_group) that the process leads.
    ///
    /// # Errors
    /// As [`kill_group`](Child::kill_group) and [`send_signal`](Child::send_signal).
    pub fn send_signal_to_group(&self, signal: i32) -> io::Result<()> {
        self.hold.watch.exit().signal_group(named(signal)?)
    }
}

impl Hold {
    pub(super) const fn watch(&self) -> &Rc<Watch> {
        &self.watch
    }

    pub(super) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.watch.exit().look().transpose()
    }

    pub(super) fn send_signal(&self, signal: i32) -> io::Result<()> {
        self.watch.signal(named(signal)?)
    }

    /// Says, in debug mode, that a child is left to itself.
    fn notice_running(&self) {
        let exit = self.watch.exit();
        if let Ok(local) = LocalLoop::current()
            && local.is_debug()
            && exit.look().is_none()
        {
            let id = exit.id();
            local.notice_dropped(|| {
                format!(
                    "child process {id} was dropped while it runs, and goes on by itself: wait for it, or set kill_on_drop"
                )
            });
        }
    }

    /// Kills it, and what it leads.
    pub(super) fn kill_all(&self) -> io::Result<()> {
        if self.watch.exit().leads() {
            self.watch.exit().signal_group(Signal::KILL)
        } else {
            self.watch.signal(Signal::KILL)
        }
    }
}

fn named(signal: i32) -> io::Result<Signal> {
    Signal::from_named_raw(signal).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{signal} is not the number of a signal with a name"),
        )
    })
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.kill_on_drop {
            self.notice_running();
        } else {
            // What has changed its user cannot be killed, and there is nobody to tell.
            let _ = self.kill_all();
        }
        self.watch.exit().let_go();
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id())
            .field("ended", &self.hold.watch.exit().known())
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("pty", &self.pty)
            .finish_non_exhaustive()
    }
}
