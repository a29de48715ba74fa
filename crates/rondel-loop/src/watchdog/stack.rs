//! What the thread of a blocked loop is doing, function by function.

#[cfg(all(
    feature = "stack",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod capture;
#[cfg(all(
    feature = "stack",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod modules;
#[cfg(all(
    feature = "stack",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod unwind;

use std::fmt;

/// The functions that a loop's thread was in at one moment, the innermost first; see [`Watchdog::stack`](crate::Watchdog::stack).
///
/// What lies outside the task or callback, the loop's own part, is left out.
#[derive(Clone, Debug)]
pub struct Stack {
    frames: Vec<StackFrame>,
    missing: Option<String>,
}

/// A function on a [`Stack`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackFrame {
    /// Where in memory it was.
    pub address: usize,
    /// Its name, without a hash, unless the program was stripped of it; with its path, unless it was inlined and the program has no
    /// more than line tables.
    pub function: Option<String>,
    /// The source file, in programs with line tables (`debug = "line-tables-only"` is enough).
    pub file: Option<String>,
    /// The line in that file.
    pub line: Option<u32>,
}

impl Stack {
    /// The functions, the innermost first. Inlined ones are told apart where the program has line tables.
    pub fn frames(&self) -> &[StackFrame] {
        &self.frames
    }

    /// Why there are no frames, or where they break off, if they do.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    pub(super) const fn none(why: String) -> Self {
        Self {
            frames: Vec::new(),
            missing: Some(why),
        }
    }

    /// The stack of a thread of this process at this moment.
    #[cfg(all(
        feature = "stack",
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    pub(super) fn of(thread: ThreadNumber) -> Self {
        match capture::of(thread) {
            Ok(captured) => unwind::walk(&captured),
            Err(error) => Self::none(format!("asking the thread for its stack: {error}")),
        }
    }

    #[cfg(not(all(
        feature = "stack",
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )))]
    pub(super) fn of(_: ThreadNumber) -> Self {
        Self::none(
            "stacks need Linux on x86-64 or AArch64, and rondel's feature `stack`".to_owned(),
        )
    }
}

/// One line a function, each indented, none at the end.
impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.frames.iter().map(|frame| format!("  in {frame}"));
        let missing = self
            .missing
            .iter()
            .map(|why| format!("  (no stack from here: {why})"));
        let lines: Vec<_> = lines.chain(missing).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// `name at file:line`, or what of it is known.
impl fmt::Display for StackFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => f.write_str(function)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        if let Some(file) = &self.file {
            write!(f, " at {file}")?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
        }
        Ok(())
    }
}

/// What the system calls a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThreadNumber(i32);

impl ThreadNumber {
    #[cfg(target_os = "linux")]
    pub(super) fn current() -> Self {
        Self(rustix::thread::gettid().as_raw_nonzero().get())
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) const fn current() -> Self {
        Self(0)
    }
}
