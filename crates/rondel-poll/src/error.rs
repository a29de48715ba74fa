//! What went wrong, at what, on what.

use crate::Key;
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;

/// What a selector could not do: the error inside the [`io::Error`]s of this crate.
///
/// Its text says what was attempted and on what; the system's own error is the
/// [`source`](Error::source). The [`io::Error`] around it has the system error's kind.
///
/// ```
/// use rondel_poll::{Interest, Mode, Selector, SelectorError, Virtual};
/// use std::{os::fd::OwnedFd, os::unix::net::UnixStream, rc::Rc};
///
/// let (socket, _peer) = UnixStream::pair()?;
/// let error = Virtual::new()
///     .register(Rc::new(OwnedFd::from(socket)), Interest::READABLE, Mode::Edge)
///     .unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
/// let inner = error.get_ref().and_then(|e| e.downcast_ref::<SelectorError>());
/// assert!(inner.unwrap().descriptor().is_some());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SelectorError {
    attempt: &'static str,
    subject: Subject,
    explanation: Option<&'static str>,
    source: Option<io::Error>,
}

#[derive(Debug, Clone, Copy)]
enum Subject {
    Selector,
    Descriptor(RawFd),
    Key(Key),
}

impl SelectorError {
    /// The descriptor at which it failed, if it was about one.
    pub fn descriptor(&self) -> Option<RawFd> {
        match self.subject {
            Subject::Descriptor(descriptor) => Some(descriptor),
            _ => None,
        }
    }

    /// The key that was not, or no longer, in use, if that was the reason.
    pub fn key(&self) -> Option<Key> {
        match self.subject {
            Subject::Key(key) => Some(key),
            _ => None,
        }
    }

    /// The system's error number, if the system refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.as_ref()?.raw_os_error()
    }

    pub(crate) fn unknown_key(attempt: &'static str, key: Key) -> io::Error {
        Self {
            attempt,
            subject: Subject::Key(key),
            explanation: Some("it is not registered, or no longer"),
            source: None,
        }
        .with_kind(io::ErrorKind::NotFound)
    }

    pub(crate) fn refused(
        attempt: &'static str,
        descriptor: RawFd,
        kind: io::ErrorKind,
        explanation: &'static str,
    ) -> io::Error {
        Self {
            attempt,
            subject: Subject::Descriptor(descriptor),
            explanation: Some(explanation),
            source: None,
        }
        .with_kind(kind)
    }

    pub(crate) fn at_descriptor(
        attempt: &'static str,
        descriptor: RawFd,
        source: io::Error,
    ) -> io::Error {
        let explanation = match source.kind() {
            // epoll_ctl(2): EPERM, "the target file does not support epoll".
            io::ErrorKind::PermissionDenied => {
                Some("it is a regular file or a directory: always ready, never to be waited for")
            }
            io::ErrorKind::AlreadyExists => Some("it is registered already"),
            _ => None,
        };
        let kind = source.kind();
        Self {
            attempt,
            subject: Subject::Descriptor(descriptor),
            explanation,
            source: Some(source),
        }
        .with_kind(kind)
    }

    pub(crate) fn at_selector(attempt: &'static str, source: io::Error) -> io::Error {
        let kind = source.kind();
        Self {
            attempt,
            subject: Subject::Selector,
            explanation: None,
            source: Some(source),
        }
        .with_kind(kind)
    }

    /// The selector was made before a fork, and this is the child.
    pub(crate) fn of_parent(attempt: &'static str) -> io::Error {
        Self {
            attempt,
            subject: Subject::Selector,
            explanation: Some("the selector is that of the process this one was forked from"),
            source: None,
        }
        .with_kind(io::ErrorKind::Unsupported)
    }

    fn with_kind(self, kind: io::ErrorKind) -> io::Error {
        io::Error::new(kind, self)
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.attempt)?;
        match self.subject {
            Subject::Selector => {}
            Subject::Descriptor(descriptor) => write!(f, " descriptor {descriptor}")?,
            Subject::Key(key) => write!(f, " key {}.{}", key.index(), key.generation())?,
        }
        match self.explanation {
            Some(explanation) => write!(f, ": {explanation}"),
            None => Ok(()),
        }
    }
}

impl Error for SelectorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}
