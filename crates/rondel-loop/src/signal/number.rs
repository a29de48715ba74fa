//! Signals by number.

use std::fmt;
use std::io;

/// The number of a signal.
///
/// ```
/// use rondel_loop::signal::Signal;
///
/// assert_eq!(Signal::from_raw(15).unwrap(), Signal::TERMINATE);
/// assert!(Signal::from_raw(9).is_err(), "KILL cannot be caught");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGALRM, a timer of the process.
    pub const ALARM: Self = Self(libc::SIGALRM);
    /// SIGCHLD, a child stopped or ended.
    pub const CHILD: Self = Self(libc::SIGCHLD);
    /// SIGHUP, the terminal hung up; often: read your configuration again.
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// SIGINT, Ctrl-C.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// SIGPIPE, a write to a pipe that nobody reads. Rust programs ignore it.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// SIGQUIT, Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// SIGTERM, please end.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// SIGUSR1.
    pub const USER1: Self = Self(libc::SIGUSR1);
    /// SIGUSR2.
    pub const USER2: Self = Self(libc::SIGUSR2);
    /// SIGWINCH, the terminal changed its size.
    pub const WINDOW_CHANGE: Self = Self(libc::SIGWINCH);

    /// A signal by its number, real-time ones included.
    ///
    /// # Errors
    /// `InvalidInput` for numbers that are no signal, and for signals that cannot be caught or must not be, being faults of
    /// the program: KILL, STOP, SEGV, BUS, FPE, ILL.
    pub fn from_raw(number: i32) -> io::Result<Self> {
        let refused = match number {
            libc::SIGKILL | libc::SIGSTOP => "cannot be caught",
            libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => {
                "is a fault of the program, not a message to it"
            }
            1..=64 => return Ok(Self(number)),
            _ => "is not the number of a signal",
        };
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("signal {number} {refused}"),
        ))
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    pub(super) const fn bit(self) -> u64 {
        1 << (self.0 - 1)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({})", self.0)
    }
}
