//! What a child does between fork and exec, if it is to have a session of its own. The standard library has no other way for
//! it, and it is the crate's only unsafe code.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// No terminal.
const NONE: i32 = -1;

/// Which of the standard descriptors is the terminal of the session to be begun, if one is.
#[derive(Clone, Debug)]
pub(super) struct Terminal(Arc<AtomicI32>);

impl Default for Terminal {
    fn default() -> Self {
        Self(Arc::new(AtomicI32::new(NONE)))
    }
}

impl Terminal {
    /// For the children to come: 0, 1 or 2.
    pub(super) fn set(&self, standard: Option<i32>) {
        self.0.store(standard.unwrap_or(NONE), Ordering::Relaxed);
    }
}

/// Has every child of `command` begin a session, controlled by `terminal`.
pub(super) fn begin_session(command: &mut Command, terminal: &Terminal) {
    let terminal = terminal.clone();
    let hook = move || -> io::Result<()> {
        rustix::process::setsid()?;
        let standard = terminal.0.load(Ordering::Relaxed);
        if standard != NONE {
            // SAFETY: 0, 1 or 2, which `set` was given because the child has its terminal there; the standard library has put
            // the standard descriptors in place before it calls, and nothing closes them until this returns.
            let fd = unsafe { BorrowedFd::borrow_raw(standard) };
            rustix::process::ioctl_tiocsctty(fd)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be done: the closure makes two system calls, setsid and
    // an ioctl, and reads an atomic. It neither allocates nor locks, and an error is a number.
    unsafe { command.pre_exec(hook) };
}
