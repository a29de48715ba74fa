//! Sending together what was written in a turn.

use std::rc::Rc;

/// Bytes that wait to be sent together at the end of the turn of whoever wrote them.
///
/// A connection that was written to asks for it with [`LocalLoop::flush_later`](crate::LocalLoop::flush_later); right after the callback or poll that is
/// running, the loop calls it back, once. So the writes of one turn go out in one system call.
pub trait Flush {
    /// Sends what is there to send. Called by the loop, never from inside a task or callback.
    fn flush(self: Rc<Self>);
}
