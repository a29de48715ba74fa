//! The way in from other threads: one queue and one notification.
//!
//! This and nothing else is where threads meet. Push first, notify second; the loop, before it sleeps, announces the
//! sleep and looks again (`rondel-poll` keeps that half). The queue is unbounded: a waker must never block, and a bound
//! on calls from elsewhere belongs to whoever makes them.

use std::fmt;
use std::sync::Arc;

#[cfg(not(rondel_loom))]
use concurrent_queue::ConcurrentQueue;
#[cfg(rondel_loom)]
use modelled::ConcurrentQueue;

/// How an executor is told that something has come in from another thread.
///
/// Called on that other thread after the push, possibly from a waker, so it must neither block nor panic. An event loop
/// rings its selector here, a foreign loop posts itself a message.
pub type Notify = Arc<dyn Fn() + Send + Sync>;

/// A queue that any thread may push to and one thread drains.
///
/// ```
/// use rondel_executor::Inbox;
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
///
/// let rung = Arc::new(AtomicUsize::new(0));
/// let count = Arc::clone(&rung);
/// let inbox = Inbox::new(Arc::new(move || { count.fetch_add(1, Ordering::Relaxed); }));
/// inbox.push("hello").unwrap();
/// assert_eq!(inbox.pop(), Some("hello"));
/// assert_eq!(rung.load(Ordering::Relaxed), 1);
///
/// inbox.close();
/// assert_eq!(inbox.push("too late"), Err("too late"));
/// ```
pub struct Inbox<T> {
    queue: ConcurrentQueue<T>,
    notify: Notify,
}

impl<T> Inbox<T> {
    /// An empty inbox that calls `notify` after every push.
    pub fn new(notify: Notify) -> Self {
        Self {
            queue: ConcurrentQueue::unbounded(),
            notify,
        }
    }

    /// Adds an item and notifies. From any thread.
    ///
    /// # Errors
    /// Gives the item back if the inbox has been closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        match self.queue.push(item) {
            Ok(()) => {
                (self.notify)();
                Ok(())
            }
            Err(refused) => Err(refused.into_inner()),
        }
    }

    /// Takes the oldest item, if there is one.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop().ok()
    }

    /// Whether there is nothing to take. A push under way on another thread may not show yet; it notifies when it does.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Notifies without an item.
    pub fn notify(&self) {
        (self.notify)();
    }

    /// Refuses every later push. What was pushed before can still be taken.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Whether pushes are refused.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// What `concurrent-queue` promises, in terms that loom can explore: loom's own cfg would reach every dependency.
#[cfg(rondel_loom)]
mod modelled {
    use loom::sync::Mutex;
    use std::collections::VecDeque;

    pub(super) struct ConcurrentQueue<T>(Mutex<(VecDeque<T>, bool)>);
    pub(super) struct Refused<T>(T);

    impl<T> Refused<T> {
        pub(super) fn into_inner(self) -> T {
            self.0
        }
    }

    impl<T> ConcurrentQueue<T> {
        pub(super) fn unbounded() -> Self {
            Self(Mutex::new((VecDeque::new(), false)))
        }

        pub(super) fn push(&self, item: T) -> Result<(), Refused<T>> {
            let mut state = self.0.lock().unwrap();
            if state.1 {
                return Err(Refused(item));
            }
            state.0.push_back(item);
            Ok(())
        }

        pub(super) fn pop(&self) -> Result<T, ()> {
            self.0.lock().unwrap().0.pop_front().ok_or(())
        }

        pub(super) fn is_empty(&self) -> bool {
            self.0.lock().unwrap().0.is_empty()
        }

        pub(super) fn close(&self) {
            self.0.lock().unwrap().1 = true;
        }

        pub(super) fn is_closed(&self) -> bool {
            self.0.lock().unwrap().1
        }
    }
}
