//! Whether this is still the process that something was made in.
#![allow(unsafe_code)]

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::SelectorError;

/// Forks between the process that asked first and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process in which something was made, to be told from the children that it
/// forks later.
///
/// fork(2) copies memory and shares open files: what the child does to a selector
/// that it has inherited is done to the parent's. The selectors of this crate have
/// such a mark. In the child they refuse to register and to wait, and let go of what
/// is registered without a word to the system.
///
/// The mark changes by a handler of `pthread_atfork`, so [`is_current`] is one load
/// and a comparison. It is not called by what bypasses the C library (`clone` as a
/// bare system call), nor needed by children that call `exec` at once.
///
/// ```
/// use rondel_poll::ProcessMark;
///
/// let made_in = ProcessMark::new()?;
/// assert!(made_in.is_current());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`is_current`]: ProcessMark::is_current
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMark(u32);

impl ProcessMark {
    /// The mark of the calling process.
    ///
    /// # Errors
    ///
    /// What `pthread_atfork` says when it is first called: no memory left.
    pub fn new() -> io::Result<Self> {
        static WATCHED: OnceLock<i32> = OnceLock::new();
        let refused = *WATCHED.get_or_init(|| {
            // SAFETY: the handler stays for as long as the program, being a function
            // of it, and makes one atomic addition, which is async-signal-safe.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) }
        });
        if refused != 0 {
            let source = io::Error::from_raw_os_error(refused);
            return Err(SelectorError::at_selector("notice forks of", source));
        }
        Ok(Self(FORKS.load(Ordering::Relaxed)))
    }

    /// Whether the calling process is the one that made the mark, and not one that
    /// was forked from it since. From any thread.
    #[inline]
    #[must_use]
    pub fn is_current(self) -> bool {
        // Relaxed: it changes only while a process has a single thread.
        self.0 == FORKS.load(Ordering::Relaxed)
    }

    /// An error if this is another process.
    pub(crate) fn check(self, attempt: &'static str) -> io::Result<()> {
        if self.is_current() {
            Ok(())
        } else {
            Err(SelectorError::of_parent(attempt))
        }
    }
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
