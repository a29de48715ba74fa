//! How a child ended: the one place that waits for it, and that sends it signals.
//!
//! Everything happens under one lock, so that no signal is sent to a number that has been given back.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rondel_executor::Waits;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus};

use crate::process::error::ReapedElsewhere;

/// A child process, shared by its handle, whoever waits, and what watches it.
pub(super) struct Exit {
    id: u32,
    pid: Pid,
    /// Whether it leads a process group, whose number is its own.
    leads: bool,
    state: Mutex<State>,
}

struct State {
    child: Child,
    outcome: Option<Outcome>,
    /// Whether the number has been given back.
    reaped: bool,
    /// Whether there is a handle. While there is, the number of one that leads a group is not given back, since the group
    /// may live on, and be killed by it.
    held: bool,
    waiters: Vec<(u64, Waker)>,
    next_waiter: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ended(ExitStatus),
    /// Something else has waited for it.
    Lost,
}

impl Exit {
    pub(super) fn new(child: Child, leads: bool) -> Arc<Self> {
        let id = child.id();
        Arc::new(Self {
            id,
            pid: Pid::from_child(&child),
            leads,
            state: Mutex::new(State {
                child,
                outcome: None,
                reaped: false,
                held: true,
                waiters: Vec::new(),
                next_waiter: 0,
            }),
        })
    }

    pub(super) const fn id(&self) -> u32 {
        self.id
    }

    pub(super) const fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) const fn leads(&self) -> bool {
        self.leads
    }

    /// How it ended, if it is known to have.
    pub(super) fn known(&self) -> Option<io::Result<ExitStatus>> {
        self.lock().outcome.map(|outcome| self.tell(outcome))
    }

    /// Asks the system whether it has ended; reaps it and wakes who waits if so.
    pub(super) fn look(&self) -> Option<io::Result<ExitStatus>> {
        let mut state = self.lock();
        let before = state.outcome;
        let outcome = self.ask(&mut state)?;
        let waiters = match before {
            None => std::mem::take(&mut state.waiters),
            Some(_) => Vec::new(),
        };
        // Wakers are foreign code.
        drop(state);
        for (_, waker) in waiters {
            waker.wake();
        }
        Some(self.tell(outcome))
    }

    fn ask(&self, state: &mut State) -> Option<Outcome> {
        if state.outcome.is_some() {
            return state.outcome;
        }
        let outcome = if self.leads && state.held {
            match peek(self.pid) {
                Ok(status) => Outcome::Ended(status?),
                Err(_) => Outcome::Lost,
            }
        } else {
            match state.child.try_wait() {
                Ok(status) => Outcome::Ended(status?),
                Err(_) => Outcome::Lost,
            }
        };
        state.reaped = outcome == Outcome::Lost || !(self.leads && state.held);
        state.outcome = Some(outcome);
        state.outcome
    }

    fn tell(&self, outcome: Outcome) -> io::Result<ExitStatus> {
        match outcome {
            Outcome::Ended(status) => Ok(status),
            Outcome::Lost => Err(ReapedElsewhere { pid: self.id }.into()),
        }
    }

    /// The handle is gone.
    pub(super) fn let_go(&self) {
        let mut state = self.lock();
        state.held = false;
        if state.outcome.is_some() && !state.reaped {
            // It has ended, so this does not wait.
            let _ = state.child.try_wait();
            state.reaped = true;
        }
    }

    /// Blocks until it has ended, reaped or not.
    pub(super) fn block(&self) {
        loop {
            let ended = rustix::process::waitid(
                WaitId::Pid(self.pid),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            );
            if !matches!(ended, Err(Errno::INTR)) {
                return;
            }
        }
    }

    /// Sends a signal, unless it is known to have ended. `pidfd` refers to it, whatever its number does.
    pub(super) fn signal(&self, signal: Signal, pidfd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let state = self.lock();
        if state.outcome.is_some() {
            return Ok(());
        }
        ignore_gone(match pidfd {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Some(pidfd) => rustix::process::pidfd_send_signal(pidfd, signal),
            // A number that nobody has waited for is still its own, dead or not.
            _ => match peek(self.pid) {
                Ok(None) => rustix::process::kill_process(self.pid, signal),
                Ok(Some(_)) | Err(_) => Ok(()),
            },
        })
    }

    /// Sends a signal to all of the group that it leads.
    pub(super) fn signal_group(&self, signal: Signal) -> io::Result<()> {
        if !self.leads {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the child does not lead a process group: start it with process_group(0) or session(true)",
            ));
        }
        let mut state = self.lock();
        if state.reaped {
            return Ok(());
        }
        if state.outcome.is_none() && peek(self.pid).is_err() {
            // The number may be somebody else's by now. Whoever waits learns it from the next look.
            state.reaped = true;
            return Ok(());
        }
        ignore_gone(rustix::process::kill_process_group(self.pid, signal))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of what is done under the lock can leave it half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exit")
            .field("id", &self.id)
            .field("leads", &self.leads)
            .field("known", &self.known())
            .finish_non_exhaustive()
    }
}

/// Signals to those who have ended are ignored.
fn ignore_gone(sent: rustix::io::Result<()>) -> io::Result<()> {
    match sent {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        // What Apple's systems say of a group of zombies.
        #[cfg(target_vendor = "apple")]
        Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How the child ended, if it has, without giving its number back.
fn peek(pid: Pid) -> rustix::io::Result<Option<ExitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(rustix::process::waitid(WaitId::Pid(pid), options)?
        .as_ref()
        .map(exit_status))
}

/// In the encoding of wait(2), which is what the standard library's type is made of.
fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    const CORE_DUMPED: i32 = 0x80;
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) if status.dumped() => signal | CORE_DUMPED,
        (None, signal) => signal.unwrap_or(0),
    };
    ExitStatus::from_raw(raw)
}

/// Waits for the end of a child; see [`Child::wait`](crate::Child::wait). It holds no loop and no handle: any task, and any
/// executor, may await it, while the child's own loop runs.
#[must_use = "futures do nothing unless awaited"]
pub struct Wait {
    exit: Arc<Exit>,
    key: Option<u64>,
}

impl Wait {
    pub(super) const fn new(exit: Arc<Exit>) -> Self {
        Self { exit, key: None }
    }

    /// The child's number.
    pub fn id(&self) -> u32 {
        self.exit.id
    }
}

impl Future for Wait {
    type Output = io::Result<ExitStatus>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let exit = Arc::clone(&self.exit);
        if let Some(known) = exit.known() {
            return Poll::Ready(known);
        }
        // Cloned, and dropped, outside the lock: foreign code.
        let waker = cx.waker().clone();
        let mut state = exit.lock();
        if let Some(outcome) = state.outcome {
            drop(state);
            return Poll::Ready(exit.tell(outcome));
        }
        let key = *self.key.get_or_insert_with(|| {
            state.next_waiter += 1;
            state.next_waiter
        });
        let place = state.waiters.iter_mut().find(|(other, _)| *other == key);
        let replaced = match place {
            Some((_, place)) => Some(std::mem::replace(place, waker)),
            None => {
                state.waiters.push((key, waker));
                None
            }
        };
        drop(state);
        drop(replaced);
        Waits::PROCESS.label(exit.id);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(key) = self.key else {
            return;
        };
        let mut state = self.exit.lock();
        let place = state.waiters.iter().position(|(other, _)| *other == key);
        let removed = place.map(|place| state.waiters.swap_remove(place));
        drop(state);
        drop(removed);
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("id", &self.exit.id)
            .field("waiting", &self.key.is_some())
            .finish_non_exhaustive()
    }
}
