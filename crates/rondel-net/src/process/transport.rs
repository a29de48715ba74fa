//! [`SubprocessTransport`]: a child that calls, instead of being waited for.

mod driver;
mod start;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use rondel_sync::Event;

use crate::error::WriteError;
use crate::pipe::PipeWriter;
use crate::process::child::Hold;
use crate::process::exit::{Exit, Wait};
pub use start::{SubprocessRef, subprocess_exec, subprocess_shell};

/// A child process, as its [`SubprocessProtocol`](crate::SubprocessProtocol) uses it. asyncio: `SubprocessTransport`.
///
/// As large as a pointer: clone it freely. No method waits, but those that say so, and none calls the protocol. The child does
/// not end with the last clone; it is killed by [`close`](SubprocessTransport::close), and when the loop is closed. `!Send`.
#[derive(Clone)]
pub struct SubprocessTransport {
    shared: Rc<Shared>,
}

/// What the transport, and the task that drives the protocol, know of a child.
struct Shared {
    exit: Arc<Exit>,
    /// Let go when the protocol has been told everything.
    hold: RefCell<Option<Hold>>,
    stdin: RefCell<Option<Rc<PipeWriter>>>,
    closing: Cell<bool>,
    /// Of standard output and standard error.
    reading_paused: [Cell<bool>; 2],
    /// Wakes the driver.
    driver: Cell<Option<Waker>>,
    lost: Event,
}

impl SubprocessTransport {
    /// The child's number. asyncio: `get_pid`.
    #[doc(alias = "get_pid")]
    pub fn id(&self) -> u32 {
        self.shared.exit.id()
    }

    /// How the child ended, once that is known. asyncio: `get_returncode`.
    #[doc(alias = "get_returncode")]
    pub fn returncode(&self) -> Option<ExitStatus> {
        self.shared.exit.known()?.ok()
    }

    /// Accepts `bytes` whole for the child's standard input; `true` if more is queued now than the high water mark. asyncio:
    /// `get_pipe_transport(0).write`.
    ///
    /// # Errors
    /// As [`PipeWriter::write`]; [`WriteError::Closed`] also if it is no pipe.
    #[doc(alias = "get_pipe_transport")]
    pub fn write(&self, bytes: &[u8]) -> Result<bool, WriteError> {
        let stdin = self.stdin().ok_or(WriteError::Closed)?;
        stdin.write(bytes)?;
        let paused = stdin.connection().is_paused();
        self.shared.wake();
        Ok(paused)
    }

    /// Ends the child's standard input, behind what is queued.
    pub fn write_eof(&self) {
        if let Some(stdin) = self.stdin() {
            stdin.close();
        }
    }

    /// How many bytes are queued for the child's standard input.
    pub fn buffered(&self) -> usize {
        self.stdin().map_or(0, |stdin| stdin.buffered())
    }

    /// Hands over no more of what the child prints to 1, its standard output, or 2, its standard error: once the pipe is full,
    /// it has to wait.
    ///
    /// # Errors
    /// `InvalidInput` for another number.
    pub fn pause_reading(&self, fd: i32) -> io::Result<()> {
        self.reading_paused(fd)?.set(true);
        Ok(())
    }

    /// Takes [`pause_reading`](SubprocessTransport::pause_reading) back.
    ///
    /// # Errors
    /// `InvalidInput` for another number than 1 and 2.
    pub fn resume_reading(&self, fd: i32) -> io::Result<()> {
        self.reading_paused(fd)?.set(false);
        self.shared.wake();
        Ok(())
    }

    fn reading_paused(&self, fd: i32) -> io::Result<&Cell<bool>> {
        match fd {
            1 => Ok(&self.shared.reading_paused[0]),
            2 => Ok(&self.shared.reading_paused[1]),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a child prints to 1 and 2, not to {fd}"),
            )),
        }
    }

    /// Sends a signal by its number; see [`Child::send_signal`](crate::Child::send_signal).
    ///
    /// # Errors
    /// As [`Child::send_signal`](crate::Child::send_signal).
    pub fn send_signal(&self, signal: i32) -> io::Result<()> {
        self.with_hold(|hold| hold.send_signal(signal))
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// As [`Child::kill`](crate::Child::kill).
    pub fn terminate(&self) -> io::Result<()> {
        self.with_hold(|hold| hold.watch().signal(rustix::process::Signal::TERM))
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// As [`Child::kill`](crate::Child::kill).
    pub fn kill(&self) -> io::Result<()> {
        self.with_hold(|hold| hold.watch().signal(rustix::process::Signal::KILL))
    }

    /// Kills the group that the child leads; see [`Child::kill_group`](crate::Child::kill_group).
    ///
    /// # Errors
    /// As [`Child::kill_group`](crate::Child::kill_group).
    pub fn kill_group(&self) -> io::Result<()> {
        self.with_hold(|hold| {
            let exit = hold.watch().exit();
            exit.signal_group(rustix::process::Signal::KILL)
        })
    }

    /// Once the protocol has been told everything there is nothing to do.
    fn with_hold(&self, act: impl FnOnce(&Hold) -> io::Result<()>) -> io::Result<()> {
        self.shared.hold.borrow().as_ref().map_or(Ok(()), act)
    }

    /// Closes all pipes, and kills the child if it runs, with its group if it leads one. What is queued is dropped, and what
    /// it has printed is not handed over. Then the protocol is told, at the next turn. Again, it does nothing.
    pub fn close(&self) {
        if !self.shared.closing.replace(true) {
            self.shared.wake();
        }
    }

    /// Whether [`close`](SubprocessTransport::close) was called, or the child is lost.
    pub fn is_closing(&self) -> bool {
        self.shared.closing.get()
    }

    /// Waits for the end of the child.
    ///
    /// # Errors
    /// As [`Child::wait`](crate::Child::wait).
    ///
    /// # Cancel safety
    /// Dropped, it changes nothing: the child goes on, and how it ended is there for whoever waits next.
    pub fn wait(&self) -> Wait {
        Wait::new(Arc::clone(&self.shared.exit))
    }

    /// Waits until the protocol has been told everything.
    ///
    /// # Cancel safety
    /// Dropped, it changes nothing.
    pub async fn wait_closed(&self) {
        self.shared.lost.wait().await;
    }

    fn stdin(&self) -> Option<Rc<PipeWriter>> {
        self.shared.stdin.borrow().clone()
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}

impl fmt::Debug for SubprocessTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubprocessTransport")
            .field("id", &self.id())
            .field("returncode", &self.returncode())
            .field("is_closing", &self.is_closing())
            .finish_non_exhaustive()
    }
}
