//! Memory for what waits to be sent, kept for the next connection that needs some.
//!
//! A connection gives its buffer back as soon as it is empty, so that an idle one has none; and takes one for nearly every
//! message. This makes both cheap. It is a thread's, not a loop's, because nothing but memory is in it.

use std::cell::{Cell, RefCell};

/// How many buffers are kept.
const COUNT: usize = 8;

/// What a buffer that is kept has room for at most.
const CAPACITY: usize = 64 * 1024;

thread_local! {
    /// The one that was given last. Nearly always it is the only one.
    static LAST: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
#[inline]
pub(super) fn take() -> Vec<u8> {
    // Gone when the thread ends, as connections in other thread-locals may notice.
    let last = LAST.try_with(Cell::take).unwrap_or_default();
    if last.capacity() > 0 {
        last
    } else {
        take_other()
    }
}

#[cold]
fn take_other() -> Vec<u8> {
    SPARE
        .try_with(|spare| spare.borrow_mut().pop())
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// Keeps a buffer, if there is room for it.
#[inline]
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > CAPACITY {
        return;
    }
    buffer.clear();
    let before = LAST.try_with(|last| last.replace(buffer));
    if let Ok(before) = before
        && before.capacity() > 0
    {
        give_other(before);
    }
}

#[cold]
fn give_other(buffer: Vec<u8>) {
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < COUNT {
            spare.push(buffer);
        }
    });
}
