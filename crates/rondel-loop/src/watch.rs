//! Foreign descriptors: `add_reader` and `add_writer`, level-triggered as in asyncio.

pub(crate) mod watches;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::panic::Location;
use std::rc::Rc;

use rondel_executor::Callback;
use rondel_poll::{Interest, Key, Mode, Readiness};

use crate::current;
use crate::error::LoopClosed;
use crate::inherit::inheriting;
use crate::state::{LocalLoop, State};
pub(crate) use watches::Direction;
use watches::{FileId, Watch};

impl LocalLoop {
    /// Calls `callback` whenever `fd` is readable (data, an end or an error), until
    /// [`remove_reader`](LocalLoop::remove_reader); a callback that was there is replaced. Level-triggered: what is not read is
    /// announced again. asyncio: `add_reader`.
    ///
    /// The loop watches a duplicate of the descriptor, so that closing yours does no harm; what it refers to stays open
    /// until the watch is removed.
    ///
    /// # Errors
    /// What the system says of watching this kind of file; [`LoopClosed`](crate::LoopClosed).
    #[track_caller]
    pub fn add_reader(&self, fd: impl AsFd, callback: impl FnMut() + 'static) -> io::Result<()> {
        let site = Location::caller();
        let callback = inheriting(site, callback);
        add(self.state(), fd, Direction::Read, site, callback)
    }

    /// Calls `callback` whenever `fd` is writable; see [`add_reader`](LocalLoop::add_reader).
    ///
    /// # Errors
    /// As [`add_reader`](LocalLoop::add_reader).
    #[track_caller]
    pub fn add_writer(&self, fd: impl AsFd, callback: impl FnMut() + 'static) -> io::Result<()> {
        let site = Location::caller();
        let callback = inheriting(site, callback);
        add(self.state(), fd, Direction::Write, site, callback)
    }

    /// Ends the watch for reading; `false` if there is none. A call that is queued already is not made.
    pub fn remove_reader(&self, fd: impl AsFd) -> bool {
        remove(self.state(), fd.as_fd().as_raw_fd(), Direction::Read)
    }

    /// Ends the watch for writing; `false` if there is none.
    pub fn remove_writer(&self, fd: impl AsFd) -> bool {
        remove(self.state(), fd.as_fd().as_raw_fd(), Direction::Write)
    }
}

/// A callback that is called again and again, queued at most once at a time.
struct Repeated<F> {
    site: &'static Location<'static>,
    closure: RefCell<F>,
    queued: Cell<bool>,
    removed: Cell<bool>,
}

impl<F: FnMut()> Callback for Repeated<F> {
    fn call(self: Rc<Self>) {
        self.queued.set(false);
        // Not even a removed one that is queued already is called; one that is running is not entered again (a nested turn).
        if !self.removed.get()
            && let Ok(mut closure) = self.closure.try_borrow_mut()
        {
            closure();
        }
    }

    fn site(&self) -> &'static Location<'static> {
        self.site
    }
}

/// What the watch table needs of a repeated callback, whatever its closure.
struct Entry<F>(Rc<Repeated<F>>);

impl<F: FnMut() + 'static> Callback for Entry<F> {
    /// The descriptor is ready: queue the callback unless it is queued.
    fn call(self: Rc<Self>) {
        if !self.0.queued.replace(true)
            && let Ok(local) = current::get("add_reader")
        {
            local.state().executor.spawner().push(self.0.clone());
        }
    }

    fn site(&self) -> &'static Location<'static> {
        self.0.site
    }
}

impl<F> Drop for Entry<F> {
    fn drop(&mut self) {
        self.0.removed.set(true);
    }
}

/// Watches `fd` in one direction, replacing the callback there is.
pub(crate) fn add<F: FnMut() + 'static>(
    state: &Rc<State>,
    fd: impl AsFd,
    direction: Direction,
    site: &'static Location<'static>,
    callback: F,
) -> io::Result<()> {
    if state.closed.get() {
        return Err(LoopClosed.into());
    }
    let fd = fd.as_fd();
    let number = fd.as_raw_fd();
    let callback: Rc<dyn Callback> = Rc::new(Entry(Rc::new(Repeated {
        site,
        closure: RefCell::new(callback),
        queued: Cell::new(false),
        removed: Cell::new(false),
    })));
    // A descriptor of our own for the same file: the caller's may be closed at any time.
    let own = File::from(fd.try_clone_to_owned()?);
    let file = FileId::of(&own);
    let mut watches = state.watches.borrow_mut();
    if let Some(watch) = watches.by_number.get_mut(&number)
        && watch.file == file
    {
        let key = watch.key;
        let replaced = watch.side(direction).replace(callback);
        let interest = watch.interest();
        drop(watches);
        let modified = state.selector.modify(key, interest);
        // Last: its destructor may come back here.
        drop(replaced);
        return modified;
    }
    drop(watches);
    let interest = match direction {
        Direction::Read => Interest::READABLE,
        Direction::Write => Interest::WRITABLE,
    };
    let own = Rc::new(OwnedFd::from(own));
    let key = state.selector.register(own, interest, Mode::Level)?;
    let mut watch = Watch {
        key,
        file,
        reader: None,
        writer: None,
    };
    *watch.side(direction) = Some(callback);
    let mut watches = state.watches.borrow_mut();
    watches.numbers.insert(key, number);
    let stale = watches.by_number.insert(number, watch);
    if let Some(stale) = &stale {
        watches.numbers.remove(&stale.key);
    }
    drop(watches);
    if let Some(stale) = stale {
        // The caller has closed what the number stood for, and nobody can name it any more.
        let _ = state.selector.deregister(stale.key);
    }
    Ok(())
}

/// Ends the watch in one direction; `false` if there is none.
fn remove(state: &Rc<State>, number: RawFd, direction: Direction) -> bool {
    let mut watches = state.watches.borrow_mut();
    let Some(watch) = watches.by_number.get_mut(&number) else {
        return false;
    };
    let Some(removed) = watch.side(direction).take() else {
        return false;
    };
    let (key, interest) = (watch.key, watch.interest());
    if interest == Interest::NONE {
        watches.by_number.remove(&number);
        watches.numbers.remove(&key);
    }
    drop(watches);
    // Both fail only for a key that is not registered: then there is nothing to change either.
    let _ = if interest == Interest::NONE {
        state.selector.deregister(key)
    } else {
        state.selector.modify(key, interest)
    };
    // Last: its destructor may come back here.
    drop(removed);
    true
}

/// A watched descriptor is ready.
pub(crate) fn on_event(state: &Rc<State>, key: Key, readiness: Readiness) {
    let watches = state.watches.borrow();
    let Some(watch) = watches
        .numbers
        .get(&key)
        .and_then(|number| watches.by_number.get(number))
    else {
        return;
    };
    let reader = watch.reader.clone().filter(|_| readiness.is_readable());
    let writer = watch.writer.clone().filter(|_| readiness.is_writable());
    drop(watches);
    for callback in [reader, writer].into_iter().flatten() {
        callback.call();
    }
}
