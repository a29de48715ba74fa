//! Subprocesses: commands, children, what they say and how they end.
//!
//! ```text
//!   Command ──spawn──> Child ── wait, signals ──> Exit <── the loop, by a pidfd
//!                        │                             <── a thread, where there is none, or no loop any more
//!                        └── stdin, stdout, stderr: pipes
//! ```
//!
//! Starting is the standard library's, so that forking in a program with threads is as safe as it is there. [`exit`] knows
//! how a child ended, and is the only place that reaps or signals it.

mod child;
mod command;
mod communicate;
mod error;
mod exit;
mod orphan;
mod protocol;
mod pty;
mod session;
mod stdio;
mod transport;
mod watch;

pub use child::Child;
pub use command::Command;
pub use communicate::{Communicate, CommunicateError, CommunicateErrorKind};
pub use error::{ReapedElsewhere, SpawnError};
pub use exit::Wait;
pub use protocol::SubprocessProtocol;
pub use pty::Pty;
pub use stdio::Stdio;
pub use transport::{SubprocessRef, SubprocessTransport, subprocess_exec, subprocess_shell};
