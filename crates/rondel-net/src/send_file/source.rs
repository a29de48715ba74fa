//! What files can be sent.

use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use crate::files::File;

/// A file that [`SendFile`](crate::SendFile) can send: a [`std::fs::File`], or one of [`files`](crate::files).
pub trait FileToSend: sealed::Sealed {
    #[doc(hidden)]
    fn descriptor(&self) -> BorrowedFd<'_>;

    #[doc(hidden)]
    fn set_position(&self, position: u64);
}

impl FileToSend for std::fs::File {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn set_position(&self, position: u64) {
        // A pipe has none, and could not be sent either.
        let _ = (&*self).seek(SeekFrom::Start(position));
    }
}

impl FileToSend for File {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn set_position(&self, position: u64) {
        self.seek(position);
    }
}

mod sealed {
    /// Nobody else's files have a position that could be kept up.
    #[allow(unnameable_types, reason = "so that nobody else implements it")]
    pub trait Sealed {}

    impl Sealed for std::fs::File {}
    impl Sealed for crate::files::File {}
}
