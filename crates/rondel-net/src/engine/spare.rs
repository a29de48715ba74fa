//! Memory for what waits to be sent, kept for the next connection that needs some.
//!
//! A connection gives its buffer back as soon as it is empty, so that an idle one has none; and takes one for nearly every
//! message. This makes both cheap. It is a thread's, not a loop's, because nothing but memory is in it.

use std::cell::RefCell;

/// How many buffers are kept.
const COUNT: usize = 8;

/// What a buffer that is kept has room for at most.
const CAPACITY: usize = 64 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(super) fn take() -> Vec<u8> {
    // Gone when the thread ends, as connections in other thread-locals may notice.
    SPARE
        .try_with(|spare| spare.borrow_mut().pop())
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// Keeps a buffer, if there is room for it.
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > CAPACITY {
        return;
    }
    buffer.clear();
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < COUNT {
            spare.push(buffer);
        }
    });
}
