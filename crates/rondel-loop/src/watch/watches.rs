//! Which descriptors are watched, and who is called.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::panic::Location;
use std::rc::Rc;

use rondel_executor::Callback;
use rondel_poll::{Interest, Key};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The watched descriptors of a loop, by the number they were given with.
#[derive(Default)]
pub(crate) struct Watches {
    pub(super) by_number: HashMap<RawFd, Watch>,
    pub(super) numbers: HashMap<Key, RawFd>,
}

impl Watches {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Where the watches that there are were set.
    pub(crate) fn sites(&self) -> Vec<&'static Location<'static>> {
        let watches = self.by_number.values();
        watches
            .flat_map(|watch| [&watch.reader, &watch.writer])
            .flatten()
            .map(|callback| callback.site())
            .collect()
    }

    /// Ends every watch; gives their keys, each with what is to be dropped.
    pub(crate) fn take_all(&mut self) -> Vec<(Key, impl Sized + use<>)> {
        self.numbers.clear();
        let ended = self.by_number.drain();
        ended.map(|(_, watch)| (watch.key, watch)).collect()
    }
}

pub(super) struct Watch {
    pub(super) key: Key,
    /// What is being watched: the number alone may have come to stand for something else.
    pub(super) file: Option<FileId>,
    pub(super) reader: Option<Rc<dyn Callback>>,
    pub(super) writer: Option<Rc<dyn Callback>>,
}

impl Watch {
    pub(super) fn interest(&self) -> Interest {
        let mut interest = Interest::NONE;
        if self.reader.is_some() {
            interest |= Interest::READABLE;
        }
        if self.writer.is_some() {
            interest |= Interest::WRITABLE;
        }
        interest
    }

    pub(super) fn side(&mut self, direction: Direction) -> &mut Option<Rc<dyn Callback>> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }
}

/// Which file a descriptor refers to, as far as the system tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}
