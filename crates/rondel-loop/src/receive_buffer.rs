//! The one large buffer that all connections of a loop receive into.
//!
//! Large reads are the one big win that sockets offer, and a buffer a connection would make an idle one dear. So the loop
//! owns one, and lends it to whoever receives at the moment.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::state::{LocalLoop, State};

/// The size of a loop's buffer: as much as a socket gives at once.
const SIZE: usize = 256 * 1024;

/// The size of the one that is made when the loop's is out: only nested turns get to see it.
const SPARE_SIZE: usize = 16 * 1024;

/// A loop's receive buffer, on loan until this is dropped.
///
/// It holds whatever was received last. While it is out, the loop has none: user code that is shown a slice of it may come
/// back into the loop, which then lends a smaller one.
///
/// ```
/// # rondel_loop::run(async {
/// let mut buffer = rondel_loop::LocalLoop::current().unwrap().receive_buffer();
/// assert_eq!(buffer.len(), 256 * 1024);
/// buffer[0] = 1;
/// # }).unwrap();
/// ```
pub struct ReceiveBuffer {
    bytes: Box<[u8]>,
    state: Rc<State>,
}

impl LocalLoop {
    /// Lends the loop's buffer to receive into; see [`ReceiveBuffer`]. Made when it is first asked for.
    pub fn receive_buffer(&self) -> ReceiveBuffer {
        let state = self.state();
        let first = !state.lent_buffer.replace(true);
        let bytes = state.receive_buffer.take();
        ReceiveBuffer {
            bytes: bytes.unwrap_or_else(|| {
                let size = if first { SIZE } else { SPARE_SIZE };
                vec![0; size].into_boxed_slice()
            }),
            state: Rc::clone(state),
        }
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        // A spare one goes; the loop keeps its own.
        if self.bytes.len() == SIZE {
            self.state.lent_buffer.set(false);
            let bytes = std::mem::take(&mut self.bytes);
            self.state.receive_buffer.set(Some(bytes));
        }
    }
}

impl Deref for ReceiveBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for ReceiveBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl fmt::Debug for ReceiveBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveBuffer")
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
